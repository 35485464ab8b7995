"""Training batches: blocks of minibatches, or the whole split at once, as functions of (seed, step).

The rows of a step do not depend on resuming, on the steps per execution or on the process: the generator of each chunk
of steps is seeded from (seed, chunk).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from makemore.data.windows import CountedWindows

Rows = npt.NDArray[np.int64]

# of targets that are padding, or of another split
IGNORED = -1
_CHUNK_STEPS = 1024
_CHUNK_ROWS = 2**20


def replacement_rows(seed: int, first_step: int, steps: int, batch_size: int, total: int) -> Rows:
    """Draw the rows (K, B) of K steps uniformly with replacement from `total` examples (L2)."""
    length = max(1, min(_CHUNK_STEPS, _CHUNK_ROWS // batch_size))
    parts, end = [], first_step + steps
    for chunk in range(first_step // length, (end - 1) // length + 1):
        start = chunk * length
        drawn = _replacement_chunk(seed, chunk, length, batch_size, total)
        parts.append(drawn[max(first_step - start, 0) : end - start])
    return np.concatenate(parts)


def permutation_rows(seed: int, first_step: int, steps: int, batch_size: int, total: int) -> Rows:
    """Take the rows (K, B) of K steps from the permutations of the `total` examples of their epochs."""
    numbers = np.arange(first_step * batch_size, (first_step + steps) * batch_size)
    epochs = numbers // total
    parts = [_permutation(seed, int(epoch), total)[numbers[epochs == epoch] % total] for epoch in np.unique(epochs)]
    return np.concatenate(parts).astype(np.int64).reshape(steps, batch_size)


DRAWS = {"replacement": replacement_rows, "permutation": permutation_rows}


@lru_cache(maxsize=2)
def _replacement_chunk(seed: int, chunk: int, steps: int, batch_size: int, total: int) -> Rows:
    return _generator(seed, chunk).integers(0, total, size=(steps, batch_size))


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, total: int) -> npt.NDArray[np.integer[Any]]:
    # the permutation is the same for both types
    return _generator(seed, epoch).permutation(np.arange(total, dtype=np.int32 if total < 2**31 else np.int64))


def dropout_keys(seed: int, first_step: int, steps: int) -> Rows:
    """Return a number (K,) for each step, from which its dropout is drawn (see `makemore.models.dropout`)."""
    wanted = range(first_step, first_step + steps)
    return np.array([_key_chunk(seed, step // _CHUNK_STEPS)[step % _CHUNK_STEPS] for step in wanted], dtype=np.int64)


@lru_cache(maxsize=64)
def _key_chunk(seed: int, chunk: int) -> Rows:
    # a stream of its own
    return _generator(seed, chunk, 2).integers(0, 2**31, size=_CHUNK_STEPS)


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


@dataclass(frozen=True)
class Minibatches:
    """The minibatches of K steps.

    Args:
        first_step: the optimiser step of the first minibatch, from 0.
        contexts: (K, B, T); (K, N, B, T) for a group of N members.
        targets: (K, B), or for lines (K, B, T), -1 where there is none; (K, N, ...) for a group.
        keys: (K,), or (K, N) for a group, a number for the dropout of each step; None for networks without.
    """

    # the dimension of the members of a group in the arguments of `nll`
    members_dim: ClassVar[int | None] = 0

    first_step: int
    contexts: Tensor
    targets: Tensor
    keys: Tensor | None = None

    def __len__(self) -> int:
        """Return K."""
        return len(self.targets)

    @staticmethod
    def nll(network: nn.Module, tokens: Tensor | PackedSequence, targets: Tensor, *key: Tensor) -> Tensor:
        """Return the mean NLL, in nats a character, over the targets of one minibatch."""
        return F.cross_entropy(network(tokens, *key).flatten(0, -2), targets.flatten(), ignore_index=IGNORED)

    def stacked(self) -> tuple[Tensor, ...]:
        """Return the arguments of `nll` for all steps, each (K, ...)."""
        return (self.contexts, self.targets) if self.keys is None else (self.contexts, self.targets, self.keys)

    def batches(self) -> Iterator[tuple[Any, ...]]:
        """Yield the arguments of `nll` for each step."""
        yield from zip(*(tensor.unbind() for tensor in self.stacked()), strict=True)

    def steps(self, first: int, last: int) -> "Minibatches":
        """Return the minibatches [first, last)."""
        return Minibatches(self.first_step + first, *(tensor[first:last] for tensor in self.stacked()))

    def of_member(self, row: int) -> "Minibatches":
        """Return the minibatches of one member of a group."""
        return Minibatches(self.first_step, *(tensor[:, row] for tensor in self.stacked()))

    def to(self, device: torch.device, **_: Any) -> "Minibatches":
        """Return a copy on another device."""
        return Minibatches(self.first_step, *(tensor.to(device) for tensor in self.stacked()))


@dataclass(frozen=True)
class PackedBatches:
    """The minibatches of lines of K steps, without padding.

    Args:
        first_step: the optimiser step of the first minibatch, from 0.
        tokens: (N,) of all steps, each in the order of a `PackedSequence`.
        targets: (N,), -1 where there is none.
        sizes: of each step, (T,), how many of its lines have a token at each position, on the CPU.
        keys: (K,) a number for the dropout of each step; None for networks without.
    """

    first_step: int
    tokens: Tensor
    targets: Tensor
    sizes: list[Tensor]
    keys: Tensor | None = None

    nll = staticmethod(Minibatches.nll)

    def __len__(self) -> int:
        """Return K."""
        return len(self.sizes)

    def batches(self) -> Iterator[tuple[Any, ...]]:
        """Yield the arguments of `nll` for each step."""
        first = 0
        for step, size in enumerate(self.sizes):
            part = slice(first, first + int(size.sum()))
            key = () if self.keys is None else (self.keys[step],)
            yield (PackedSequence(self.tokens[part], size), self.targets[part], *key)
            first = part.stop

    def steps(self, first: int, last: int) -> "PackedBatches":
        """Return the minibatches [first, last)."""
        begin, end = (sum(int(size.sum()) for size in self.sizes[:step]) for step in (first, last))
        keys = None if self.keys is None else self.keys[first:last]
        tokens, targets = self.tokens[begin:end], self.targets[begin:end]
        return PackedBatches(self.first_step + first, tokens, targets, self.sizes[first:last], keys)

    def to(self, device: torch.device, **_: Any) -> "PackedBatches":
        """Return a copy on another device, but for the sizes."""
        keys = None if self.keys is None else self.keys.to(device)
        return replace(self, tokens=self.tokens.to(device), targets=self.targets.to(device), keys=keys)


@dataclass(frozen=True)
class FullBatches:
    """The whole split, as counted windows, for each of K steps.

    Args:
        first_step, length: the optimiser step of the first use, from 0, and K.
        contexts: (C, T) the distinct contexts, as int64.
        pairs: (P,) indices of the pairs in the flattened log-probabilities (C V,).
        weights: (P,) the share of each pair in the split, in float32.
    """

    # the members of a group share the split
    members_dim: ClassVar[int | None] = None

    first_step: int
    length: int
    contexts: Tensor
    pairs: Tensor
    weights: Tensor

    @classmethod
    def of(cls, counted: CountedWindows, vocab_size: int) -> "FullBatches":
        """Return the batch of one step over a counted split."""
        pairs = counted.pair_context.long() * vocab_size + counted.pair_target
        return cls(0, 1, counted.contexts.long(), pairs, counted.pair_count / counted.total)

    def __len__(self) -> int:
        """Return K."""
        return self.length

    @staticmethod
    def nll(network: nn.Module, contexts: Tensor, pairs: Tensor, weights: Tensor) -> Tensor:
        """Return the mean NLL of the whole split, in nats a character."""
        log_probs = F.log_softmax(network(contexts), dim=-1)
        return -(log_probs.flatten()[pairs] * weights).sum()

    def stacked(self) -> tuple[Tensor, ...]:
        """Return the arguments of `nll` for all steps, each (K, ...), as views."""
        once = (self.contexts, self.pairs, self.weights)
        return tuple(tensor.expand(self.length, *tensor.shape) for tensor in once)

    def batches(self) -> Iterator[tuple[Any, ...]]:
        """Yield the arguments of `nll` for each step."""
        yield from [(self.contexts, self.pairs, self.weights)] * self.length

    def steps(self, first: int, last: int) -> "FullBatches":
        """Return the steps [first, last)."""
        return replace(self, first_step=self.first_step + first, length=last - first)

    def of_member(self, row: int) -> "FullBatches":
        """Return the batches of one member of a group, which are those of all."""
        return self

    def to(self, device: torch.device, **_: Any) -> "FullBatches":
        """Return a copy on another device."""
        tensors = (tensor.to(device) for tensor in (self.contexts, self.pairs, self.weights))
        return FullBatches(self.first_step, self.length, *tensors)


Block = Minibatches | PackedBatches | FullBatches
