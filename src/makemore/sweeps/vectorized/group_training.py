"""Train a group by one Trainer, with the checkpoints and the results of each member."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback

from makemore.data.batches import Block
from makemore.errors import UserError, first_line
from makemore.runs.outcome import check_steps
from makemore.runs.saving import Checkpoints, RunSnapshot
from makemore.sweeps.progress import GroupProgress, show_group
from makemore.sweeps.vectorized.group import Group
from makemore.sweeps.vectorized.member import Member


class GroupCheckpoints(Checkpoints):
    """Keeps the checkpoints of each member, at the steps at which a single run saves.

    Args:
        every: steps between checkpoints.
        group: the group.
    """

    def __init__(self, every: int, group: Group) -> None:
        super().__init__(every)
        self.group = group

    def locate_all(self, trainer: L.Trainer, unfinished: bool) -> None:
        """Locate the checkpoints of each member."""
        for member, snapshot in self._snapshots(trainer):
            member.parts.checkpoints.locate(snapshot, unfinished)

    def save_newest(self, trainer: L.Trainer) -> None:
        """Save each member at its current step."""
        for member, snapshot in self._snapshots(trainer):
            with member.isolating_errors(snapshot.step):
                member.parts.checkpoints.keep_newest(snapshot)

    def save_best(self, trainer: L.Trainer) -> None:
        """Save each member whose validation NLL is its lowest."""
        for member, snapshot in self._snapshots(trainer):
            with member.isolating_errors(snapshot.step):
                # rounded to float32, as the Trainer rounds that of a single run
                member.parts.checkpoints.keep_best(snapshot, float(torch.tensor(member.val_nll)))

    def _snapshots(self, trainer: L.Trainer) -> Iterator[tuple[Member, RunSnapshot]]:
        for member in self.group.alive():
            self.group.saving = member
            yield member, member.snapshot(trainer.global_step, trainer.save_checkpoint)


class GroupOutcome(Callback):
    """Reports the progress of a group, and ends it as the runs of its members would end.

    Args:
        group: the group.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.started = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clocks."""
        self.started = time.perf_counter()
        for member in self.group.members:
            member.parts.outcome.on_train_start(trainer, pl_module)

    def on_train_batch_start(self, trainer: L.Trainer, _module: Any, block: Block, _batch_idx: int) -> None:
        """Observe each member before a block of steps."""
        for row, member in zip(self.group.layout.own, self.group.members, strict=True):
            if member.error is None and len(block):
                with member.isolating_errors(trainer.global_step):
                    member.observe(trainer.global_step, block.of_member(row))

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Report the progress."""
        self._report(trainer, lasting=False)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the progress after a validation."""
        self._report(trainer, lasting=True)

    def _report(self, trainer: L.Trainer, lasting: bool) -> None:
        alive = list(self.group.alive())
        speed = (trainer.global_step - self.group.members[0].step) / (time.perf_counter() - self.started)
        best = min((member.val_nll for member in alive), default=math.inf)
        show_group(GroupProgress(len(alive), trainer.global_step, trainer.max_steps, speed, best, lasting))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clocks."""
        for member in self.group.members:
            member.parts.outcome.on_train_end(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Observe, evaluate and sample each member that has not failed, and write its results.

        Raises:
            UserError: fewer steps than planned.
        """
        for member in self.group.alive():
            with member.isolating_errors(trainer.global_step):
                member.observe(trainer.global_step, None)
                check_steps(trainer)
                member.parts.outcome.write(member.parts.data, member.loggers)
                member.close("success")


def train_group(members: Sequence[Member]) -> None:
    """Train members that are at the same step; the result of each is in its outcome, or in its `error`.

    Raises:
        UserError: the Trainer cannot be built, or refuses the training.
        Stopped: a signal; the members are saved.
    """
    parts = members[0].parts
    group = Group(members, parts.data)
    trainer = parts.trainer([GroupOutcome(group), GroupCheckpoints(parts.cfg.checkpoint_every, group)])
    try:
        trainer.fit(group, datamodule=parts.data)
    except MisconfigurationException as error:
        raise UserError(f"trainer: {first_line(error)}") from error
    finally:
        show_group(None)
        for member in members:
            if member.parts.outcome.result is None:
                # errors in closing must not hide what ended the training
                with suppress(OSError):
                    member.close("failed")
