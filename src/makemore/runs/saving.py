"""Write checkpoints: each whole or not at all; the last two and the best by validation NLL are kept."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from torch import nn

from makemore.checkpoints import LAST, RESULT, checkpoints_of, directory_of, path_of, step_of
from makemore.data.datamodule import TextDataModule
from makemore.data.windows import CountedWindows
from makemore.errors import DivergedError
from makemore.system import signals
from makemore.training.module import CountingLanguageModel
from makemore.training.own_trainer import SealedCheckpointIO

log = logging.getLogger(__name__)


class AtomicCheckpointIO(SealedCheckpointIO):
    """That of a run, whose hyperparameters are its config, beside the checkpoints."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, *_: Any, **__: Any) -> None:
        """Write a checkpoint without what Lightning adds of hyperparameters."""
        kept = {
            name: value
            for name, value in checkpoint.items()
            if not name.endswith(("hyper_parameters", "hparams_name"))
        }
        super().save_checkpoint(kept, path)


@dataclass(frozen=True)
class RunSnapshot:
    """The state of a run after a step, which a checkpoint saves."""

    run_dir: str | Path
    step: int  # optimiser steps taken
    network: nn.Module  # its parameters must be finite
    write: Callable[[Path], object]  # writes the checkpoint to a path

    def path(self, best: bool = False) -> Path:
        """Return the path of its checkpoint."""
        return path_of(self.run_dir, self.step, best)

    def save(self, best: bool = False) -> Path:
        """Write its checkpoint and return the path; raise `DivergedError` where a parameter is not finite."""
        for name, parameter in self.network.named_parameters():
            if not parameter.isfinite().all():
                raise DivergedError(f"{name} is no longer finite at step {self.step:,}; lower optimizer.lr")
        self.write(self.path(best))
        return self.path(best)


class Checkpoints(Checkpoint):
    """Keeps the last two checkpoints and the best by validation NLL, named after their steps, and ends training.

    The checkpoint of step s is written once all that belongs to s is done: its validation, its log, and the states of
    other callbacks. So a run resumed from it is the run that was never interrupted. There is one at each multiple of
    `every` steps, and at the end of training. After `patience` validations that are not the best, training ends; None
    is no limit. `result` names the weights that the run hands on, "best" or "last"; checkpoints say which.
    """

    def __init__(self, every: int, result: str = LAST, patience: int | None = None) -> None:
        self.every = every
        self.result = result
        self.patience = patience
        self.waited = 0  # validations since the best
        self.newest: Path | None = None
        self.best: Path | None = None
        self.best_nll = math.inf
        self.stopped_early = False
        self._training = False
        self._max_steps = -1

    def state_dict(self) -> dict[str, Any]:
        """Return the best checkpoint, its NLL, the validations since, and whether training has stopped early."""
        best = self.best and self.best.name
        state = {"best": best, "best_nll": self.best_nll, "stopped_early": self.stopped_early}
        return state | {"waited": self.waited, RESULT: self.result}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of the resumed run."""
        self.best = state_dict["best"] and Path(state_dict["best"])
        self.best_nll = state_dict["best_nll"]
        self.stopped_early = state_dict["stopped_early"]
        # earlier versions had no patience
        self.waited = state_dict.get("waited", 0)

    def locate(self, snapshot: RunSnapshot, unfinished: bool) -> None:
        """Locate the checkpoints of a resumed run in its directory; an `unfinished` step will be saved anew."""
        if snapshot.step and not unfinished:
            self.newest = snapshot.path()
        self.best = self.best and directory_of(snapshot.run_dir) / self.best.name

    def keep_newest(self, snapshot: RunSnapshot) -> None:
        """Save a snapshot, unless it is the newest already, and delete all but the last two."""
        if self.newest != snapshot.path():
            self.newest = snapshot.save()
            for old in checkpoints_of(snapshot.run_dir)[:-2]:
                old.unlink()

    def keep_best(self, snapshot: RunSnapshot, nll: float) -> None:
        """Save a snapshot as the best, where its validation NLL is lower than all before; else count the validation.

        Where that exhausts the patience, the run has stopped early, and this is logged.
        """
        if nll < self.best_nll:
            self.best_nll, self.waited = nll, 0
            # before it is saved, as the checkpoint says which one is the best
            self.best = snapshot.path(best=True)
            snapshot.save(best=True)
            for old in set(checkpoints_of(snapshot.run_dir, best=True)) - {self.best}:
                old.unlink()
        elif nll < math.inf:
            self.waited += 1
            if self.waited == self.patience:
                self.stopped_early = True
                assert self.best is not None
                lowest = f"lowest, {self.best_nll:.4f}, at step {step_of(self.best):,}"
                what = f"for {self.patience} validations, and was {lowest}"
                log.info("stopped early at step %s: the validation NLL has not fallen %s", f"{snapshot.step:,}", what)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Locate the checkpoints of a resumed run, and stop again where it had stopped early."""
        # a checkpoint whose validation is still due is written anew after it
        self.locate_all(trainer, unfinished=_data(trainer).validation_due)
        trainer.should_stop = self.stopped_early
        self._max_steps = trainer.max_steps
        if _data(trainer).validation_due and trainer.global_step == trainer.max_steps:
            # else the Trainer, which compares the two before it starts, would skip the last validation
            trainer.fit_loop.epoch_loop.max_steps += 1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Hold signals back from here on, as there is something to save."""
        self._training = True
        # Lightning has set its own
        signals.install()
        signals.hold()

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Restore the planned end, now that the Trainer has started."""
        trainer.fit_loop.epoch_loop.max_steps = self._max_steps

    def on_train_batch_end(self, trainer: L.Trainer, _module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Save at multiples of `every`, unless a validation at the same step is still to come."""
        cut_short = not isinstance(batch, CountedWindows) and len(outputs["nlls"]) < len(batch)
        if cut_short or trainer.global_step != _data(trainer).end_of_epoch(trainer.global_step - 1):
            self._save_when_due(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save after the validation that ends a Lightning epoch: the best first, as the newest records it."""
        self.stopped_early = trainer.should_stop
        if trainer.should_stop and trainer.global_step < trainer.max_steps:
            log.info("stopped early at step %s by %s", f"{trainer.global_step:,}", _stopped_by(trainer))
        self.save_best(trainer)
        trainer.should_stop = trainer.should_stop or self.stopped_early
        self._save_when_due(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the final weights."""
        self.save_newest(trainer)
        self._training = False
        signals.release()
        signals.answer()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save when a signal stopped training; when it diverged, delete the weights that gave such a loss."""
        signals.release()
        if isinstance(exception, DivergedError):
            _snapshot(trainer).path().unlink(missing_ok=True)
        if self._training and isinstance(exception, signals.Stopped):
            _data(trainer).validation_due = bool(trainer.validating)
            # counting starts anew where its only validation was interrupted
            if not (trainer.validating and isinstance(pl_module, CountingLanguageModel)):
                self.save_newest(trainer)

    def _save_when_due(self, trainer: L.Trainer) -> None:
        if trainer.global_step % self.every == 0:
            self.save_newest(trainer)
        signals.answer()

    def locate_all(self, trainer: L.Trainer, unfinished: bool) -> None:
        """Locate the checkpoints of the Trainer's run."""
        self.locate(_snapshot(trainer), unfinished)

    def save_newest(self, trainer: L.Trainer) -> None:
        """Save the Trainer's run at its current step."""
        self.keep_newest(_snapshot(trainer))

    def save_best(self, trainer: L.Trainer) -> None:
        """Save the Trainer's run where its validation NLL is the lowest."""
        self.keep_best(_snapshot(trainer), float(trainer.callback_metrics.get("val/nll", math.inf)))


def _stopped_by(trainer: L.Trainer) -> str:
    """Return what has asked the Trainer to stop: early stopping with its reason, or another callback."""
    for callback in trainer.early_stopping_callbacks:
        if callback.stopping_reason_message:
            return f"early stopping: {callback.stopping_reason_message.removesuffix(' Signaling Trainer to stop.')}"
    return "a callback"


def _snapshot(trainer: L.Trainer) -> RunSnapshot:
    run_dir, network = trainer.default_root_dir, trainer.lightning_module
    return RunSnapshot(run_dir, trainer.global_step, network, trainer.save_checkpoint)


def _data(trainer: L.Trainer) -> TextDataModule:
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(datamodule, TextDataModule)
    return datamodule
