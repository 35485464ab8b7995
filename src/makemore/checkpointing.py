"""Writing checkpoints: each whole or not at all, the last two and the best by validation NLL kept."""

import math
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from makemore import sealed, signals
from makemore.checkpoint_file import checkpoints_of, directory_of, path_of
from makemore.data.batches import Block, Counts
from makemore.data.datamodule import TextDataModule
from makemore.errors import DivergedError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes sealed checkpoints, whole or not at all; reads with `weights_only=True` alone."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write `checkpoint` to `path`; a reader sees all of it or nothing."""
        sealed.write(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint of builtins and tensors."""
        checkpoint: dict[str, Any] = sealed.read(Path(path))[0]
        return checkpoint


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

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Find the checkpoints of a resumed run where this one has its own, and stop again where it had stopped."""
        # one whose validation is still due is written anew after it
        if trainer.global_step and not _data(trainer).validation_due:
            self.newest = _path(trainer)
        self.best = self.best and directory_of(trainer.default_root_dir) / self.best.name
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
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Block | Counts, batch_idx: int
    ) -> None:
        """End at the planned step after all, now that the Trainer has begun."""
        trainer.fit_loop.epoch_loop.max_steps = self._max_steps

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Block | Counts, batch_idx: int
    ) -> None:
        """Save when the step is a multiple of `every`, unless a validation at the same step is still to come."""
        cut_short = len(outputs["nlls"]) < len(batch)
        if cut_short or trainer.global_step != _data(trainer).end_of_epoch(trainer.global_step - 1):
            self._save_when_due(trainer)
            signals.answer()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save after the validation that ends a Lightning epoch, the best first, so that the newest knows it."""
        self.stopped_early = trainer.should_stop
        nll = float(trainer.callback_metrics.get("val/nll", math.inf))
        if nll < self.best_nll:
            self.best_nll = nll
            self.best = _path(trainer, best=True)
            self._save(trainer, self.best)
            for old in set(checkpoints_of(trainer.default_root_dir, best=True)) - {self.best}:
                old.unlink()
        self._save_when_due(trainer)
        signals.answer()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the weights that training ended with."""
        if self.newest != _path(trainer):
            self._save_newest(trainer)
        self._training = False
        signals.release()
        signals.answer()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save when a signal stopped training; when it diverged, leave out the weights that gave such a loss."""
        signals.release()
        if isinstance(exception, DivergedError):
            _path(trainer).unlink(missing_ok=True)
        unsaved = self.newest != _path(trainer)
        if self._training and unsaved and isinstance(exception, signals.Stopped):
            _data(trainer).validation_due = bool(trainer.validating)
            # a model that counts begins anew where its only validation was interrupted
            if not (trainer.validating and getattr(pl_module, "counts", False)):
                self._save_newest(trainer)

    def _save_when_due(self, trainer: L.Trainer) -> None:
        if trainer.global_step % self.every == 0:
            self._save_newest(trainer)

    def _save_newest(self, trainer: L.Trainer) -> None:
        self._save(trainer, _path(trainer))
        self.newest = _path(trainer)
        for old in checkpoints_of(trainer.default_root_dir)[:-2]:
            old.unlink()

    @staticmethod
    def _save(trainer: L.Trainer, path: Path) -> None:
        for name, parameter in trainer.lightning_module.named_parameters():
            if not parameter.isfinite().all():
                raise DivergedError(f"{name} is no longer finite at step {trainer.global_step:,}; lower optimizer.lr")
        trainer.save_checkpoint(path)


def _path(trainer: L.Trainer, best: bool = False) -> Path:
    """Return where the checkpoint of the step that the Trainer is at belongs."""
    return path_of(trainer.default_root_dir, trainer.global_step, best)


def _data(trainer: L.Trainer) -> TextDataModule:
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(datamodule, TextDataModule)
    return datamodule
