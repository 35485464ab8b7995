"""Sample items: python scripts/sample.py ckpt_path=RUN_DIR [num_samples=20 seed=1 prompt=an ...]."""

import sys

import hydra
from omegaconf import DictConfig

from makemore.cli.command import run, task


@hydra.main(version_base="1.3", config_path="../conf", config_name="sample")
@task
def main(cfg: DictConfig) -> None:
    """Print made-up items, one a line, and nothing else on standard output."""
    from makemore.cli.finding import find_checkpoint
    from makemore.inference.sampling import SamplingOptions
    from makemore.inference.trained_model import load
    from makemore.overrides import set_threads

    set_threads(cfg.threads)
    model = load(find_checkpoint(cfg.ckpt_path, cfg.which))
    if cfg.unseen is True:
        for change in model.changes():
            print("warning:", change, file=sys.stderr)
    options = SamplingOptions(cfg.prompt, cfg.temperature, cfg.top_k, cfg.max_length)
    for item in model.iter_samples(cfg.num_samples, cfg.seed, options, cfg.unseen, cfg.max_attempts):
        print(item)


if __name__ == "__main__":
    run(main)
