"""Windows over the token stream: a context of `block_size` tokens and the token that follows it.

Contexts are slices of one flat array. `CountedWindows` has each distinct one once, with the counts of the tokens that
follow it: the exact NLL of a split, or a full-batch step, takes as many rows as there are distinct contexts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

_Array = npt.NDArray[Any]
# examples processed at once
_CHUNK = 2**21
# most possible windows that are counted in an array of all; more are sorted
_DENSE = 2**20


@dataclass(frozen=True)
class CountedWindows:
    """The distinct contexts, and the counts of the tokens that follow them, as sparse pairs.

    Args:
        contexts: (C, T) the distinct contexts, in the order of their tokens and in the smallest type.
        pair_context: (P,) the row of a pair's context, ascending.
        pair_target: (P,) the token that follows it.
        pair_count: (P,) how often, at least 1.
        start: the token that pads contexts.
    """

    contexts: Tensor
    pair_context: Tensor
    pair_target: Tensor
    pair_count: Tensor
    start: int = 0

    @property
    def total(self) -> int:
        """N, the number of examples."""
        return int(self.pair_count.sum())

    def to(self, device: torch.device) -> "CountedWindows":
        """Return a copy on another device."""
        tensors = (self.contexts, self.pair_context, self.pair_target, self.pair_count)
        contexts, context, target, count = (tensor.to(device) for tensor in tensors)
        return CountedWindows(contexts, context, target, count, self.start)


@dataclass(frozen=True)
class Windows:
    """The examples of a split.

    Args:
        stream: (S,) tokens in the smallest type, each line preceded by `block_size` start tokens.
        positions: (N,) of the tokens to predict in the stream.
        block_size: T, the length of a context; may be 0.
        start: the start token.
    """

    stream: Tensor
    positions: Tensor
    block_size: int
    vocab_size: int
    start: int = 0

    def __len__(self) -> int:
        """Return N, the number of examples."""
        return len(self.positions)

    def to(self, device: torch.device) -> "Windows":
        """Return a copy on another device."""
        return replace(self, stream=self.stream.to(device), positions=self.positions.to(device))

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return contexts (..., T) and targets (...) of the examples `rows` (...), as int64."""
        # place by place, which is quicker than whole windows
        rows = rows.to(self.positions.device)
        positions = self.positions.index_select(0, rows.flatten())
        contexts = rows.new_empty((len(positions), self.block_size), dtype=torch.int64)
        for place in range(self.block_size):
            contexts[:, place] = self.stream.index_select(0, positions - (self.block_size - place))
        targets = self.stream.index_select(0, positions).long()
        return contexts.view(*rows.shape, self.block_size), targets.view(rows.shape)

    def some(self, rows: Tensor) -> Tensor:
        """Return the contexts (R, T) of the examples `rows` (R,), as int64."""
        return self.batch(rows)[0]

    def counted(self) -> CountedWindows:
        """Count the examples."""
        everything = self.positions.numpy()
        parts = [self._distinct(everything[:_CHUNK])]
        for start in range(_CHUNK, len(self), _CHUNK):
            parts.append(self._distinct(everything[start : start + _CHUNK]))
            # seldom, as it sorts all of them
            if sum(len(counts) for _, counts in parts[1:]) > len(parts[0][1]):
                parts = [self._merged(parts)]
        positions, counts = self._merged(parts)
        windows = sliding_window_view(self.stream.numpy(), self.block_size + 1)
        firsts = positions - self.block_size
        is_new = np.ones(len(firsts), dtype=bool)
        rows = max(_CHUNK // windows.shape[1], 1)
        for start in range(1, len(firsts), rows):
            # windows in the order of their tokens: those with the same context are neighbours
            neighbours = windows[firsts[start - 1 : start + rows], :-1]
            is_new[start : start + rows] = (neighbours[1:] != neighbours[:-1]).any(1)
        pair_context = np.cumsum(is_new, dtype=np.int32) - 1
        targets = self.stream.numpy()[positions].astype(np.int32)
        arrays = (windows[firsts[is_new], :-1], pair_context, targets, counts)
        contexts, context, target, count = (torch.from_numpy(array) for array in arrays)
        return CountedWindows(contexts, context, target, count, self.start)

    def _merged(self, parts: list[tuple[_Array, _Array]]) -> tuple[_Array, _Array]:
        if len(parts) == 1:
            return parts[0]
        positions, counts = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return self._distinct(positions, counts)

    def _distinct(self, positions: _Array, counts: _Array | None = None) -> tuple[_Array, _Array]:
        """Return a position of each distinct window, in the order of their tokens, and the sums of their counts.

        `positions` (N,) are of the last tokens of the windows; `counts` (N,) are 1 each if None.
        """
        codes, possible = self._codes(positions, range(-self.block_size, 1))
        if possible > _DENSE:
            possible = _renumber(codes)
        # exact in float64 up to 2^53
        sums = np.bincount(codes, counts, possible).astype(np.int64)
        last = np.empty(possible, dtype=positions.dtype)
        last[codes] = positions
        found = np.flatnonzero(sums)
        return last[found], sums[found]

    def _codes(self, positions: _Array, offsets: range) -> tuple[_Array, int]:
        """Return a code (N,) for the tokens at `offsets` from each position, in their order, and its upper bound."""
        stream = self.stream.numpy()
        codes = np.zeros(len(positions), dtype=np.int64)
        distinct = 1
        for offset in offsets:
            if distinct * self.vocab_size >= 2**63:
                # renumbers the distinct prefixes, so that longer ones fit into 64 bits
                distinct = _renumber(codes)
            codes *= self.vocab_size
            codes += stream[positions + offset]
            distinct *= self.vocab_size
        return codes, distinct


def _renumber(codes: _Array) -> int:
    """Give each of the codes (N,) its rank among the distinct ones, in place, and return how many these are."""
    order = codes.argsort()
    ranks = codes[order]
    is_new = np.ones(len(codes), dtype=bool)
    np.not_equal(ranks[1:], ranks[:-1], out=is_new[1:])
    np.cumsum(is_new, out=ranks)
    ranks -= 1
    codes[order] = ranks
    return int(np.count_nonzero(is_new))


class Reader(Protocol):
    """A network, as far as the data is concerned (see `makemore.models.network`)."""

    reads: str
    block_size: int


def context_size(network: Reader, longest: int) -> int:
    """Return T, the length of the contexts to evaluate a network on, where the longest line has `longest` tokens.

    One over lines sees no more than that line; what is shorter is padded, and no padding is evaluated.
    """
    return min(network.block_size, longest) if network.reads == "lines" else network.block_size


def padded(tokens: _Array, lengths: _Array, block_size: int, start: int) -> Tensor:
    """Return the stream (S,) of concatenated lines of tokens (N,), each preceded by `block_size` start tokens."""
    stream = np.full(len(tokens) + len(lengths) * block_size, start, dtype=tokens.dtype)
    for part, positions in _positions(lengths, block_size):
        stream[positions] = tokens[part]
    return torch.from_numpy(stream)


def positions_of(chosen: npt.NDArray[np.bool_], lengths: _Array, block_size: int) -> Tensor:
    """Return the positions in the padded stream of the chosen of all tokens (N,), in the smallest type."""
    found = np.empty(np.count_nonzero(chosen), dtype=_smallest(lengths, block_size))
    filled = 0
    for part, positions in _positions(lengths, block_size):
        wanted = positions[chosen[part]]
        found[filled : filled + len(wanted)] = wanted
        filled += len(wanted)
    return torch.from_numpy(found)


def _positions(lengths: _Array, block_size: int) -> Iterator[tuple[slice, _Array]]:
    """Yield the slice of the tokens of each chunk of lines, and their positions in the padded stream."""
    smallest = _smallest(lengths, block_size)
    ends = np.cumsum(lengths, dtype=smallest)
    begin = first = 0
    while first < len(lengths):
        # a search for another type would copy them all
        most = smallest.type(min(begin + _CHUNK, ends[-1]))
        # one line at least
        last = max(int(np.searchsorted(ends, most, side="right")), first + 1)
        # a line is shifted by the padding of all lines up to its own
        shifts = np.repeat(np.arange(first + 1, last + 1, dtype=smallest) * block_size, lengths[first:last])
        part = slice(begin, begin + len(shifts))
        yield part, np.arange(part.start, part.stop, dtype=smallest) + shifts
        begin, first = part.stop, last


def _smallest(lengths: _Array, block_size: int) -> np.dtype[Any]:
    """Return the smallest type of positions in the padded stream of lines."""
    size = lengths.sum(dtype=np.int64) + len(lengths) * block_size
    return np.dtype(np.int32 if size < 2**31 else np.int64)
