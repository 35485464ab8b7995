"""Windows over the token stream: a context of `block_size` tokens and the token that follows.

Contexts are slices of one flat array, made when asked for. Two views of the same stream: `Windows.batch` gives chosen
examples; `CountedWindows` holds each distinct context once with the counts of what follows, so that an exact NLL of a
whole split, or a full-batch step, costs as many rows as there are distinct contexts.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from makemore.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class CountedWindows:
    """Each distinct context once, and how often each token follows it, as sparse pairs.

    Args:
        contexts: (C, T) the distinct contexts, in the order of their tokens.
        pair_context: (P,) the row of `contexts` that a pair belongs to.
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

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return contexts (..., T) and targets (...) of the examples `rows` (...), as int64."""
        positions = self.positions[rows].long()
        offsets = torch.arange(-self.block_size, 0, device=positions.device)
        return self.stream[positions.unsqueeze(-1) + offsets].long(), self.stream[positions].long()

    def counted(self) -> CountedWindows:
        """Return the distinct contexts and the counts of what follows them."""
        stream, positions = self.stream.numpy(), self.positions.numpy()
        codes = np.zeros(len(positions), dtype=np.int64)
        distinct = 1
        for offset in range(-self.block_size, 1):
            if offset == 0:
                context_codes = codes
            if distinct * self.vocab_size >= 2**63:
                # renumber the prefixes seen so far, so that longer ones still fit
                seen, codes = np.unique(codes, return_inverse=True)
                distinct = len(seen)
            codes = codes * self.vocab_size + stream[positions + offset]
            distinct *= self.vocab_size
        _, first, counts = np.unique(codes, return_index=True, return_counts=True)
        _, representative, pair_context = np.unique(context_codes[first], return_index=True, return_inverse=True)
        contexts, _ = self.batch(torch.from_numpy(first[representative]))
        targets = stream[positions[first]].astype(np.int64)
        return CountedWindows(contexts, *(torch.from_numpy(array) for array in (pair_context, targets, counts)))


def windows_of_lines(
    tokens: npt.NDArray[Any],
    lengths: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.bool_],
    block_size: int,
    vocabulary: Vocabulary,
) -> Windows:
    """Return windows over lines of tokens.

    Args:
        tokens: (N,) lines one after another, each ended by the end token.
        lengths: (L,) tokens of each line, its end included.
        chosen: (N,) which tokens are to be predicted.
        block_size: T, the length of a context.
        vocabulary: gives the start token and V.
    """
    # every line moves right by the padding of the lines up to and with its own
    size = len(tokens) + len(lengths) * block_size
    index = np.dtype(np.int32 if size < 2**31 else np.int64)
    shifts = (np.arange(1, len(lengths) + 1) * block_size).astype(index)
    positions = np.arange(len(tokens), dtype=index) + np.repeat(shifts, lengths)
    stream = np.full(size, vocabulary.start, dtype=tokens.dtype)
    stream[positions] = tokens
    return Windows(torch.from_numpy(stream), torch.from_numpy(positions[chosen]), block_size, vocabulary.size)
