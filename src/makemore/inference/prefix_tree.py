"""Contexts as a tree of prefixes, in which a network over lines takes one step for each distinct prefix.

Names share their prefixes, so there are far fewer of them than characters to predict.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from makemore.models.sequence import SequenceNetwork, State

_Array = npt.NDArray[np.int64]
_Tokens = npt.NDArray[np.integer[Any]]
# of the contexts of one tree
_TOKENS = 2**18


@dataclass(frozen=True)
class Level:
    """The distinct prefixes of one length.

    Args:
        parents: (n,) the node of each prefix without its last token on the level before.
        tokens: (n,) the last token of each.
        rows: (r,) the contexts of the tree that end here.
        ends: (r,) their nodes on this level.
    """

    parents: _Array
    tokens: _Array
    rows: _Array
    ends: _Array


@dataclass(frozen=True)
class PrefixTree:
    """A tree of contexts.

    Args:
        chosen: (R,) the rows of these contexts in all of those that were given.
        levels: from the first token on.
    """

    chosen: _Array
    levels: list[Level]

    @torch.no_grad()
    def logits(self, network: SequenceNetwork, device: torch.device) -> Tensor:
        """Return the logits (R, V) after each context."""
        state: State | None = None
        found, rows = [], []
        for level in self.levels:
            if state is not None:
                parents = torch.from_numpy(level.parents).to(device)
                state = tuple(part.index_select(0, parents) for part in state)
            logits, state = network.step(torch.from_numpy(level.tokens).to(device), state)
            found.append(logits.index_select(0, torch.from_numpy(level.ends).to(device)))
            rows.append(level.rows)
        order = np.argsort(np.concatenate(rows))
        return torch.cat(found).index_select(0, torch.from_numpy(order).to(device))


def prefix_trees(contexts: _Tokens, start: int, rows: int) -> Iterator[PrefixTree]:
    """Yield trees of at most `rows` contexts that together have all contexts (C, T).

    A context may begin with several start tokens, of which those before the last are padding, and in no prefix.
    """
    keys = _keys(contexts, start)
    total, length = keys.shape
    # as bytes, keys compare as the contexts do
    order = np.argsort(keys.view(f"S{keys.itemsize * length}")[:, 0], kind="stable")
    rows = max(min(rows, _TOKENS // length), 1)
    for first in range(0, total, rows):
        chosen = order[first : first + rows]
        yield PrefixTree(chosen, _levels(keys[chosen].astype(np.int64) - 1))


def _keys(contexts: _Tokens, start: int) -> _Tokens:
    """Return contexts (C, T) without padding, each token plus 1, and 0 beyond the end; big-endian, of few bytes."""
    total, length = contexts.shape
    smallest = np.min_scalar_type(int(contexts.max(initial=0)) + 1)
    keys = np.zeros((total, length), dtype=smallest.newbyteorder(">"))
    rows = max(_TOKENS // length, 1)
    for first in range(0, total, rows):
        part = contexts[first : first + rows]
        # a start token stands nowhere but at the beginning
        padding = np.maximum((part == start).sum(1, keepdims=True) - 1, 0)
        columns = np.arange(length)
        # both masks have as many tokens in a row
        keys[first : first + rows][columns < length - padding] = part[columns >= padding].astype(smallest) + 1
    return keys


def _levels(lines: _Array) -> list[Level]:
    """Return the levels of contexts (R, T) in lexicographic order, where -1 is beyond the end."""
    lengths = (lines >= 0).sum(1)
    # whether a prefix is not that of the row before
    is_new = np.ones(lines.shape, dtype=bool)
    is_new[1:] = np.logical_or.accumulate(lines[1:] != lines[:-1], axis=1)
    is_new &= lines >= 0
    nodes = np.cumsum(is_new, axis=0) - 1
    found = []
    for depth in range(int(lengths.max())):
        (new,) = np.nonzero(is_new[:, depth])
        (rows,) = np.nonzero(lengths == depth + 1)
        parents = nodes[new, depth - 1] if depth else np.zeros(len(new), dtype=np.int64)
        found.append(Level(parents, lines[new, depth], rows, nodes[rows, depth]))
    return found
