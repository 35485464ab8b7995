"""`makemore sample`: new items, one a line."""

import sys

from omegaconf import DictConfig

from makemore.cli.command import hydra_command


@hydra_command("sample")
def main(cfg: DictConfig) -> None:
    """Print made-up items, one a line, and nothing else on standard output."""
    from makemore.cli.finding import find_checkpoint
    from makemore.inference.sampling import SamplingOptions
    from makemore.inference.trained_model import load
    from makemore.overrides import set_threads
    from makemore.runs.own_models import import_own_models

    set_threads(cfg.threads)
    import_own_models()
    model = load(find_checkpoint(cfg.ckpt_path, cfg.which))
    if cfg.unseen is True:
        for change in model.changes():
            print("warning:", change, file=sys.stderr)
    options = SamplingOptions(cfg.prompt, cfg.temperature, cfg.top_k, cfg.max_length)
    for item in model.iter_samples(cfg.num_samples, cfg.seed, options, cfg.unseen, cfg.max_attempts):
        print(item)
