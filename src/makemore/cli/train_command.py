"""`makemore train`: train a model, or a sweep of models with -m."""

from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from makemore.cli.command import hydra_command
from makemore.overrides import command, hydra_override, path_argument, watch_command

if TYPE_CHECKING:
    from makemore.runs.outcome import TrainingResult


@hydra_command("train")
def main(cfg: DictConfig) -> float:
    """Train as the config says, print its results, and return the NLL that a sweep minimises."""
    from makemore.cli.finding import MIXTURE
    from makemore.inference.evaluation import print_nlls
    from makemore.inference.mixing import mix_with_counts
    from makemore.runs.outcome import add_metrics
    from makemore.runs.own_models import import_own_models
    from makemore.runs.train import train
    from makemore.sweeps.job import run_job

    # the processes of a launcher are others than the one that has checked the config
    import_own_models()
    hydra_cfg = HydraConfig.get()
    run_dir = Path(hydra_cfg.runtime.output_dir)
    if hydra_cfg.mode == RunMode.MULTIRUN:
        return run_job(cfg, run_dir)
    result = train(cfg, run_dir)
    print_nlls(f"NLL of {result.weights}", result.nlls, result.reference.nlls)
    print(result.reference)
    if result.other is not None:
        print_nlls(f"NLL of {result.other}", result.other.nlls)
    wanted = cfg.get("mixture") and "val" in result.nlls
    mixture = mix_with_counts(result.weights.checkpoint, result.corpus) if wanted else None
    if mixture is not None:
        print_nlls("NLL of these weights mixed with Kneser-Ney", mixture.nlls)
    print("\n".join(["samples:", *(f"  {name}" for name in result.names)]))
    if mixture is not None:
        mixture.write(result.run_dir / MIXTURE)
        add_metrics(result.run_dir, mixture.as_dict())
    print(f"trained in {result.seconds:.1f} s; everything is in {result.run_dir}")
    print("\n".join(f"  {line}" for line in _commands(result, mixture is not None)))
    return result.objective


def _commands(result: "TrainingResult", is_mixed: bool) -> list[str]:
    """Return the commands for a run that has ended."""
    from makemore.cli.finding import MIXTURE

    run_dir, other = result.run_dir, result.other
    logs = next((path for path in run_dir.parents if path.name == "logs"), run_dir)
    ckpt_path = hydra_override("ckpt_path", run_dir)
    commands = [watch_command(logs), command("report", path_argument(run_dir)), command("sample", ckpt_path)]
    if other is not None:
        commands.append(f"{command('sample', ckpt_path, f'which={other.which}')} # {other}")
    if is_mixed:
        commands.append(f"{command('sample', hydra_override('ckpt_path', run_dir / MIXTURE))} # the mixture")
    return commands
