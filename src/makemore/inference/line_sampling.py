"""Sampling from networks over lines: several items at once, with the same stream of random numbers as one by one.

An item takes one uniform a character, and the next item takes those that follow. Where it begins is known only once
the item before has ended. So an item is begun at each of the next uniforms, all take their steps together, and those
that turn out to begin in the middle of another are dropped. Items that are the same so far share their steps.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from makemore.models.sequence import SequenceNetwork, State

# items that are begun at once: at least and at most, as more share more of their steps
_ROWS, _MOST_ROWS = 64, 512
# uniforms of an item from which on items are taken singly, as most of those begun would be dropped
_LONG = 32
# logits (B, V) -> cumulative distributions (B, V)
Cumulative = Callable[[Tensor], Tensor]


@torch.no_grad()
def line_samples(
    network: SequenceNetwork,
    cumulative: Cumulative,
    prompt: list[int],
    start: int,
    end: int,
    max_length: int,
    uniforms: "Uniforms",
) -> Iterator[list[int]]:
    """Yield the tokens of items without end, the prompt included.

    Args:
        network: in evaluation mode.
        cumulative: makes distributions of logits.
        prompt: the first tokens of each item.
        start: the token before an item.
        end: the token that ends it.
        max_length: the most tokens of an item.
        uniforms: the stream of random numbers.
    """
    first, rows = 0, 1
    prefix, most = [start, *prompt][-network.block_size :], max_length - len(prompt)
    while True:
        items, after = _chain(network, cumulative, prefix, end, most, uniforms, first, rows)
        yield from ([*prompt, *item] for item in items)
        rows = min(max(2 * rows, _ROWS), _MOST_ROWS) if after - first < _LONG * len(items) else 1
        first = after


@dataclass
class Uniforms:
    """A stream of float64 uniforms in [0, 1), of which any part can be read again."""

    generator: torch.Generator
    _drawn: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    _first: int = 0

    def at(self, places: Tensor) -> Tensor:
        """Return the uniforms at places (B,) in the stream, none of them before the first place of an earlier call."""
        while int(places.max()) >= self._first + len(self._drawn):
            more = torch.rand(1024, dtype=torch.float64, generator=self.generator)
            self._drawn = torch.cat((self._drawn, more))
        return self._drawn[places - self._first]

    def forget(self, before: int) -> None:
        """Free those before a place."""
        self._drawn, self._first = self._drawn[before - self._first :], before


def _chain(
    network: SequenceNetwork,
    cumulative: Cumulative,
    prefix: list[int],
    end: int,
    most: int,
    uniforms: Uniforms,
    first: int,
    count: int,
) -> tuple[list[list[int]], int]:
    """Return the items that begin at one of the next `count` uniforms, and the place after the last of them.

    Row r is the item whose first uniform is at the place `first` + r.
    """
    if most == 0:
        return [[]], first
    uniforms.forget(first)
    rows = torch.arange(count)
    # the distinct beginnings, and that of each row
    contexts, node = torch.tensor([prefix]), torch.zeros_like(rows)
    state: State | None = None
    for token in contexts.T:
        logits, state = network.step(token, state)
    tokens: dict[int, list[int]] = {row: [] for row in range(count)}
    next_row: dict[int, int] = {}
    # the row of the item that must end before what follows it is known
    current, items = 0, []
    for taken in range(most):
        sums = cumulative(logits)[node]
        chosen = torch.searchsorted(sums, uniforms.at(first + rows + taken).unsqueeze(1), right=True).squeeze(1)
        for row, token in zip(rows.tolist(), chosen.tolist(), strict=True):
            if token == end:
                next_row[row] = row + taken + 1
            else:
                tokens[row].append(token)
                if taken + 1 == most:
                    next_row[row] = row + taken + 1
        while current in next_row:
            items.append(tokens[current])
            current = next_row[current]
        if current >= count:
            break
        kept = (chosen != end) & (rows >= current)
        rows, size = rows[kept], sums.shape[1]
        codes, node = torch.unique(node[kept] * size + chosen[kept], return_inverse=True)
        parents, last = codes // size, codes % size
        contexts = torch.cat((contexts[parents], last.unsqueeze(1)), 1)
        if contexts.shape[1] <= network.block_size:
            assert state is not None
            logits, state = network.step(last, tuple(part[parents] for part in state))
        else:
            # a state knows of all tokens so far
            contexts = contexts[:, 1:]
            logits = network(contexts)[:, -1]
    return items, first + current
