"""A group of members as one LightningModule, which takes their steps together and all else for each in turn."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import lightning as L
import torch

from makemore.data.batches import Block, FullBatches, Minibatches
from makemore.data.windows import CountedWindows
from makemore.inference.likelihood import exact_nll
from makemore.models.network import Network
from makemore.sweeps.vectorized.alignment import period_of
from makemore.sweeps.vectorized.halving import Halving
from makemore.sweeps.vectorized.layout import PERIOD, Layout, layout_of
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.stack import Stack
from makemore.system import signals
from makemore.training.loggers import log_row
from makemore.training.module import rates_of
from makemore.training.own_trainer import advance_steps


class Group(L.LightningModule):
    """The LightningModule of members at the same step, whose runs differ in MEMBER_KEYS alone.

    A member whose loss is no longer finite, which has stopped early or was pruned, has ended: nothing of it is logged
    or saved any more. Its row of the stack is computed up to the next validation, without effect on the others; in
    compiled steps, which depend on the number of rows, up to the end. All members share their data.

    Args:
        members: that are trained.
        size: of the group with all its members, if these can be trained together.
        halving: prunes members; None is for none.
        is_behind: whether others of its wave have taken more steps. It ends at the first rung at which it has not been
            decided who goes on, so that its members are compared together with those.
    """

    def __init__(
        self, members: Sequence[Member], size: int | None, halving: Halving | None = None, is_behind: bool = False
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.members = members
        self.size = size
        self.halving = halving
        self.is_behind = is_behind
        self.data = members[0].parts.data
        # the member whose checkpoint the Trainer writes
        self.saving = members[0]

    @property
    def network(self) -> Network:
        """A network as those of all members are."""
        return self.members[0].model.network

    def alive(self) -> Iterator[Member]:
        """Yield the members that have not ended."""
        yield from (member for member in self.members if not member.ended)

    @property
    def waits(self) -> bool:
        """Whether its members wait at a rung."""
        return any(member.waits for member in self.alive())

    def _rung(self) -> int | None:
        """Return the rung at the validation of this step, if there is one; the last step has none."""
        step = self.trainer.global_step
        if self.halving is None or step == self.trainer.max_steps:
            return None
        return self.halving.rung(step, self.data.epoch_steps)

    def compare(self) -> None:
        """Mark the members that are pruned after the validation of this step, or all as waiting for the others."""
        rung = self._rung()
        if rung is None:
            return
        assert self.halving is not None
        nlls = {member.parts.run_dir.name: member.val_nll for member in self.alive()}
        if self.is_behind and not self.waits and not nlls.keys() <= self.halving.decided(rung).keys():
            for member in self.alive():
                member.wait(self.trainer.global_step)
        else:
            self._mark(self.halving.decide(rung, nlls))

    def recall(self) -> None:
        """Mark the members that were pruned at this step before a resume."""
        rung = self._rung()
        if rung is not None and not self.data.validation_due:
            assert self.halving is not None
            self._mark(self.halving.decided(rung))

    def _mark(self, goes_on: Mapping[str, bool]) -> None:
        for member in self.alive():
            member.waits = False
            if not goes_on.get(member.parts.run_dir.name, True):
                member.pruned_at = self.trainer.global_step

    def end_stopped(self) -> None:
        """End the members that have stopped early or are pruned, and the training if none is left."""
        step = self.trainer.global_step
        for member in self.alive():
            if member.pruned_at is not None or member.parts.checkpoints.stopped_early:
                member.end(step)
        self.trainer.should_stop = not any(self.alive())

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return no optimisers, as each member has its own."""
        return []

    def setup(self, stage: str) -> None:
        """Start at the step of the members."""
        advance_steps(self.trainer, self.members[0].step)
        self.data.validation_due = self.members[0].validation_due
        self.data.watch_intervals = self.members[0].parts.watchers.intervals

    def on_fit_start(self) -> None:
        """Choose a compiler, assign rows to the members, and let each row draw the examples of its member."""
        first = self.members[0]
        self._compiler = first.model.choose_compiler(first.optimizer, self.trainer.max_steps)
        self._period = PERIOD if self._compiler or self.device.type != "cpu" else period_of(first)
        self._assign(self.members if self._compiler else list(self.alive()) or self.members)

    def _assign(self, members: Sequence[Member]) -> None:
        """Assign rows to members, which `stacked` are from here on."""
        self.stacked = members
        self.layout = self._layout(members)
        self.data.member_seeds = self.layout.spread([member.model.seed for member in members])

    def _layout(self, members: Sequence[Member]) -> Layout:
        places = [member.place for member in members]
        threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        return layout_of(places, threads, self._period, self.size if self._compiler else None)

    def on_train_start(self) -> None:
        """Stack the members on the Trainer's device."""
        models = [member.model.to(self.device) for member in self.stacked]
        optimizers = [member.optimizer for member in self.stacked]
        for optimizer in optimizers:
            # moves its state to the device of its parameters
            optimizer.load_state_dict(optimizer.state_dict())
        shared = self.data.batch_size is None and self.network.reads == "windows"
        members_dim = FullBatches.members_dim if shared else Minibatches.members_dim
        l2 = [model.l2 for model in models]
        networks, options = [model.network for model in models], [model.step_options() for model in models]
        self._stack = Stack(networks, optimizers, options, l2, members_dim, self.layout)
        compiled = self._compiler and self._stack.compiled_steps(self._compiler)
        self._take_steps = compiled or self._stack.eager_steps()

    def shrink(self) -> None:
        """Stack only the members that have not ended, where that leaves fewer rows."""
        members = list(self.alive())
        if self._compiler or not members or len(members) == len(self.stacked):
            return
        if self._layout(members).total < self.layout.total:
            self._assign(members)
            self.on_train_start()

    def training_step(self, block: Block, _batch_idx: int) -> dict[str, Any]:
        """Take the steps of a block for all members, log those that are due for each, and return their NLLs."""
        rates = [rates_of(member.scheduler, block.first_step, len(block)) for member in self.stacked]
        rates_by_row = self.layout.spread(rates)
        take_back = self._stack.snapshot() if self._compiler else None
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
        for member, *columns_of_member in zip(self.stacked, rates, *columns, strict=True):
            if not member.ended:
                member.account(block.first_step, *columns_of_member)
        self.trainer.should_stop = not any(self.alive())
        return {"nlls": nlls.tolist()}

    def validation_step(self, windows: CountedWindows, _batch_idx: int) -> None:
        """Log the exact NLL of the validation split for each member at the current step."""
        step = self.trainer.global_step
        # after a signal, all members validate anew
        with signals.at_once():
            for member in self.alive():
                with member.isolating_errors(step):
                    member.val_nll = exact_nll(member.model.evaluated, windows).nats
        for member in self.alive():
            with member.isolating_errors(step):
                log_row(member.loggers, step, {"val/nll": member.val_nll})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Replace the Trainer's state by that of the member being saved."""
        checkpoint.update(self.saving.checkpoint(self.trainer.global_step))
