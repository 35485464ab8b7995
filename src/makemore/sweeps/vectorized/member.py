"""A member of a group: a run like any other, except that its group takes the steps."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers.logger import Logger
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from makemore.checkpoints import RECORD_KEY, naming_damage, path_of, read
from makemore.data.batches import Block
from makemore.errors import DivergedError, UserError
from makemore.runs.assemble import Parts
from makemore.runs.watching.watcher import NextStep, RunState
from makemore.training.module import NeuralLanguageModel, rates_of

# The only keys in which members may differ; each becomes a tensor over members: `seed` draws initial weights (stacked)
# and rows (TextDataModule.member_seeds), `model.l2` is a constant of the stack, and the others give the learning rate
# of each step and member (Group.training_step).
MEMBER_KEYS = ("seed", "model.l2", "optimizer.lr", "scheduler.gamma", "scheduler.milestones")


class Member:
    """One run of a group, at its place there, and at the step of its checkpoint; without one, at step 0.

    A checkpoint that does not hold a run of this kind raises `DamagedCheckpointError`.
    """

    def __init__(
        self, parts: Parts, place: int, loggers: Sequence[Logger] = (), checkpoint: Path | None = None
    ) -> None:
        assert isinstance(parts.model, NeuralLanguageModel)
        self.parts = parts
        self.place = place
        self.loggers = loggers
        self.model = parts.model
        (self.optimizer,), (self.scheduler,) = parts.model.configure_optimizers()
        self.step = 0
        self.validation_due = False
        self.val_nll = math.inf
        # the step at which it was pruned, and whether it waits at a rung to be compared (see Group)
        self.pruned_at: int | None = None
        self.waits = False
        # the error that has ended it before the others
        self.error: Exception | None = None
        # whose states checkpoints hold
        self._callbacks = parts.watchers, parts.outcome, parts.checkpoints
        if checkpoint is not None:
            with naming_damage(checkpoint):
                # what Lightning would restore
                saved = read(checkpoint)
                self.model.load_state_dict(saved["state_dict"])
                self.optimizer.load_state_dict(saved["optimizer_states"][0])
                self.scheduler.load_state_dict(saved["lr_schedulers"][0])
                for callback in self._callbacks:
                    callback.load_state_dict(saved["callbacks"][callback.state_key])
                self.validation_due = saved["TextDataModule"]["validation_due"]
                self.step = saved[RECORD_KEY]["step"]

    @property
    def ended(self) -> bool:
        """Whether it has failed, or has its result."""
        return self.error is not None or self.parts.outcome.result is not None

    def wait(self, step: int) -> None:
        """Wait after the validation of a step, which is saved when the member has been compared with the others."""
        self.step, self.validation_due, self.waits = step, False, True

    def end(self, step: int) -> None:
        """Observe it a last time, at its newest checkpoint; evaluate, sample and write its results."""
        with self.isolating_errors(step):
            self.observe(step, None)
            self.parts.outcome.stop_clock()
            self.parts.outcome.write(self.parts.data, self.loggers, pruned=self.pruned_at is not None)
            self.close("success")

    def checkpoint(self, step: int) -> dict[str, Any]:
        """Return its part of a checkpoint: all but the states of the Trainer's loops and of its data."""
        own = {
            "state_dict": self.model.state_dict(),
            "callbacks": {callback.state_key: callback.state_dict() for callback in self._callbacks},
            "optimizer_states": [self.optimizer.state_dict()],
            "lr_schedulers": [self.scheduler.state_dict()],
            RECORD_KEY: self.model.record(self.parts.data.corpus, step, self.loggers),
        }
        # a view would be saved with the numbers of all members
        copied: dict[str, Any] = apply_to_collection(own, Tensor, torch.clone)
        return copied

    def observe(self, step: int, block: Block | None) -> None:
        """Let the watchers of the run observe it, before a block of its steps or at its end."""
        next_step = None
        if block is not None:
            next_step = NextStep(block, self.optimizer, *rates_of(self.scheduler, step, 1))
        parts, watchers = self.parts, self.parts.watchers
        state = RunState(step, self.model, parts.data, parts.run_dir, watchers.names, self.loggers, next_step)
        watchers.observe(state)

    def account(self, first_step: int, rates: list[float], nlls: list[float], penalties: list[float]) -> None:
        """Log steps taken, up to a loss that is not finite, which ends the member."""
        losses = [nll + penalty for nll, penalty in zip(nlls, penalties, strict=True)]
        taken = next((step for step, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
        diverged = losses[taken] if taken < len(losses) else None
        kept = nlls[:taken], penalties[:taken], diverged
        with self.isolating_errors(first_step + taken):
            self.model.account(self.scheduler, self.loggers, first_step, rates, kept)

    @contextmanager
    def isolating_errors(self, step: int) -> Iterator[None]:
        """End this member, not its group, on an error of its own in the block.

        If it has diverged, its checkpoint of this step is deleted.
        """
        try:
            yield
        except (UserError, OSError) as error:
            if isinstance(error, DivergedError):
                path_of(self.parts.run_dir, step).unlink(missing_ok=True)
            self.error = error
            self.close("failed")

    def close(self, status: str) -> None:
        """Close its loggers; after an error, their own errors are left out."""
        for logger in self.loggers:
            with suppress(OSError) if self.error is not None else nullcontext():
                logger.finalize(status)
