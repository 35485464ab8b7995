"""Writing checkpoints: each whole or not at all, the last two and the best by validation NLL kept."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from makemore.atomic import replacing
from makemore.checkpoint import checkpoints_of


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, flushes it and renames it; reads with `weights_only=True` alone."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write `checkpoint` to `path`; a reader sees all of it or nothing."""
        with replacing(Path(path)) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint of builtins and tensors."""
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        return checkpoint


class Checkpoints(Checkpoint):
    """Keeps the last two checkpoints and the best by validation NLL, named after their steps.

    Args:
        every: steps between checkpoints; the end of training has one too.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.newest: Path | None = None
        self.best: Path | None = None
        self.best_nll = float("inf")

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to know of the best."""
        return {"best": self.best and self.best.name, "best_nll": self.best_nll}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best of the run that is resumed."""
        self.best = state_dict["best"] and Path(state_dict["best"])
        self.best_nll = state_dict["best_nll"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look for the best of a resumed run where this one has its checkpoints."""
        self.best = self.best and _directory(trainer) / self.best.name

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save when the step is a multiple of `every`, unless a validation at the same step is still to come."""
        if not trainer.is_last_batch:
            self._save_when_due(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save after the validation that ends a Lightning epoch, so that the checkpoint knows the best."""
        self._save_when_due(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save when the validation NLL is the lowest yet."""
        nll = float(trainer.callback_metrics["val/nll"])
        if nll < self.best_nll:
            self.best_nll = nll
            self.best = self._path(trainer, "best-step")
            trainer.save_checkpoint(self.best)
            for old in set(self.best.parent.glob("best-step-*.ckpt")) - {self.best}:
                old.unlink()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the weights that training ended with."""
        if self.newest != self._path(trainer, "step"):
            self._save_newest(trainer)

    def _save_when_due(self, trainer: L.Trainer) -> None:
        if trainer.global_step % self.every == 0:
            self._save_newest(trainer)

    def _save_newest(self, trainer: L.Trainer) -> None:
        self.newest = self._path(trainer, "step")
        trainer.save_checkpoint(self.newest)
        for old in checkpoints_of(trainer.default_root_dir)[:-2]:
            old.unlink()

    @staticmethod
    def _path(trainer: L.Trainer, name: str) -> Path:
        return _directory(trainer) / f"{name}-{trainer.global_step:08d}.ckpt"


def _directory(trainer: L.Trainer) -> Path:
    return Path(trainer.default_root_dir) / "checkpoints"
