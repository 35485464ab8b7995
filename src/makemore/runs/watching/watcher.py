"""Watchers observe a run while it trains: at which steps, and what of the run they are given."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

from makemore.data.batches import Block
from makemore.data.datamodule import TextDataModule
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import CountedWindows
from makemore.errors import UserError, whole_number
from makemore.inference.sampling import sample
from makemore.models.network import Network
from makemore.training.language_model import LanguageModel
from makemore.training.loggers import log_row, tensorboards
from makemore.training.module import rates_of

# the multiple of its interval at which a sparse watcher begins
_FIRST = 4


@dataclass
class SampledNames:
    """The names that a run samples, once a step, for TensorBoard and for its results."""

    num_samples: int
    seed: int  # the same at each step, so that only the model differs
    _sampled: tuple[int, list[str]] | None = None

    def at(self, step: int, network: Network, vocabulary: Vocabulary) -> list[str]:
        """Return the names that the network samples at a step of the run."""
        if self._sampled is None or self._sampled[0] != step:
            self._sampled = step, sample(network, vocabulary, self.num_samples, self.seed)
        return self._sampled[1]

    def know(self, step: int, names: list[str]) -> None:
        """Take those that were sampled at a step already."""
        self._sampled = step, names


@dataclass(frozen=True)
class NextStep:
    """The step that a run is about to take."""

    block: Block  # the first minibatch is that of the step
    optimizer: torch.optim.Optimizer
    rate: float  # the learning rate


@dataclass(frozen=True)
class RunState:
    """The state of a run between two steps."""

    step: int  # optimiser steps taken
    model: LanguageModel
    data: TextDataModule
    run_dir: Path
    names: SampledNames
    loggers: Sequence[Logger]
    next: NextStep | None = None  # None at the end, and for counting models

    @property
    def writers(self) -> list[SummaryWriter]:
        """TensorBoard's writers."""
        return tensorboards(self.loggers)

    def log(self, row: dict[str, float]) -> None:
        """Log scalars at this step."""
        log_row(self.loggers, self.step, row)

    def draw(self, points: dict[str, float]) -> None:
        """Give TensorBoard's charts points that no other logger has a use for, at this step."""
        log_row((logger for logger in self.loggers if isinstance(logger, TensorBoardLogger)), self.step, points)


class Watcher(ABC):
    """Observes a run before its first step, at each multiple of `every`, and at its end.

    One that is `sparse`, as it takes long, observes it at 4, 8, 16, 32 and so on times `every` steps in place of each
    multiple.

    Args:
        every: steps between two observations, or a part of it for a sparse one; blocks of steps end at its multiples.
            None for one observation, before the first step.
    """

    sparse: ClassVar[bool] = False

    def __init__(self, every: int | None = None) -> None:
        what = f"watch: every of {type(self).__name__}"
        self.every = None if every is None else whole_number(what, every, at_least=1)

    def is_due(self, state: RunState) -> bool:
        """Return whether to observe a run in this state."""
        if self.every is None:
            return state.step == 0
        times, rest = divmod(state.step, self.every)
        is_among = not self.sparse or times == 0 or (times >= _FIRST and times.bit_count() == 1)
        return state.next is None or (rest == 0 and is_among)

    @abstractmethod
    def observe(self, state: RunState) -> None:
        """Log what there is to show of the run."""


class Watchers(L.Callback):
    """Calls the watchers of a run, each at most once a step."""

    def __init__(self, watchers: Sequence[Any], names: SampledNames) -> None:
        if not all(isinstance(watcher, Watcher) for watcher in watchers):
            raise UserError("watch: each must be a watcher of makemore.runs.watching; see conf/watch/default.yaml")
        self.watchers: Sequence[Watcher] = watchers
        self.names = names
        self.last_step = -1

    @property
    def state_key(self) -> str:
        """The key of its state in checkpoints, which is older than the name of this class."""
        return "Watching"

    @property
    def intervals(self) -> list[int]:
        """Steps between the observations of each watcher, at which blocks of steps end."""
        return [watcher.every for watcher in self.watchers if watcher.every is not None]

    def state_dict(self) -> dict[str, int]:
        """Return the last step observed, whose events are in the log."""
        return {"looked": self.last_step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restore the last step observed of the resumed run."""
        self.last_step = state_dict["looked"]

    def observe(self, state: RunState) -> None:
        """Call the watchers that are due."""
        due = [watcher for watcher in self.watchers if watcher.is_due(state)]
        if due and state.step != self.last_step:
            self.last_step = state.step
            for watcher in due:
                watcher.observe(state)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let blocks end where a watcher is due."""
        trainer.datamodule.watch_intervals = self.intervals  # type: ignore[attr-defined]

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Block | CountedWindows, *_: Any) -> None:
        """Observe the run before a block of steps."""
        if isinstance(batch, CountedWindows):
            self._observe(trainer, None)
        elif len(batch):
            (rate,) = rates_of(pl_module.lr_schedulers(), batch.first_step, 1)
            self._observe(trainer, NextStep(batch, pl_module.optimizers(use_pl_optimizer=False), rate))

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Observe the final state, after the last checkpoint: a run resumed from there does it anew."""
        self._observe(trainer, None)

    def _observe(self, trainer: L.Trainer, next_step: NextStep | None) -> None:
        model, data = trainer.lightning_module, trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(model, LanguageModel)
        run_dir = Path(trainer.default_root_dir)
        self.observe(RunState(trainer.global_step, model, data, run_dir, self.names, trainer.loggers, next_step))
