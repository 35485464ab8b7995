"""`makemore score`: probability of each character of given words."""

from omegaconf import DictConfig

from makemore.cli.command import hydra_command


@hydra_command("score")
def main(cfg: DictConfig) -> None:
    """Print each character's probability and log-probability, and each word's NLL."""
    from makemore.cli.finding import find_checkpoint
    from makemore.inference.scoring import print_scores, read_words, score
    from makemore.inference.trained_model import load
    from makemore.overrides import set_threads
    from makemore.runs.own_models import import_own_models

    set_threads(cfg.threads)
    import_own_models()
    model = load(find_checkpoint(cfg.ckpt_path, cfg.which))
    words = read_words(cfg.words, cfg.words_file, model.options.normalize)
    print_scores(score(model.network, model.vocabulary, words))
