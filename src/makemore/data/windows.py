"""Windows over the token stream: a context of `block_size` tokens and the token that follows.

Contexts are slices of one flat array, made when asked for. Two views of the same stream: `Windows.batch` gives chosen
examples; `CountedWindows` holds each distinct context once with the counts of what follows, so that an exact NLL of a
whole split, or a full-batch step, costs as many rows as there are distinct contexts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from makemore.data.vocabulary import Vocabulary

_Array = npt.NDArray[Any]
# Examples that are laid out and counted at once.
_CHUNK = 2**21
# So many windows that are possible are counted in an array of all; more are sorted.
_DENSE = 2**20


@dataclass(frozen=True)
class CountedWindows:
    """Each distinct context once, and how often each token follows it, as sparse pairs.

    Args:
        contexts: (C, T) the distinct contexts, in the order of their tokens and in the smallest type.
        pair_context: (P,) the row of `contexts` that a pair belongs to, ascending.
        pair_target: (P,) the token that follows.
        pair_count: (P,) how often, at least 1.
    """

    contexts: Tensor
    pair_context: Tensor
    pair_target: Tensor
    pair_count: Tensor

    @property
    def total(self) -> int:
        """N, the number of examples counted."""
        return int(self.pair_count.sum())

    def to(self, device: torch.device) -> "CountedWindows":
        """Return the same on another device."""
        return CountedWindows(*(tensor.to(device) for tensor in vars(self).values()))


@dataclass(frozen=True)
class Windows:
    """The examples of a split.

    Args:
        stream: (S,) tokens in the smallest type, each line preceded by `block_size` start tokens.
        positions: (N,) where in the stream the tokens to predict are.
        block_size: T, the length of a context; 0 for a model that looks at none.
        vocab_size: V.
    """

    stream: Tensor
    positions: Tensor
    block_size: int
    vocab_size: int

    def __len__(self) -> int:
        """Return N, the number of examples."""
        return len(self.positions)

    def to(self, device: torch.device) -> "Windows":
        """Return the same on another device."""
        return replace(self, stream=self.stream.to(device), positions=self.positions.to(device))

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return contexts (..., T) and targets (...) of the examples `rows` (...), as int64."""
        windows = self.stream.unfold(0, self.block_size + 1, 1)[self.positions[rows] - self.block_size]
        return windows[..., :-1].long(), windows[..., -1].long()

    def counted(self) -> CountedWindows:
        """Return the distinct contexts and the counts of what follows them."""
        everything = self.positions.numpy()
        found = self._distinct(everything[:_CHUNK])
        for start in range(_CHUNK, len(self), _CHUNK):
            both = zip(found, self._distinct(everything[start : start + _CHUNK]), strict=True)
            found = self._distinct(*(np.concatenate(arrays) for arrays in both))
        positions, counts = found
        codes, _ = self._codes(positions, range(-self.block_size, 0))
        _, first, pair_context = np.unique(codes, return_index=True, return_inverse=True)
        stream = self.stream.numpy()
        offsets = np.arange(-self.block_size, 0)
        contexts = stream[positions[first][:, None] + offsets]
        arrays = (contexts, pair_context.astype(np.int32), stream[positions].astype(np.int32), counts)
        return CountedWindows(*(torch.from_numpy(array) for array in arrays))

    def _distinct(self, positions: _Array, counts: _Array | None = None) -> tuple[_Array, _Array]:
        """Return where each distinct window is found, in the order of their tokens, and the sums of their counts.

        Args:
            positions: (N,) of the tokens that end the windows.
            counts: (N,) how often each stands; None is once.
        """
        codes, possible = self._codes(positions, range(-self.block_size, 1))
        if possible > _DENSE:
            _, codes = np.unique(codes, return_inverse=True)
            possible = int(codes.max(initial=-1)) + 1
        # float64 sums are exact: it holds whole numbers up to 2^53
        sums = np.bincount(codes, counts, possible).astype(np.int64)
        last = np.empty(possible, dtype=positions.dtype)
        last[codes] = positions
        found = np.flatnonzero(sums)
        return last[found], sums[found]

    def _codes(self, positions: _Array, offsets: range) -> tuple[_Array, int]:
        """Return a number for the tokens at `offsets` from each position, in their order, and the bound of all."""
        stream = self.stream.numpy()
        codes = np.zeros(len(positions), dtype=np.int64)
        distinct = 1
        for offset in offsets:
            if distinct * self.vocab_size >= 2**63:
                # renumber the prefixes seen so far, so that longer ones still fit
                seen, codes = np.unique(codes, return_inverse=True)
                distinct = len(seen)
            codes *= self.vocab_size
            codes += stream[positions + offset]
            distinct *= self.vocab_size
        return codes, distinct


def windows_of_lines(
    tokens: _Array, lengths: _Array, chosen: npt.NDArray[np.bool_], block_size: int, vocabulary: Vocabulary
) -> Windows:
    """Return windows over lines of tokens.

    Args:
        tokens: (N,) lines one after another, each ended by the end token.
        lengths: (L,) tokens of each line, its end included.
        chosen: (N,) which tokens are to be predicted.
        block_size: T, the length of a context.
        vocabulary: gives the start token and V.
    """
    stream = padded(tokens, lengths, block_size, vocabulary.start)
    return Windows(stream, positions_of(chosen, lengths, block_size), block_size, vocabulary.size)


def padded(tokens: _Array, lengths: _Array, block_size: int, start: int) -> Tensor:
    """Return the stream (S,) of lines of tokens, each line preceded by `block_size` start tokens."""
    stream = np.full(len(tokens) + len(lengths) * block_size, start, dtype=tokens.dtype)
    for part, positions in _positions(lengths, block_size):
        stream[positions] = tokens[part]
    return torch.from_numpy(stream)


def positions_of(chosen: npt.NDArray[np.bool_], lengths: _Array, block_size: int) -> Tensor:
    """Return where in the padded stream the chosen of all tokens (N,) are, in the smallest type."""
    size = len(chosen) + len(lengths) * block_size
    found = np.empty(np.count_nonzero(chosen), dtype=np.int32 if size < 2**31 else np.int64)
    filled = 0
    for part, positions in _positions(lengths, block_size):
        wanted = positions[chosen[part]]
        found[filled : filled + len(wanted)] = wanted
        filled += len(wanted)
    return torch.from_numpy(found)


def _positions(lengths: _Array, block_size: int) -> Iterator[tuple[slice, _Array]]:
    """Yield, for chunks of lines, which tokens they have and where in the padded stream these are."""
    ends = np.cumsum(lengths, dtype=np.int64)
    begin = first = 0
    while first < len(lengths):
        # one line at least
        last = max(int(np.searchsorted(ends, begin + _CHUNK, side="right")), first + 1)
        # every line moves right by the padding of the lines up to and with its own
        shifts = np.repeat(np.arange(first + 1, last + 1) * block_size, lengths[first:last])
        yield slice(begin, begin + len(shifts)), np.arange(begin, begin + len(shifts)) + shifts
        begin, first = begin + len(shifts), last
