"""The LightningDataModule: a text's training blocks, and its counted windows for exact evaluation.

A Lightning epoch is the steps up to the next validation: the training loader starts at `trainer.global_step` and ends
there, so validation, early stopping and resuming need no other bookkeeping.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import lightning as L
import numpy as np
import numpy.typing as npt
import torch

from makemore.data.batches import DRAWS, Block, CountedSplit, FullBatches, Minibatches
from makemore.data.corpus import Corpus, read_corpus
from makemore.data.download import obtain
from makemore.data.options import CorpusOptions
from makemore.data.windows import CountedWindows, Windows
from makemore.errors import as_text, one_of, whole_number

# In a block at the most, where a minibatch has no more: 64 MB of int64.
_BLOCK_TOKENS = 2**23


class TextDataModule(L.LightningDataModule):
    """Trains on the lines of a text, in contexts as long as the `block_size` of the model that the Trainer has.

    Args:
        path, val_path, test_path, splits, split_seed, by, boundary, boundary_at, normalize, max_lines,
            max_length: see `CorpusOptions`.
        batch_size: B, examples a step; None is the whole training split at once, over its counted windows.
        draw: "replacement" (rows drawn with replacement, as in L2) or "permutation" (each example once an epoch).
        sha256: of a known text, whose `path` is relative to the project's root; see `makemore.data.download.obtain`.
        url: where a known text can be downloaded when it is missing.
        copy_variable: name of the environment variable that may name a copy of a known text on disk.
        seed: decides the rows of every step.
        steps_per_execution: K, the most optimiser steps in one block (fewer where its tokens would be too many);
            changes speed and nothing else.
        val_every: steps between validations; the length of a Lightning epoch.
        checkpoint_every: steps between checkpoints; blocks end there too.
    """

    def __init__(
        self,
        path: str,
        val_path: str | None = None,
        test_path: str | None = None,
        splits: Sequence[float] = (0.8, 0.1, 0.1),
        split_seed: int = 0,
        by: str = "line",
        boundary: str = "shared",
        boundary_at: str = "first",
        normalize: str | None = "NFC",
        max_lines: int | None = None,
        max_length: int | None = None,
        batch_size: int | None = 32,
        draw: str = "replacement",
        sha256: str | None = None,
        url: str | None = None,
        copy_variable: str | None = None,
        seed: int = 0,
        steps_per_execution: int = 1,
        val_every: int = 1000,
        checkpoint_every: int = 1000,
    ) -> None:
        super().__init__()
        self.options = CorpusOptions(
            path=path,
            val_path=val_path,
            test_path=test_path,
            splits=tuple(splits),
            split_seed=split_seed,
            by=by,
            boundary=boundary,
            boundary_at=boundary_at,
            normalize=normalize,
            max_lines=max_lines,
            max_length=max_length,
        )
        self.batch_size = None if batch_size is None else whole_number("data.batch_size", batch_size, 1, 2**24)
        self.draw = one_of("data.draw", draw, tuple(DRAWS))
        for key, text in (("data.url", url), ("data.sha256", sha256), ("data.copy_variable", copy_variable)):
            if text is not None:
                as_text(key, text)
        self.url = url
        self.sha256 = sha256
        self.copy_variable = copy_variable
        self.seed = whole_number("seed", seed)
        # of the members of a group, where it is one that trains: each draws its own rows
        self.member_seeds: Sequence[int] | None = None
        self.steps_per_execution = whole_number("steps_per_execution", steps_per_execution, at_least=1)
        self.val_every = whole_number("val_every", val_every, at_least=1)
        self.checkpoint_every = whole_number("checkpoint_every", checkpoint_every, at_least=1)
        # steps between looks of those who watch; blocks end there too
        self.looks: Sequence[int] = ()
        # of the step that training goes on from: it was interrupted
        self.validation_due = False
        self._windows: dict[tuple[str, int], Windows] = {}
        self._counted: dict[tuple[str, int], CountedWindows] = {}

    def prepare_data(self) -> None:
        """Find a known text, which has a digest; download it where it has an address and is not here yet."""
        if self.sha256 is not None:
            path = obtain(self.options.path, self.sha256, self.url, self.copy_variable)
            self.options = replace(self.options, path=str(path))

    @cached_property
    def corpus(self) -> Corpus:
        """The text, read, encoded and split, when first asked for."""
        return read_corpus(self.options)

    @property
    def block_size(self) -> int:
        """T, that of the model that the Trainer has."""
        assert self.trainer is not None
        return int(self.trainer.lightning_module.block_size)  # type: ignore[arg-type]

    def end_of_epoch(self, step: int) -> int:
        """Return where the Lightning epoch ends that has a step: at the next validation, or at the end of training."""
        assert self.trainer is not None
        return min(_next_multiple(step, self.val_every), self.trainer.max_steps)

    def state_dict(self) -> dict[str, bool]:
        """Return what a resumed run needs to know."""
        return {"validation_due": self.validation_due}

    def load_state_dict(self, state_dict: dict[str, bool]) -> None:
        """Take what the run knew that is resumed."""
        self.validation_due = state_dict["validation_due"]

    def train_dataloader(self) -> Iterable[Block | CountedSplit]:
        """Return the blocks from the current step to the next validation."""
        return _TrainingBlocks(self)

    def val_dataloader(self) -> list[Iterable[CountedWindows]]:
        """Return one loader of one batch, the counted windows of the validation split; none where it is empty."""
        return self._evaluation("val")

    def test_dataloader(self) -> list[Iterable[CountedWindows]]:
        """Return one loader of one batch, the counted windows of the test split; none where it is empty."""
        return self._evaluation("test")

    def windows(self, split: str) -> Windows:
        """Return the examples of a split, laid out when first asked for."""
        key = (split, self.block_size)
        if key not in self._windows:
            self._windows[key] = self.corpus.windows(*key)
        return self._windows[key]

    def counted(self, split: str) -> CountedWindows:
        """Return the counted windows of a split that has examples, counted when first asked for."""
        key = (split, self.block_size)
        if key not in self._counted:
            self._counted[key] = self.windows(split).counted()
        return self._counted[key]

    def _evaluation(self, split: str) -> list[Iterable[CountedWindows]]:
        return [_OneBatch(self.counted(split))] if self.corpus.size(split) else []


class _OneBatch:
    """A loader of one batch; Lightning would take a list for a collection of loaders."""

    def __init__(self, batch: CountedWindows) -> None:
        self.batch = batch

    def __iter__(self) -> Iterator[CountedWindows]:
        yield self.batch

    def __len__(self) -> int:
        return 1


class _TrainingBlocks:
    """Blocks of steps from the Trainer's current one; iterated once a Lightning epoch."""

    def __init__(self, datamodule: TextDataModule) -> None:
        self.datamodule = datamodule

    @cached_property
    def windows(self) -> Windows:
        """The training split, on the device of the model: a block is gathered there."""
        data = self.datamodule
        assert data.trainer is not None
        return data.windows("train").to(data.trainer.lightning_module.device)

    @cached_property
    def full(self) -> FullBatches:
        data = self.datamodule
        assert data.trainer is not None
        full = FullBatches.of(data.counted("train"), data.corpus.vocabulary.size)
        return full.to(data.trainer.lightning_module.device)

    @property
    def most_steps(self) -> int:
        """K, or as many minibatches as are not too many tokens."""
        data = self.datamodule
        if data.batch_size is None:
            return data.steps_per_execution
        tokens = data.batch_size * (data.block_size + 1) * len(data.member_seeds or [data.seed])
        return min(data.steps_per_execution, max(_BLOCK_TOKENS // tokens, 1))

    def __iter__(self) -> Iterator[Block | CountedSplit]:
        data, trainer = self.datamodule, self.datamodule.trainer
        assert trainer is not None
        # what `makemore.models.network.Counted` has; a group of runs has no network of its own
        if hasattr(getattr(trainer.lightning_module, "network", None), "count"):
            yield CountedSplit(data.counted("train"))
            return
        step = trainer.global_step
        if data.validation_due:
            data.validation_due = False
            yield self.block(step, 0)
            return
        last = data.end_of_epoch(step)
        while step < last:
            ends = [_next_multiple(step, every) for every in (data.checkpoint_every, *data.looks)]
            end = min(step + self.most_steps, *ends, last)
            yield self.block(step, end - step)
            step = end

    def block(self, first_step: int, steps: int) -> Block:
        """Return the block of steps `first_step .. first_step + steps - 1`."""
        data = self.datamodule
        if data.batch_size is None:
            return replace(self.full, first_step=first_step, length=steps)
        draw, batch_size, total = DRAWS[data.draw], data.batch_size, len(self.windows)

        def rows(seed: int) -> npt.NDArray[np.int64]:
            drawn = [draw(seed, step, batch_size, total) for step in range(first_step, first_step + steps)]
            return np.reshape(drawn, (steps, batch_size)).astype(np.int64)

        if data.member_seeds is None:
            stacked = rows(data.seed)
        else:
            by_seed = {seed: rows(seed) for seed in data.member_seeds}
            stacked = np.stack([by_seed[seed] for seed in data.member_seeds], axis=1)
        return Minibatches(first_step, *self.windows.batch(torch.from_numpy(stacked)))


def _next_multiple(step: int, of: int) -> int:
    return (step // of + 1) * of
