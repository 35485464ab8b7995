"""Train a group of members by one Trainer: save, report and end each member as its run would be by itself."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback

from makemore.data.batches import Block, PackedBatches
from makemore.errors import UserError, first_line
from makemore.runs.outcome import check_steps
from makemore.runs.saving import Checkpoints, RunSnapshot
from makemore.sweeps.progress import GroupProgress, show_group
from makemore.sweeps.vectorized.group import Group
from makemore.sweeps.vectorized.halving import Halving
from makemore.sweeps.vectorized.member import Member


class GroupCheckpoints(Checkpoints):
    """Keeps the checkpoints of each member of a group, at the steps at which a single run saves."""

    def __init__(self, every: int, group: Group) -> None:
        super().__init__(every)
        self.group = group

    def locate_all(self, trainer: L.Trainer, unfinished: bool) -> None:
        """Locate the checkpoints of each member."""
        for member, snapshot in self._snapshots(trainer):
            # one that waits is not saved yet
            member.parts.checkpoints.locate(snapshot, unfinished or member.waits)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Locate the checkpoints, and end the members that had ended before a resume, or are pruned after a wait."""
        super().on_fit_start(trainer, pl_module)
        if self.group.waits:
            self.on_train_epoch_end(trainer, pl_module)
        else:
            self.group.recall()
            self.group.end_stopped()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare the members after a validation, and save them, unless they wait to be compared with others."""
        self.group.compare()
        if self.group.waits:
            trainer.should_stop = True
            return
        super().on_train_epoch_end(trainer, pl_module)
        if self._training:
            self.group.shrink()

    def save_newest(self, trainer: L.Trainer) -> None:
        """Save each member at its current step, unless they wait."""
        if self.group.waits:
            return
        for member, snapshot in self._snapshots(trainer):
            with member.isolating_errors(snapshot.step):
                member.parts.checkpoints.keep_newest(snapshot)

    def save_best(self, trainer: L.Trainer) -> None:
        """Save each member whose validation NLL is its lowest."""
        for member, snapshot in self._snapshots(trainer):
            with member.isolating_errors(snapshot.step):
                # rounded to float32, as the Trainer rounds that of a single run
                member.parts.checkpoints.keep_best(snapshot, float(torch.tensor(member.val_nll)))
                if member.pruned_at is not None or member.parts.checkpoints.stopped_early:
                    member.parts.checkpoints.keep_newest(snapshot)
        self.group.end_stopped()

    def _snapshots(self, trainer: L.Trainer) -> Iterator[tuple[Member, RunSnapshot]]:
        for member in self.group.alive():
            self.group.saving = member
            run_dir, step = member.parts.run_dir, trainer.global_step
            yield member, RunSnapshot(run_dir, step, member.model, trainer.save_checkpoint)


class GroupOutcome(Callback):
    """Reports the progress of a group, and ends it as the runs of its members would end."""

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
        for row, member in zip(self.group.layout.own, self.group.stacked, strict=True):
            assert not isinstance(block, PackedBatches)
            if not member.ended and len(block):
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
        """End each member that has not ended before."""
        check_steps(trainer)
        if not self.group.waits:
            for member in self.group.alive():
                member.end(trainer.global_step)


def train_group(
    members: Sequence[Member], size: int | None = None, halving: Halving | None = None, is_behind: bool = False
) -> None:
    """Train members of a group, see `Group`, at the same step.

    Each has its result in its outcome, or its `error`, or waits.

    Raises:
        UserError: the Trainer cannot be built, or refuses the training.
        Stopped: a signal; the members are saved.
    """
    parts = members[0].parts
    group = Group(members, size, halving, is_behind)
    trainer = parts.trainer([GroupOutcome(group), GroupCheckpoints(parts.cfg.checkpoint_every, group)])
    try:
        trainer.fit(group, datamodule=parts.data)
    except MisconfigurationException as error:
        raise UserError(f"trainer: {first_line(error)}") from error
    finally:
        show_group(None)
        for member in members:
            if member.parts.outcome.result is None and not member.waits:
                # errors in closing must not hide what ended the training
                with suppress(OSError):
                    member.close("failed")
