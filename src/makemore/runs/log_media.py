"""Give a run's loggers what is more than scalars: samples, pictures, hyperparameters and final NLLs.

Each function does so for every logger that has a place for it. Metrics are logged by `log_row` of
`makemore.training.loggers`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from omegaconf import DictConfig, OmegaConf

from makemore.pictures.picture import Picture, add_to_tensorboard
from makemore.runs.saved_config import flat
from makemore.training.loggers import Spared, TensorBoard, hyperparameters

_RUN = ("seed", "threads", "compile", "result", "patience", "val_every")
_HYPERPARAMETERS = (*_RUN, "data", "model", "optimizer", "scheduler", "trainer")


def hyperparameters_of(cfg: DictConfig) -> dict[str, float | str]:
    """Return the values of a run's config that make it what it is, under dotted keys."""
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    values = flat({key: config[key] for key in _HYPERPARAMETERS if key in config})
    # without Hydra's own
    return hyperparameters(
        {key: value for key, value in values.items() if not key.endswith(("_partial_", "_target_"))}
    )


def log_samples(loggers: Iterable[Logger], items: Sequence[str], step: int) -> None:
    """Log the items that a model samples at a step: as text, as a table of W&B, as an artifact of MLflow."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            # indented, Markdown shows items verbatim
            logger.experiment.add_text("samples", "\n".join(f"    {item}" for item in items), step)
        elif isinstance(logger, WandbLogger):
            _attempt(logger, logger.log_text, "samples", ["item"], [[item] for item in items], step=step)
        elif isinstance(logger, MLFlowLogger):
            text = "".join(f"{item}\n" for item in items)
            _attempt(logger, logger.experiment.log_text, logger.run_id, text, f"samples/step-{step:08}.txt")


def log_pictures(loggers: Iterable[Logger], pictures: Sequence[Picture], directory: Path, step: int) -> None:
    """Log pictures, whose files are in a directory: as images, as artifacts of MLflow."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            add_to_tensorboard(logger.experiment, pictures, step)
        for picture in pictures:
            file = str(directory / f"{picture.name}.png")
            if isinstance(logger, WandbLogger):
                _attempt(logger, logger.log_image, picture.name, [file], step=step, caption=[picture.caption])
            elif isinstance(logger, MLFlowLogger):
                _attempt(logger, logger.experiment.log_artifact, logger.run_id, file, "pictures")


def log_outcome(
    loggers: Iterable[Logger],
    parameters: Mapping[str, Any],
    nlls: Mapping[str, float],
    step: int,
    status: str | None = None,
) -> None:
    """Log the final NLLs by split: in TensorBoard's HPARAMS tab beside the hyperparameters, elsewhere as metrics.

    That tab has a `status` too, of a run that was ended before.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            given = logger.given if isinstance(logger, TensorBoard) else None
            shown = parameters if given is None else given
            # names of their own: as `val/nll` it would add a point at step 0 to that curve
            ended = {} if status is None else {"status": status}
            finals = {f"hparam/{split}_nll": nll for split, nll in nlls.items()}
            logger.log_hyperparams(dict(shown) | ended, finals)
        else:
            # those of a minibatch are `train/nll`
            logger.log_metrics({f"final/{split}/nll": nll for split, nll in nlls.items()}, step=step)


def _attempt(logger: Logger, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
    """Call; where the logger is a run's, its failure is a warning."""
    if isinstance(logger, Spared):
        logger.attempt(call, *arguments, **named)
    else:
        call(*arguments, **named)
