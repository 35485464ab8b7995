"""The training of a group: one run of a Trainer, whose checkpoints and ends are those of each member."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from makemore.data.batches import Block
from makemore.data.datamodule import TextDataModule
from makemore.errors import UserError, first_line
from makemore.runs.assemble import build_trainer
from makemore.runs.outcome import check_steps
from makemore.runs.saving import Checkpoints
from makemore.sweeps.progress import GroupProgress, show_group
from makemore.sweeps.vectorized.group import Group
from makemore.sweeps.vectorized.member import Member


class GroupCheckpoints(Checkpoints):
    """Keeps the checkpoints of each member, when those of a single run are kept.

    Args:
        every: as there.
        group: whose.
    """

    def __init__(self, every: int, group: Group) -> None:
        super().__init__(every)
        self.group = group

    def find_all(self, trainer: L.Trainer, unfinished: bool) -> None:
        """Find the checkpoints of each member."""
        for member in self.group.alive():
            member.run.checkpoints.find(member.moment(trainer.global_step, None), unfinished)

    def save_newest(self, trainer: L.Trainer) -> None:
        """Save each member as it is now."""
        for member, moment in self._moments(trainer):
            with member.surviving(moment.step):
                member.run.checkpoints.keep_newest(moment)

    def save_best(self, trainer: L.Trainer) -> None:
        """Save each member that has validated best."""
        for member, moment in self._moments(trainer):
            with member.surviving(moment.step):
                # rounded as the Trainer of a single run has it
                member.run.checkpoints.keep_best(moment, float(torch.tensor(member.val_nll)))

    def _moments(self, trainer: L.Trainer) -> Iterator[Any]:
        for member in self.group.alive():
            self.group.saving = member
            yield member, member.moment(trainer.global_step, trainer.save_checkpoint)


class GroupOutcome(Callback):
    """Shows where a group is, and ends it as the runs of its members would end.

    Args:
        group: it.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.started = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clocks."""
        self.started = time.perf_counter()
        for member in self.group.members:
            member.run.outcome.on_train_start(trainer, pl_module)

    def on_train_batch_start(self, trainer: L.Trainer, _module: Any, block: Block, _batch_idx: int) -> None:
        """Look at each member before a block of steps."""
        for row, member in zip(self.group.layout.own, self.group.members, strict=True):
            if member.error is None and len(block):
                with member.surviving(trainer.global_step):
                    member.look(self.group.data, trainer.global_step, block.of_member(row))

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Show where the group is."""
        show_group(self.progress(trainer, lasting=False))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show where the group is after a validation."""
        show_group(self.progress(trainer, lasting=True))

    def progress(self, trainer: L.Trainer, lasting: bool) -> GroupProgress:
        """Return how many members are where, how fast each is, and the best of them by validation."""
        alive = list(self.group.alive())
        speed = (trainer.global_step - self.group.members[0].step) / (time.perf_counter() - self.started)
        best = min((member.val_nll for member in alive), default=math.inf)
        return GroupProgress(len(alive), trainer.global_step, trainer.max_steps, speed, best, lasting)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clocks."""
        for member in self.group.members:
            member.run.outcome.on_train_end(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look once more, evaluate, sample and write, for each member that is left.

        Raises:
            UserError: fewer steps than planned.
        """
        for member in self.group.alive():
            with member.surviving(trainer.global_step):
                member.look(self.group.data, trainer.global_step, None)
                check_steps(trainer)
                member.run.outcome.write(self.group.data, member.run.loggers)
                member.close("success")


def train_group(members: Sequence[Member], data: TextDataModule, cfg: DictConfig, directory: Path) -> None:
    """Train members that are at the same step; what became of each is in its outcome, or its error.

    Args:
        members: alike but for MEMBER_KEYS.
        data: of all of them.
        cfg: of any of them.
        directory: for the Trainer, which writes nothing there.

    Raises:
        UserError: the Trainer cannot be built, or does not take the training.
        Stopped: a signal; what has been learnt is saved.
    """
    group = Group(members, data)
    callbacks = [GroupOutcome(group), GroupCheckpoints(cfg.checkpoint_every, group)]
    trainer = build_trainer(cfg, False, data, directory, callbacks, [])
    try:
        trainer.fit(group, datamodule=data)
    except MisconfigurationException as error:
        raise UserError(f"trainer: {first_line(error)}") from error
    finally:
        show_group(None)
        for member in members:
            if member.run.outcome.result is None:
                # nothing must come before what ended the training
                with suppress(OSError):
                    member.close("failed")
