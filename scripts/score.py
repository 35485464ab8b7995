"""Score words: python scripts/score.py ckpt_path=RUN_DIR words=[anubhav,andrejq] or words_file=FILE."""

import hydra
from omegaconf import DictConfig

from makemore.cli.command import run, task


@hydra.main(version_base="1.3", config_path="../conf", config_name="score")
@task
def main(cfg: DictConfig) -> None:
    """Print each character's probability and log-probability, and each word's NLL."""
    from makemore.cli.finding import find_checkpoint
    from makemore.inference.scoring import print_scores, read_words, score
    from makemore.inference.trained_model import load
    from makemore.overrides import set_threads

    set_threads(cfg.threads)
    model = load(find_checkpoint(cfg.ckpt_path, cfg.which))
    words = read_words(cfg.words, cfg.words_file, model.options.normalize)
    print_scores(score(model.network, model.vocabulary, words))


if __name__ == "__main__":
    run(main)
