"""Score words: python scripts/score.py ckpt_path=RUN_DIR words=[anubhav,andrejq] or words_file=FILE."""

import hydra
from omegaconf import DictConfig

from makemore.command import run, task


@hydra.main(version_base="1.3", config_path="../conf", config_name="score")
@task
def main(cfg: DictConfig) -> None:
    """Print each character's probability and log-probability, and each word's NLL."""
    from makemore.checkpoint import load
    from makemore.command import set_threads
    from makemore.console import print_scores
    from makemore.scoring import read_words, score

    set_threads(cfg.threads)
    model = load(cfg.ckpt_path, cfg.which)
    words = read_words(cfg.words, cfg.words_file, model.options.normalize)
    print_scores(score(model.network, model.vocabulary, words))


if __name__ == "__main__":
    run(main)
