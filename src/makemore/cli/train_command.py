"""`makemore train`: train a model, or a sweep of models with -m."""

import shlex
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from makemore.cli.command import hydra_command
from makemore.overrides import as_typed, override


@hydra_command("train")
def main(cfg: DictConfig) -> float:
    """Train as the config says, print its results, and return the NLL that a sweep minimises."""
    from makemore.cli.finding import MIXTURE
    from makemore.cli.own_models import import_own_models
    from makemore.inference.evaluation import print_nlls
    from makemore.inference.mixing import mix_with_counts
    from makemore.runs.outcome import add_metrics
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
    print(f"trained in {result.seconds:.1f} s; everything is in {result.run_dir}")
    logs = next((path for path in result.run_dir.parents if path.name == "logs"), result.run_dir)
    print(f"  tensorboard --logdir {logs} --host 127.0.0.1")
    print(f"  {as_typed('report')} {shlex.quote(str(result.run_dir))}")
    sample = as_typed("sample")
    print(f"  {sample} {override('ckpt_path', result.run_dir)}")
    if result.other is not None:
        print(f"  {sample} {override('ckpt_path', result.run_dir)} which={result.other.which} # {result.other}")
    if mixture is not None:
        written = mixture.write(result.run_dir / MIXTURE)
        add_metrics(result.run_dir, mixture.as_dict())
        print(f"  {sample} {override('ckpt_path', written.parents[1])} # the mixture")
    return result.objective
