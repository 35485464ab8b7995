"""A group of members as one LightningModule: it takes their steps together, and does all else for each in turn."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import lightning as L
import torch

from makemore import signals
from makemore.data.batches import Block, FullBatches, Minibatches
from makemore.data.datamodule import TextDataModule
from makemore.data.windows import CountedWindows
from makemore.inference.likelihood import exact_nll
from makemore.sweeps.vectorized.layout import layout_of
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.stack import Stack
from makemore.training.loggers import log_row
from makemore.training.module import advance_steps, rates_of


class Group(L.LightningModule):
    """The LightningModule of members at the same step, whose runs differ in MEMBER_KEYS alone.

    A member whose loss is no longer finite has ended: nothing of it is logged or saved any more. Its row of the stack
    is still computed, without effect on the others.

    Args:
        members: at least one.
        data: shared by all.
    """

    def __init__(self, members: Sequence[Member], data: TextDataModule) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.members = members
        self.data = data
        self.block_size = members[0].model.block_size
        # the member whose checkpoint the Trainer writes
        self.saving = members[0]

    def alive(self) -> Iterator[Member]:
        """Yield the members that have not failed."""
        yield from (member for member in self.members if member.error is None)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return no optimisers, as each member has its own."""
        return []

    def setup(self, stage: str) -> None:
        """Start at the step of the members."""
        advance_steps(self.trainer, self.members[0].step)
        self.data.validation_due = self.members[0].validation_due
        self.data.watch_intervals = self.members[0].parts.watchers.intervals

    def on_fit_start(self) -> None:
        """Assign rows to the members, and let each row draw the examples of its member."""
        threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        self.layout = layout_of([member.place for member in self.members], threads)
        self.data.member_seeds = self.layout.spread([member.model.seed for member in self.members])

    def on_train_start(self) -> None:
        """Stack the members on the Trainer's device."""
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
            # while compiling; eager steps end after a whole one
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
        """Log the steps of a member, up to a loss that is not finite, which ends the member."""
        diverged = None
        for step, (nll, penalty) in enumerate(zip(nlls, penalties, strict=True)):
            if not math.isfinite(nll + penalty):
                diverged, nlls, penalties = nll + penalty, nlls[:step], penalties[:step]
                break
        with member.isolating_errors(first_step + len(nlls)):
            member.model.account(member.scheduler, member.loggers, first_step, rates, (nlls, penalties, diverged))

    def validation_step(self, windows: CountedWindows, _batch_idx: int) -> None:
        """Log the exact NLL of the validation split for each member at the current step."""
        step = self.trainer.global_step
        # after a signal, all members validate anew
        with signals.at_once():
            for member in self.alive():
                with member.isolating_errors(step):
                    member.val_nll = exact_nll(member.model.network, windows).nats
        for member in self.alive():
            with member.isolating_errors(step):
                log_row(member.loggers, step, {"val/nll": member.val_nll})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Replace the Trainer's state by that of the member being saved."""
        checkpoint.update(self.saving.checkpoint(self.trainer.global_step))
