"""Sampling from networks over windows: the first items several at once, where that pays; the others one by one.

Where many contexts are possible, all items are sampled several at once, unless they are long. One by one,
distributions are computed in pages of neighbouring contexts and cached. The last bits of a row depend on the size of
its batch, so what is computed together depends on nothing but the stream of random numbers.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Self

import numpy as np
import torch
from torch import Tensor

from makemore.inference.batched_sampling import LONG, Cumulative, Uniforms, chained_items
from makemore.models.network import Network

# most numbers (float64) in a page, unless V is more, and in all cached pages: 64 MB
_PAGE = 2**10
_KEPT = 2**23
# if there are more contexts, few of them come twice, so a page has one
_FEW = 2**15
# if there are no more, all pages are soon there, so that nothing is begun at once
_FEWEST = 2**10
# items that are begun at once; the first is alone, as it shows whether items are long
_BATCHES = (1, 128, 896)


def window_samples(
    network: Network,
    cumulative: Cumulative,
    prefix: list[int],
    end: int,
    most: int,
    uniforms: Uniforms,
) -> Iterator[list[int]]:
    """Yield the tokens of items without end; see `line_samples` for the arguments. The prefix is a whole context."""
    pages = Pages(network, cumulative)
    beginning = _Beginnings(network, torch.tensor([prefix]))
    place = 0
    for rows in _batches(pages.contexts):
        items, after = chained_items(beginning, cumulative, end, most, uniforms, place, rows)
        yield from items
        is_long = after - place >= LONG * len(items)
        place = after
        if is_long:
            break
    yield from _one_by_one(pages, prefix, end, most, uniforms.following(place))


def _batches(contexts: int) -> Iterable[int]:
    if contexts <= _FEWEST:
        return ()
    return _BATCHES if contexts <= _FEW else chain(_BATCHES, repeat(_BATCHES[-1]))


@dataclass(frozen=True)
class _Beginnings:
    network: Network
    contexts: Tensor  # (B, T)

    def logits(self) -> Tensor:
        logits: Tensor = self.network(self.contexts)
        return logits

    def extended(self, parents: Tensor, tokens: Tensor) -> Self:
        return type(self)(self.network, torch.cat((self.contexts[parents, 1:], tokens.unsqueeze(1)), 1))


def _one_by_one(
    pages: "Pages", prefix: list[int], end: int, most: int, uniforms: Iterator[float]
) -> Iterator[list[int]]:
    rows, contexts, size = pages.rows, pages.contexts, pages.size
    before = 0
    for token in prefix:
        before = before * size + token
    while True:
        tokens: list[int] = []
        context = before
        for _ in range(most):
            number, row = divmod(context, rows)
            first = row * size
            token = bisect_right(pages[number], next(uniforms), first, first + size) - first
            if token == end:
                break
            tokens.append(token)
            context = (context * size + token) % contexts
        yield tokens


class Pages(dict[int, "array[float]"]):
    """A cache of pages: the cumulative distributions (R V,) after R contexts with consecutive numbers.

    The tokens of a context are the digits, base V, of its number.
    """

    def __init__(self, network: Network, cumulative: Cumulative) -> None:
        super().__init__()
        self.network, self.size, self.cumulative = network, network.vocab_size, cumulative
        self.contexts = self.size**network.block_size
        self.rows = max(_PAGE // self.size, 1) if self.contexts <= _FEW else 1
        self.most = max(_KEPT // (self.rows * self.size), 1)

    @torch.no_grad()
    def __missing__(self, number: int) -> "array[float]":
        cumulative = self.cumulative(self.network(self._contexts_of(number)))
        page = array("d", cumulative.numpy().tobytes())
        if len(self) == self.most:
            # evicts the oldest; computed again it has the same bits
            del self[next(iter(self))]
        self[number] = page
        return page

    def _contexts_of(self, number: int) -> Tensor:
        """Return the contexts (R, T) of a page, as int64; the last page may have fewer."""
        first, size = number * self.rows, self.size
        carry = np.arange(min(self.rows, self.contexts - first))
        contexts = np.empty((len(carry), self.network.block_size), dtype=np.int64)
        # digit by digit, as the number of a context may exceed 64 bits
        for place in reversed(range(self.network.block_size)):
            first, digit = divmod(first, size)
            carry, contexts[:, place] = np.divmod(carry + digit, size)
        return torch.from_numpy(contexts)
