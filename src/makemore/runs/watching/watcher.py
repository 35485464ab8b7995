"""Looking at a run while it trains: at which steps, and what there is to be seen then."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from torch.utils.tensorboard import SummaryWriter

from makemore.data.batches import Block, CountedSplit
from makemore.data.datamodule import TextDataModule
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError, whole_number
from makemore.inference.sampling import sample
from makemore.models.network import Network
from makemore.training.loggers import log_row, tensorboards
from makemore.training.module import LanguageModel, rates_of


class DrawnNames:
    """The made-up names of a run, drawn once a step: it shows them, and ends with them.

    Args:
        num_samples: how many.
        seed: of their stream; the same at each step, so that one sees the model change.
    """

    def __init__(self, num_samples: int, seed: int) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self._drawn: tuple[int, list[str]] | None = None

    def at(self, step: int, network: Network, vocabulary: Vocabulary) -> list[str]:
        """Return the names that a network makes up at a step of the run."""
        if self._drawn is None or self._drawn[0] != step:
            self._drawn = step, sample(network, vocabulary, self.num_samples, self.seed)
        return self._drawn[1]


@dataclass(frozen=True)
class NextStep:
    """The step that a run is about to take.

    Args:
        block: on whose first minibatch.
        optimizer: by which rule.
        rate: its learning rate.
    """

    block: Block
    optimizer: torch.optim.Optimizer
    rate: float


@dataclass(frozen=True)
class Sight:
    """A run between two steps.

    Args:
        step: how many it has taken.
        model: as it is now.
        data: that it is trained on.
        run_dir: its directory.
        names: that it makes up.
        loggers: where its metrics go.
        next: the step to come; None at the end, and where training is counting.
    """

    step: int
    model: LanguageModel
    data: TextDataModule
    run_dir: Path
    names: DrawnNames
    loggers: Sequence[Logger]
    next: NextStep | None = None

    @property
    def writers(self) -> list[SummaryWriter]:
        """TensorBoard's writers."""
        return tensorboards(self.loggers)

    def log(self, row: dict[str, float]) -> None:
        """Give numbers to every logger at this step."""
        log_row(self.loggers, self.step, row)


class Watcher(ABC):
    """Looks at a run before its first step, at each multiple of `every`, and at its end.

    Args:
        every: steps between two looks, at which blocks of steps end too; None for one look, before the first step.
    """

    def __init__(self, every: int | None = None) -> None:
        what = f"watch: every of {type(self).__name__}"
        self.every = None if every is None else whole_number(what, every, at_least=1)

    def is_due(self, sight: Sight) -> bool:
        """Say whether to look."""
        if self.every is None:
            return sight.step == 0
        return sight.step % self.every == 0 or sight.next is None

    @abstractmethod
    def look(self, sight: Sight) -> None:
        """Show what there is to be seen."""


class Watching(Callback):
    """Lets watchers look at one run, each once a step.

    Args:
        watchers: they.
        names: of the run.
    """

    def __init__(self, watchers: Sequence[Any], names: DrawnNames) -> None:
        if not all(isinstance(watcher, Watcher) for watcher in watchers):
            raise UserError("watch: each must be a watcher of makemore.runs.watching; see conf/watch/default.yaml")
        self.watchers: Sequence[Watcher] = watchers
        self.names = names
        self.looked = -1

    @property
    def intervals(self) -> list[int]:
        """Steps between the looks of each, at which blocks of steps end."""
        return [watcher.every for watcher in self.watchers if watcher.every is not None]

    def state_dict(self) -> dict[str, int]:
        """Return the last step that was looked at, whose events are in the log by now."""
        return {"looked": self.looked}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Take the step of the run that is resumed."""
        self.looked = state_dict["looked"]

    def look(self, sight: Sight) -> None:
        """Let those watchers look that are due."""
        due = [watcher for watcher in self.watchers if watcher.is_due(sight)]
        if sight.step == self.looked or not due:
            return
        self.looked = sight.step
        for watcher in due:
            watcher.look(sight)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let blocks end where someone looks."""
        trainer.datamodule.looks = self.intervals  # type: ignore[attr-defined]

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Block | CountedSplit, batch_idx: int
    ) -> None:
        """Look before a block of steps."""
        if len(batch):
            self._look(trainer, None if isinstance(batch, CountedSplit) else _next_step(pl_module, batch))

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look once more, after the last checkpoint, which a run that goes on from it takes up without."""
        self._look(trainer, None)

    def _look(self, trainer: L.Trainer, next_step: NextStep | None) -> None:
        model, data = trainer.lightning_module, trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(model, LanguageModel)
        run_dir = Path(trainer.default_root_dir)
        self.look(Sight(trainer.global_step, model, data, run_dir, self.names, trainer.loggers, next_step))


def _next_step(model: Any, block: Block) -> NextStep:
    (rate,) = rates_of(model.lr_schedulers(), block.first_step, 1)
    return NextStep(block, model.optimizers(use_pl_optimizer=False), rate)
