"""Writing checkpoints: each whole or not at all, the last two and the best by validation NLL kept."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from torch import nn

from makemore import files, signals
from makemore.checkpoints import checkpoints_of, directory_of, path_of
from makemore.data.batches import Block, CountedSplit
from makemore.data.datamodule import TextDataModule
from makemore.errors import DivergedError
from makemore.training.module import CountingLanguageModel


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes sealed checkpoints, whole or not at all; reads with `weights_only=True` alone."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write `checkpoint` to `path`; a reader sees all of it or nothing."""
        files.write_sealed(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint of builtins and tensors."""
        checkpoint: dict[str, Any] = files.read_sealed(Path(path))[0]
        return checkpoint


@dataclass(frozen=True)
class Moment:
    """A run at a step, as a checkpoint holds it.

    Args:
        run_dir: of the run.
        step: optimiser steps taken.
        network: what must be finite.
        write: writes the checkpoint to a path.
    """

    run_dir: str | Path
    step: int
    network: nn.Module
    write: Callable[[Path], object]

    def path(self, best: bool = False) -> Path:
        """Return where its checkpoint belongs."""
        return path_of(self.run_dir, self.step, best)

    def save(self, best: bool = False) -> Path:
        """Write its checkpoint, and return where it is.

        Raises:
            DivergedError: a parameter is not finite.
        """
        for name, parameter in self.network.named_parameters():
            if not parameter.isfinite().all():
                raise DivergedError(f"{name} is no longer finite at step {self.step:,}; lower optimizer.lr")
        self.write(self.path(best))
        return self.path(best)


class Checkpoints(Checkpoint):
    """Keeps the last two checkpoints and the best by validation NLL, named after their steps.

    A checkpoint of step s is written when all that belongs to s is done: its validation, its log, what other
    callbacks remember of it. So a run that goes on from it is the run that was never interrupted.

    Args:
        every: steps between checkpoints; the end of training has one too.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.newest: Path | None = None
        self.best: Path | None = None
        self.best_nll = math.inf
        self.stopped_early = False
        self._training = False
        self._max_steps = -1

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to know."""
        best = self.best and self.best.name
        return {"best": best, "best_nll": self.best_nll, "stopped_early": self.stopped_early}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what the run knew that is resumed."""
        self.best = state_dict["best"] and Path(state_dict["best"])
        self.best_nll = state_dict["best_nll"]
        self.stopped_early = state_dict["stopped_early"]

    def find(self, moment: Moment, unfinished: bool) -> None:
        """Find the checkpoints of a resumed run where this one has its own; an `unfinished` step is saved anew."""
        if moment.step and not unfinished:
            self.newest = moment.path()
        self.best = self.best and directory_of(moment.run_dir) / self.best.name

    def keep_newest(self, moment: Moment) -> None:
        """Save a moment that has not been saved yet, and delete the last but two."""
        if self.newest == moment.path():
            return
        self.newest = moment.save()
        for old in checkpoints_of(moment.run_dir)[:-2]:
            old.unlink()

    def keep_best(self, moment: Moment, nll: float) -> None:
        """Save a moment as the best, where no validation NLL was lower before."""
        if not nll < self.best_nll:
            return
        self.best_nll = nll
        # before it is saved, as the checkpoint says which one is the best
        self.best = moment.path(best=True)
        moment.save(best=True)
        for old in set(checkpoints_of(moment.run_dir, best=True)) - {self.best}:
            old.unlink()

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Find the checkpoints of a resumed run, and stop again where it had stopped."""
        # one whose validation is still due is written anew after it
        self.find_all(trainer, unfinished=_data(trainer).validation_due)
        trainer.should_stop = self.stopped_early
        self._max_steps = trainer.max_steps
        if _data(trainer).validation_due and trainer.global_step == trainer.max_steps:
            # else the Trainer, which compares the two before it begins, would leave the last validation out
            trainer.fit_loop.epoch_loop.max_steps += 1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Hold signals back: from here on there is something to save."""
        self._training = True
        # Lightning has set its own
        signals.install()
        signals.hold()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Block | CountedSplit, batch_idx: int
    ) -> None:
        """End at the planned step after all, now that the Trainer has begun."""
        trainer.fit_loop.epoch_loop.max_steps = self._max_steps

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Block | CountedSplit,
        batch_idx: int,
    ) -> None:
        """Save when the step is a multiple of `every`, unless a validation at the same step is still to come."""
        cut_short = len(outputs["nlls"]) < len(batch)
        if cut_short or trainer.global_step != _data(trainer).end_of_epoch(trainer.global_step - 1):
            self._save_when_due(trainer)
            signals.answer()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save after the validation that ends a Lightning epoch, the best first, so that the newest knows it."""
        self.stopped_early = trainer.should_stop
        self.save_best(trainer)
        self._save_when_due(trainer)
        signals.answer()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the weights that training ended with."""
        self.save_newest(trainer)
        self._training = False
        signals.release()
        signals.answer()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save when a signal stopped training; when it diverged, leave out the weights that gave such a loss."""
        signals.release()
        if isinstance(exception, DivergedError):
            _moment(trainer).path().unlink(missing_ok=True)
        if self._training and isinstance(exception, signals.Stopped):
            _data(trainer).validation_due = bool(trainer.validating)
            # counting begins anew where its only validation was interrupted
            if not (trainer.validating and isinstance(pl_module, CountingLanguageModel)):
                self.save_newest(trainer)

    def _save_when_due(self, trainer: L.Trainer) -> None:
        if trainer.global_step % self.every == 0:
            self.save_newest(trainer)

    def find_all(self, trainer: L.Trainer, unfinished: bool) -> None:
        """Find the checkpoints of the Trainer's run."""
        self.find(_moment(trainer), unfinished)

    def save_newest(self, trainer: L.Trainer) -> None:
        """Save the Trainer's run as it is now."""
        self.keep_newest(_moment(trainer))

    def save_best(self, trainer: L.Trainer) -> None:
        """Save the Trainer's run where it has validated best."""
        self.keep_best(_moment(trainer), float(trainer.callback_metrics.get("val/nll", math.inf)))


def _moment(trainer: L.Trainer) -> Moment:
    """Return the Trainer's run as it is now."""
    return Moment(trainer.default_root_dir, trainer.global_step, trainer.lightning_module, trainer.save_checkpoint)


def _data(trainer: L.Trainer) -> TextDataModule:
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(datamodule, TextDataModule)
    return datamodule
