"""One member of a group: a run like any other, but for the steps, which its group takes."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from makemore.checkpoints import RECORD_KEY, naming_damage, path_of, read
from makemore.data.batches import Block
from makemore.data.corpus import Corpus
from makemore.data.datamodule import TextDataModule
from makemore.errors import DivergedError, UserError
from makemore.runs.saving import Moment
from makemore.runs.train import Run
from makemore.runs.watching.watcher import NextStep, Sight
from makemore.training.module import NeuralLanguageModel, rates_of

# The keys in which members may differ, each of which becomes a tensor over them, and no others: `seed` draws initial
# weights (stacked) and rows (TextDataModule.member_seeds), `model.l2` is a constant of the stack, and the others make
# the rate of each step of each member (Group.training_step).
MEMBER_KEYS = ("seed", "model.l2", "optimizer.lr", "scheduler.gamma", "scheduler.milestones")


class Member:
    """A run in a group, at the step of its checkpoint, with what a checkpoint says of it.

    Args:
        run: prepared.
        place: in its group.

    Raises:
        DamagedCheckpointError: its checkpoint holds something else than a run of this kind.
    """

    def __init__(self, run: Run, place: int) -> None:
        assert isinstance(run.model, NeuralLanguageModel)
        self.run = run
        self.place = place
        self.model = run.model
        (self.optimizer,), (self.scheduler,) = run.model.configure_optimizers()
        self.step = 0
        self.validation_due = False
        self.val_nll = math.inf
        # what ended it before the others
        self.error: Exception | None = None
        if run.checkpoint is not None:
            with naming_damage(run.checkpoint):
                self._restore(read(run.checkpoint))

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        """Take what Lightning would restore."""
        self.model.load_state_dict(checkpoint["state_dict"])
        self.optimizer.load_state_dict(checkpoint["optimizer_states"][0])
        self.scheduler.load_state_dict(checkpoint["lr_schedulers"][0])
        for callback in self._callbacks():
            callback.load_state_dict(checkpoint["callbacks"][callback.state_key])
        self.validation_due = checkpoint["TextDataModule"]["validation_due"]
        self.step = checkpoint[RECORD_KEY]["step"]

    def to(self, device: torch.device) -> NeuralLanguageModel:
        """Move the model, and what a checkpoint had of its optimiser, to a device; return the model."""
        self.model.to(device)
        # it takes its state to where its parameters are
        self.optimizer.load_state_dict(self.optimizer.state_dict())
        return self.model

    def checkpoint(self, corpus: Corpus, step: int) -> dict[str, Any]:
        """Return what is its own in a checkpoint: all but the state of the Trainer's loops and of its data."""
        own = {
            "state_dict": self.model.state_dict(),
            "callbacks": {callback.state_key: callback.state_dict() for callback in self._callbacks()},
            "optimizer_states": [self.optimizer.state_dict()],
            "lr_schedulers": [self.scheduler.state_dict()],
            RECORD_KEY: self.model.record(corpus, step, self.run.loggers),
        }
        # a view would be saved with the numbers of all members
        copied: dict[str, Any] = apply_to_collection(own, Tensor, torch.clone)
        return copied

    def _callbacks(self) -> Sequence[Callback]:
        """Return those that a checkpoint has the state of."""
        return self.run.watching, self.run.outcome, self.run.checkpoints

    def look(self, data: TextDataModule, step: int, block: Block | None) -> None:
        """Let those look who watch the run, before a block of its steps or at its end."""
        following = None
        if block is not None:
            (rate,) = rates_of(self.scheduler, step, 1)
            following = NextStep(block, self.optimizer, rate)
        run = self.run
        run.watching.look(Sight(step, self.model, data, run.run_dir, run.watching.names, run.loggers, following))

    def moment(self, step: int, write: Any) -> Moment:
        """Return this run as it is at a step, which `write` writes to a path."""
        return Moment(self.run.run_dir, step, self.model, write)

    @contextmanager
    def surviving(self, step: int) -> Iterator[None]:
        """End this member, and not the group, where something of its own goes wrong in the block.

        Args:
            step: that it is at; where it has diverged, the weights of this step are left out of its checkpoints.
        """
        try:
            yield
        except (UserError, OSError) as error:
            if isinstance(error, DivergedError):
                path_of(self.run.run_dir, step).unlink(missing_ok=True)
            self.error = error
            self.close("failed")

    def close(self, status: str) -> None:
        """Close the files of its log."""
        for logger in self.run.loggers:
            # of two errors the first is told
            with suppress(OSError) if self.error is not None else nullcontext():
                logger.finalize(status)
