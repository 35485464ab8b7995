"""A group of members as one run of a Trainer: their steps taken at once, all else for each in turn."""

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

from makemore import signals
from makemore.building import build_trainer
from makemore.checkpointing import Checkpoints
from makemore.data.batches import Block, FullBatches, Minibatches
from makemore.data.datamodule import TextDataModule
from makemore.data.windows import CountedWindows
from makemore.errors import UserError, first_line
from makemore.language_model import advance_steps, rates_of
from makemore.loggers import log_row
from makemore.metrics import exact_nll
from makemore.outcome import check_steps
from makemore.sweeps.progress import Where, note
from makemore.vectorized.layout import layout_of
from makemore.vectorized.member import Member
from makemore.vectorized.stack import Stack


class Group(L.LightningModule):
    """What the Trainer sees of members that are at the same step of runs that differ in MEMBER_KEYS alone.

    A member whose loss is no longer finite is left behind: nothing of it is logged or saved any more, though its row
    of the stack goes on, which the others do not notice.

    Args:
        members: at least one.
        data: that of all of them.
    """

    counts = False

    def __init__(self, members: Sequence[Member], data: TextDataModule) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.members = members
        self.data = data
        self.block_size = members[0].model.block_size
        # whose checkpoint the Trainer is writing
        self.saving = members[0]

    def alive(self) -> Iterator[Member]:
        """Yield the members that have not failed by now."""
        yield from (member for member in self.members if member.error is None)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return no optimisers: the members have theirs."""
        return []

    def setup(self, stage: str) -> None:
        """Begin at the members' step."""
        advance_steps(self.trainer, self.members[0].step)
        self.data.validation_due = self.members[0].validation_due
        self.data.looks = self.members[0].run.watching.intervals

    def on_fit_start(self) -> None:
        """Let each row of the stack draw the examples of its member."""
        threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        self.layout = layout_of([member.place for member in self.members], threads)
        self.data.member_seeds = self.layout.spread([member.model.seed for member in self.members])

    def on_train_start(self) -> None:
        """Stack the members where the Trainer trains."""
        models = [member.to(self.device) for member in self.members]
        optimizers = [member.optimizer for member in self.members]
        members_dim = FullBatches.members_dim if self.data.batch_size is None else Minibatches.members_dim
        l2 = [model.l2 for model in models]
        self._stack = Stack([model.network for model in models], optimizers, l2, members_dim, self.layout)
        self._compiled = models[0].compile_steps
        self._take_steps = self._stack.compiled_steps() if self._compiled else self._stack.eager_steps()

    def training_step(self, block: Block, _batch_idx: int) -> dict[str, Any]:
        """Take the steps of a block for all members, log those that are due for each, and return their NLLs."""
        rates = [rates_of(member.scheduler, block.first_step, len(block)) for member in self.members]
        rates_by_row = self.layout.spread(rates)
        take_back = self._stack.snapshot() if self._compiled else None
        try:
            nlls, penalties = self._take_steps(block, list(zip(*rates_by_row, strict=True)))
        except signals.Stopped:
            # while it was being compiled; eager steps end after a whole one
            assert take_back is not None
            take_back()
            raise
        taken = len(nlls)
        advance_steps(self.trainer, taken)
        by_row = [losses.reshape(taken, self.layout.total).T for losses in (nlls, penalties)]
        columns = [losses[self.layout.own].tolist() for losses in by_row]
        for member, *columns_of_member in zip(self.members, rates, *columns, strict=True):
            if member.error is None:
                self._account(member, block.first_step, *columns_of_member)
        self.trainer.should_stop = not any(self.alive())
        return {"nlls": nlls.tolist()}

    def _account(
        self, member: Member, first_step: int, rates: list[float], nlls: list[float], penalties: list[float]
    ) -> None:
        """Log the steps of a member; where a loss was not finite, those before it, and the member has ended."""
        diverged = None
        for step, (nll, penalty) in enumerate(zip(nlls, penalties, strict=True)):
            if not math.isfinite(nll + penalty):
                diverged, nlls, penalties = nll + penalty, nlls[:step], penalties[:step]
                break
        with member.surviving(first_step + len(nlls)):
            member.model.account(member.scheduler, member.run.loggers, first_step, rates, nlls, penalties, diverged)

    def validation_step(self, windows: CountedWindows, _batch_idx: int) -> None:
        """Log the exact NLL of the validation split for each member at the current step."""
        step = self.trainer.global_step
        # a signal leaves all of them without, or none
        with signals.at_once():
            for member in self.alive():
                with member.surviving(step):
                    member.val_nll = exact_nll(member.model.network, windows).nats
        for member in self.alive():
            with member.surviving(step):
                log_row(member.run.loggers, step, {"val/nll": member.val_nll})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make the Trainer's checkpoint that of the run of one member."""
        checkpoint.update(self.saving.checkpoint(self.data.corpus, self.trainer.global_step))


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
        note(self.where(trainer, lasting=False))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show where the group is after a validation."""
        note(self.where(trainer, lasting=True))

    def where(self, trainer: L.Trainer, lasting: bool) -> Where:
        """Return how many members are where, how fast each is, and the best of them by validation."""
        alive = list(self.group.alive())
        speed = (trainer.global_step - self.group.members[0].step) / (time.perf_counter() - self.started)
        best = min((member.val_nll for member in alive), default=math.inf)
        return Where(len(alive), trainer.global_step, trainer.max_steps, speed, best, lasting)

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
        note(None)
        for member in members:
            if member.run.outcome.result is None:
                # nothing must come before what ended the training
                with suppress(OSError):
                    member.close("failed")
