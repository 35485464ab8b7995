"""`makemore evaluate`: exact NLL of a trained model."""

import sys

from omegaconf import DictConfig

from makemore.cli.command import hydra_command


@hydra_command("evaluate")
def main(cfg: DictConfig) -> None:
    """Print the exact NLL of each split as a table, and write it as JSON where asked."""
    from makemore.cli.finding import find_checkpoint
    from makemore.errors import as_text
    from makemore.inference.evaluation import evaluate, print_nlls
    from makemore.inference.trained_model import load
    from makemore.overrides import set_threads
    from makemore.runs.own_models import import_own_models

    set_threads(cfg.threads)
    import_own_models()
    output = None if cfg.output is None else as_text("output", cfg.output)
    model = load(find_checkpoint(cfg.ckpt_path, cfg.which))
    evaluation = evaluate(model, cfg.data.path)
    for change in evaluation.changes:
        print("warning:", change, file=sys.stderr)
    print_nlls(f"{model.path.name}, step {model.step:,}", evaluation.nlls)
    if output is not None:
        evaluation.write(output)
