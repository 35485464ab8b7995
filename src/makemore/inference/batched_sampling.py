"""Sampling of several items at once, with the same stream of random numbers as one by one.

An item takes one uniform a character, and the next item takes those that follow. Where it begins is known only once
the item before has ended. So an item is begun at each of the next uniforms, all take their steps together, and those
that turn out to begin in the middle of another are dropped. Items that are the same so far share their steps.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, Self

import torch
from torch import Tensor

# uniforms of an item from which on items are taken singly, as most of those begun would be dropped
LONG = 32
# uniforms drawn at once
_DRAWN = 1024
# logits (B, V) -> cumulative distributions (B, V)
Cumulative = Callable[[Tensor], Tensor]


@dataclass
class Uniforms:
    """A stream of float64 uniforms in [0, 1), of which any part can be read again."""

    generator: torch.Generator
    _drawn: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    _first: int = 0

    def at(self, places: Tensor) -> Tensor:
        """Return the uniforms at places (B,) in the stream, none of them before the first place of an earlier call."""
        while int(places.max()) >= self._first + len(self._drawn):
            self._drawn = torch.cat((self._drawn, self._more()))
        return self._drawn[places - self._first]

    def forget(self, before: int) -> None:
        """Free those before a place."""
        self._drawn, self._first = self._drawn[before - self._first :], before

    def following(self, place: int) -> Iterator[float]:
        """Yield those from a place on, without end; no other method may be called then."""
        self.forget(place)
        yield from self._drawn.tolist()
        while True:
            yield from self._more().tolist()

    def _more(self) -> Tensor:
        return torch.rand(_DRAWN, dtype=torch.float64, generator=self.generator)


class Beginnings(Protocol):
    """Different beginnings of items."""

    def logits(self) -> Tensor:
        """Return the logits (B, V) of the tokens after each."""

    def extended(self, parents: Tensor, tokens: Tensor) -> Self:
        """Return those of the numbers `parents` (N,), each with one of the tokens (N,)."""


@torch.no_grad()
def chained_items(
    beginnings: Beginnings, cumulative: Cumulative, end: int, most: int, uniforms: Uniforms, first: int, count: int
) -> tuple[list[list[int]], int]:
    """Return the items that begin at one of the next `count` uniforms, and the place after the last of them.

    Row r is the item whose first uniform is at the place `first` + r.

    Args:
        beginnings: the only one, that of all items.
        cumulative: makes distributions of logits.
        end: the token that ends an item.
        most: the most tokens of an item, without its beginning.
        uniforms: the stream of random numbers.
        first: the place of the next uniform.
        count: the number of rows.
    """
    if most == 0:
        return [[]], first
    uniforms.forget(first)
    # the items that have not ended, and the beginning that each has so far
    rows = torch.arange(count)
    node = torch.zeros_like(rows)
    # the token of each item at each step, `end` after its end
    columns: list[list[int]] = []
    next_row: dict[int, int] = {}
    # the row of the item that must end before what follows it is known
    current, items = 0, []
    for taken in range(1, most + 1):
        sums = cumulative(beginnings.logits())[node]
        chosen = torch.searchsorted(sums, uniforms.at(first + rows + taken - 1).unsqueeze(1), right=True).squeeze(1)
        columns.append(torch.full((count,), end).scatter(0, rows, chosen).tolist())
        ended = (chosen == end) | (taken == most)
        next_row.update((row, row + taken) for row in rows[ended].tolist())
        while current in next_row:
            items.append([column[current] for column in columns[: next_row[current] - current]])
            if items[-1][-1] == end:
                items[-1].pop()
            current = next_row[current]
        if current >= count:
            break
        kept = ~ended & (rows >= current)
        rows, size = rows[kept], sums.shape[1]
        codes, node = torch.unique(node[kept] * size + chosen[kept], return_inverse=True)
        beginnings = beginnings.extended(codes // size, codes % size)
    return items, first + current
