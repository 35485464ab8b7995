"""Sampling from networks over lines, several items at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from makemore.inference.batched_sampling import LONG, Cumulative, Uniforms, chained_items
from makemore.models.sequence import SequenceNetwork, State

# items that are begun at once: at least and at most, as more share more of their steps
_ROWS, _MOST_ROWS = 64, 512


def line_samples(
    network: SequenceNetwork,
    cumulative: Cumulative,
    prefix: list[int],
    end: int,
    most: int,
    uniforms: Uniforms,
) -> Iterator[list[int]]:
    """Yield the tokens of items without end, those after the prefix.

    Args:
        network: in evaluation mode.
        cumulative: makes distributions of logits.
        prefix: the tokens that each item comes after, at most `block_size` of them.
        end: the token that ends it.
        most: the most tokens of an item.
        uniforms: the stream of random numbers.
    """
    contexts = torch.tensor([prefix])
    with torch.no_grad():
        state: State | None = None
        for token in contexts.T:
            logits, state = network.step(token, state)
    beginning = _Beginnings(network, contexts, logits, state)
    first, rows = 0, 1
    while True:
        items, after = chained_items(beginning, cumulative, end, most, uniforms, first, rows)
        yield from items
        rows = min(max(2 * rows, _ROWS), _MOST_ROWS) if after - first < LONG * len(items) else 1
        first = after


@dataclass(frozen=True)
class _Beginnings:
    network: SequenceNetwork
    contexts: Tensor  # (B, T)
    following: Tensor  # logits (B, V)
    state: State | None

    def logits(self) -> Tensor:
        return self.following

    def extended(self, parents: Tensor, tokens: Tensor) -> Self:
        contexts = torch.cat((self.contexts[parents], tokens.unsqueeze(1)), 1)
        if contexts.shape[1] <= self.network.block_size:
            assert self.state is not None
            logits, state = self.network.step(tokens, tuple(part[parents] for part in self.state))
            return type(self)(self.network, contexts, logits, state)
        # a state knows of all tokens so far
        contexts = contexts[:, 1:]
        return type(self)(self.network, contexts, self.network(contexts)[:, -1], None)
