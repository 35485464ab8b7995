"""The loader of training blocks: K steps each, which end where something is due."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from makemore.data.batches import DRAWS, Block, FullBatches, Minibatches, dropout_keys
from makemore.data.lines import Lines
from makemore.data.windows import CountedWindows, Windows

# tokens in a block of several minibatches at most: 64 MB of int64
_BLOCK_TOKENS = 2**23


class TrainingBlocks:
    """Blocks of a `TextDataModule`, from the Trainer's current step or 0 on; iterated once per Lightning epoch."""

    def __init__(self, data: Any) -> None:
        self.data, self.module = data, data.module

    @cached_property
    def examples(self) -> Windows | Lines:
        """The training split, on the device of the model, where blocks are gathered."""
        examples: Windows | Lines = self.data.examples("train").to(self.module.device)
        return examples

    @cached_property
    def full(self) -> FullBatches:
        """The whole training split, counted, on the device of the model."""
        full = FullBatches.of(self.data.counted("train"), self.data.corpus.vocabulary.size)
        return full.to(self.module.device)

    def __iter__(self) -> Iterator[Block | CountedWindows]:
        """Yield the blocks up to the end of the epoch."""
        data = self.data
        step = 0 if data.trainer is None else data.trainer.global_step
        if counts(data.network):
            yield data.counted("train")
            return
        if data.validation_due:
            data.validation_due = False
            yield self.block(step, 0)
            return
        most, last = data.steps_per_execution, data.end_of_epoch(step)
        if data.batch_size is not None or data.network.reads == "lines":
            examples = data.batch_size or len(self.examples)
            tokens = examples * (data.context_size + 1) * len(data.member_seeds or [data.seed])
            most = min(most, max(_BLOCK_TOKENS // tokens, 1))
        while step < last:
            ends = [next_multiple(step, every) for every in (data.checkpoint_every, *data.watch_intervals)]
            end = min(step + most, *ends, last)
            yield self.block(step, end - step)
            step = end

    def block(self, first_step: int, steps: int) -> Block:
        """Return the block of `steps` steps from the first on."""
        data = self.data
        if data.batch_size is None and data.network.reads == "windows":
            return replace(self.full, first_step=first_step, length=steps)
        total = len(self.examples)

        def rows(seed: int) -> npt.NDArray[np.int64]:
            if data.batch_size is None:
                return np.broadcast_to(np.arange(total), (steps, total))
            return DRAWS[data.draw](seed, first_step, steps, data.batch_size, total)

        stacked, keys = self._of_members(rows), None
        if data.network.takes_key:
            keys = torch.from_numpy(self._of_members(lambda seed: dropout_keys(seed, first_step, steps)))
        if isinstance(self.examples, Windows):
            return Minibatches(first_step, *self.examples.batch(torch.from_numpy(stacked)), keys)
        if data.member_seeds is None and not self.module.compiler:
            return self.examples.packed(first_step, stacked, keys)
        return self.examples.padded(first_step, stacked, keys)

    def _of_members(self, of_seed: Callable[[int], npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        """Return what there is for a seed (K, ...), for each member of a group (K, N, ...)."""
        if self.data.member_seeds is None:
            return of_seed(self.data.seed)
        by_seed = {seed: of_seed(seed) for seed in self.data.member_seeds}
        return np.stack([by_seed[seed] for seed in self.data.member_seeds], axis=1)


def counts(network: Any) -> bool:
    """Return whether a network is trained by counting, as `makemore.models.network.Counted` is."""
    return hasattr(network, "count")


def next_multiple(step: int, of: int) -> int:
    """Return the first multiple after a step."""
    return (step // of + 1) * of
