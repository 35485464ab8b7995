"""What a Trainer of one's own, in a script or a notebook, has to be for a model of this project.

One run is one device, and a step of the Trainer is a block of optimiser steps; so some arguments of the Trainer would
do something else than Lightning documents, and are refused. docs/python.md has the table of them all.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.trainer.states import TrainerFn

from makemore.data.datamodule import TextDataModule
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError
from makemore.system import files
from makemore.training.substitutes import check_callback
from makemore.training.trainer_arguments import ARGUMENTS, refusal

# Lightning calls what torch has deprecated
warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning)
# the weights after a step are those of `global_step`, which Lightning's own modules save too
warnings.filterwarnings(
    "ignore", "Using ModelCheckpoint with manual optimization and every_n_train_steps", UserWarning
)


class SealedCheckpointIO(TorchCheckpointIO):
    """Lightning's reading and writing of checkpoints: sealed and atomic, and always with `weights_only=True`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, *_: Any, **__: Any) -> None:
        """Write a checkpoint; a reader sees all of it or nothing."""
        files.write_sealed(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        """Read a checkpoint of builtins and tensors."""
        return dict(files.read_sealed(Path(path))[0])


# arguments that the table of `makemore.training.trainer_arguments` limits for a script too, as a Trainer shows them
LIMITED: dict[str, Callable[[Any], Any]] = {
    "devices": lambda trainer: trainer.num_devices,
    "num_nodes": lambda trainer: trainer.num_nodes,
    "strategy": lambda trainer: (
        "auto" if isinstance(trainer.strategy, SingleDeviceStrategy) else type(trainer.strategy).__name__
    ),
    "precision": lambda trainer: trainer.precision,
    # before the limits that it sets
    "overfit_batches": lambda trainer: trainer.overfit_batches,
    "limit_train_batches": lambda trainer: trainer.limit_train_batches,
    # there is none where it is a time
    "val_check_interval": lambda trainer: getattr(trainer, "val_check_interval", "a time"),
    "accumulate_grad_batches": lambda trainer: trainer.accumulate_grad_batches,
    "gradient_clip_val": lambda trainer: trainer.gradient_clip_val,
    "gradient_clip_algorithm": lambda trainer: trainer.gradient_clip_algorithm,
}


def prepare(trainer: L.Trainer) -> None:
    """Refuse a Trainer of which something would not act, before it starts; let it write checkpoints as runs do.

    Raises:
        UserError: an argument or a callback that would not act as Lightning documents it, or a fit without a
            `TextDataModule`.
    """
    for name, of in LIMITED.items():
        value = of(trainer)
        # fast_dev_run sets limits of its own
        if not (ARGUMENTS[name].takes(value) or (trainer.fast_dev_run and name == "limit_train_batches")):  # type: ignore[attr-defined]
            raise refusal(f"the Trainer's {name}", ARGUMENTS[name], value)
    if trainer.state.fn == TrainerFn.FITTING:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            check_callback(callback)
        text_of(trainer)
    # of Trainers and callbacks that bring no other
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = SealedCheckpointIO()


def text_of(trainer: L.Trainer) -> TextDataModule:
    """Return the data of a Trainer; raise `UserError` where these are loaders or another data module."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, TextDataModule):
        what = "a model of makemore is trained in blocks of steps, and its checkpoints name their text"
        raise UserError(f"{what}; use trainer.fit(model, datamodule=TextDataModule(...))")
    return data


def check_text(trainer: L.Trainer, vocabulary: Vocabulary) -> None:
    """Raise `UserError` where the text of a Trainer has another vocabulary, or nothing in the split to evaluate."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, TextDataModule):
        return
    if data.corpus.vocabulary != vocabulary:
        what = f"{data.options.path}: its characters are not the model's vocabulary"
        raise UserError(f"{what}; give TextDataModule(vocabulary=model.vocabulary), or make the model of data.corpus")
    split = {TrainerFn.VALIDATING: "val", TrainerFn.TESTING: "test"}.get(trainer.state.fn or TrainerFn.FITTING)
    if split is not None and not data.corpus.size(split):
        raise UserError(f"{data.options.path}: the {split} split is empty; give data.splits a ratio above 0 for it")


def start_at(trainer: L.Trainer, step: int) -> None:
    """Set the Trainer's `global_step`, and its epoch where it counts epochs."""
    advance_steps(trainer, step - trainer.global_step)
    if trainer.max_epochs not in (None, -1):
        epochs = step // text_of(trainer).epoch_steps
        progress = trainer.fit_loop.epoch_progress
        trackers: list[Any] = [progress.total, progress.current]
        for tracker in trackers:
            tracker.ready = tracker.started = tracker.processed = tracker.completed = epochs


def advance_steps(trainer: L.Trainer, steps: int) -> None:
    """Advance the Trainer's `global_step`, which moves nowhere else."""
    progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    for tracker in (progress.total, progress.current):
        tracker.ready += steps
        tracker.completed += steps
