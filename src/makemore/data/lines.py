"""Lines of a split as sequences: what networks over whole lines are trained on.

A line of n tokens, its end included, has n inputs, from the start token on, and n targets, each the token after an
input. Longer lines than a network sees are cut into pieces of at most that many tokens.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from makemore.data.batches import IGNORED, Minibatches, PackedBatches

_Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lines:
    """The pieces of the lines of a split.

    Args:
        stream: (S,) tokens in the smallest type, each line preceded by one start token.
        is_target: (S,) whether a token is of the split; None where all tokens of its lines are.
        starts: (L,) position of the first input of each piece in the stream.
        lengths: (L,) inputs of each piece.
    """

    stream: Tensor
    is_target: Tensor | None
    starts: _Array
    lengths: _Array

    def __len__(self) -> int:
        """Return L, the number of pieces."""
        return len(self.starts)

    def to(self, device: torch.device) -> "Lines":
        """Return a copy whose tokens are on another device."""
        is_target = None if self.is_target is None else self.is_target.to(device)
        return replace(self, stream=self.stream.to(device), is_target=is_target)

    def some(self, rows: Tensor) -> PackedSequence:
        """Return the tokens of the pieces `rows` (R,), without padding, as int64."""
        ((tokens, _),) = self.packed(0, rows.numpy()[None]).batches()
        return tokens  # type: ignore[no-any-return]

    def padded(self, first_step: int, rows: _Array, keys: Tensor | None = None) -> Minibatches:
        """Return the minibatches of pieces `rows` (K, ..., B), (K, ..., B, T), T the longest of all; longest first."""
        rows = self._longest_first(rows)
        offsets = np.arange(int(self.lengths.max()))
        inside = offsets < self.lengths[rows][..., None]
        positions = np.where(inside, self.starts[rows][..., None] + offsets, 0)
        tokens, targets = self._gathered(positions)
        outside = torch.from_numpy(~inside).to(tokens.device)
        return Minibatches(first_step, tokens.masked_fill(outside, 0), targets.masked_fill(outside, IGNORED), keys)

    def packed(self, first_step: int, rows: _Array, keys: Tensor | None = None) -> PackedBatches:
        """Return the minibatches of pieces `rows` (K, B) without padding."""
        rows = self._longest_first(rows)
        offsets = np.arange(int(self.lengths.max()))[:, None]
        # (K, T, B): position by position
        inside = offsets < self.lengths[rows][:, None]
        positions = (self.starts[rows][:, None] + offsets)[inside]
        sizes = [torch.from_numpy(row[row > 0]) for row in inside.sum(2)]
        return PackedBatches(first_step, *self._gathered(positions), sizes, keys)

    def _longest_first(self, rows: _Array) -> _Array:
        """Return rows (..., B) with the longest pieces of each minibatch first, as packing needs."""
        order = np.argsort(-self.lengths[rows], axis=-1, kind="stable")
        return np.take_along_axis(rows, order, axis=-1)

    def _gathered(self, positions: _Array) -> tuple[Tensor, Tensor]:
        """Return the inputs at positions of the stream, and their targets, as int64."""
        index = torch.from_numpy(positions).to(self.stream.device)
        tokens, targets = self.stream[index].long(), self.stream[index + 1].long()
        if self.is_target is not None:
            targets = targets.masked_fill(~self.is_target[index + 1], IGNORED)
        return tokens, targets


def pieces_of(stream: Tensor, lengths: npt.NDArray[np.int32], chosen: npt.NDArray[np.bool_], block_size: int) -> Lines:
    """Return the pieces of at most `block_size` tokens that have a chosen target.

    Args:
        stream: (S,) of all lines, each preceded by one start token.
        lengths: (L,) tokens of each line, its end included.
        chosen: (N,) of all tokens without the start tokens, those of the split.
        block_size: the most inputs of a piece.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    begins = ends - lengths
    pieces = -(-lengths.astype(np.int64) // block_size)
    line = np.repeat(np.arange(len(lengths)), pieces)
    offset = (np.arange(len(line)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * block_size
    size = np.minimum(block_size, lengths[line] - offset)
    before = np.concatenate([[0], np.cumsum(chosen, dtype=np.int64)])
    first = begins[line] + offset
    targets = before[first + size] - before[first]
    kept = targets > 0
    # one start token a line up to this one's
    starts = (first + line)[kept]
    is_target = None
    if (targets[kept] < size[kept]).any():
        is_target = torch.zeros(len(stream), dtype=torch.bool)
        is_target[
            torch.from_numpy(np.flatnonzero(chosen) + np.repeat(np.arange(len(lengths)), lengths)[chosen] + 1)
        ] = True
    return Lines(stream, is_target, starts, size[kept])
