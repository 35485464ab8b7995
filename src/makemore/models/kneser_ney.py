"""Kneser-Ney: n-grams of all orders up to n, counted and interpolated (modified Kneser-Ney, Chen & Goodman 1999).

The contexts are the nodes of a trie that reads them backwards: the root is the empty context, and a child has one
token more before it. Nodes are numbered level by level, so that both tables of codes are sorted as a whole.
"""

import torch
from torch import Tensor

from makemore.data.windows import CountedWindows
from makemore.errors import whole_number
from makemore.models.network import Counted, register

# for counts of 1, 2, and 3 or more, where the text gives none (KenLM's --discount_fallback)
_FALLBACK = (0.5, 1.0, 1.5)


@register("kneser_ney")
class KneserNey(Counted):
    """An n-gram with interpolated modified Kneser-Ney smoothing (Chen & Goodman 1999, section 3).

    With c the count of a token w after the last h tokens of a context, and D the discount of that count,
    p_h(w) = (c - D) / sum of c + (sum of D / sum of c) p_(h-1)(w), and p_(-1) is uniform, so no probability is 0.
    Where these h tokens were never seen, p_h is p_(h-1). For h = n - 1, c is how often the n-gram occurs; below, how
    many distinct tokens occur before it. The start is one of them, so what reaches into the padding counts once; SRILM
    and KenLM count how often it occurs, which gives the shipped names a validation NLL 0.001 higher at order 5.

    Args:
        order: n; a context has n - 1 tokens.
    """

    edges: Tensor  # (M,) by node: parent * V + token; -1 for the root
    backoffs: Tensor  # (M,) by node: sum of D / sum of c, float64
    pairs: Tensor  # (P,) node * V + w
    counts: Tensor  # (P,) c
    shares: Tensor  # (P,) (c - D) / sum of c, float64

    def __init__(self, vocab_size: int, generator: torch.Generator, order: int = 5) -> None:
        # beyond a hundred, products of backoffs could leave the range of float64
        super().__init__(vocab_size, whole_number("model.order", order, at_least=1, at_most=100))
        none = torch.zeros(0, dtype=torch.int64)
        self.register_tables(edges=torch.tensor([-1]), backoffs=torch.ones(1, dtype=torch.float64))
        self.register_tables(pairs=none.clone(), counts=none.clone(), shares=none.double())

    def count(self, windows: CountedWindows) -> None:
        """See `Counted`."""
        size, device = self.vocab_size, windows.contexts.device
        node = torch.zeros(len(windows.contexts), dtype=torch.int64, device=device)
        edges = torch.tensor([-1], device=device)
        # the nearest token first
        for tokens in reversed(windows.contexts.unbind(1)):
            codes, node = torch.unique(node * size + tokens, return_inverse=True)
            node += len(edges)
            edges = torch.cat([edges, codes])
        pairs, order = (node[windows.pair_context.long()] * size + windows.pair_target).sort()
        levels = [(pairs, windows.pair_count[order])]
        for _ in range(self.block_size):
            # each distinct n-gram counts once for the one that lacks its first token
            pairs = edges[pairs // size] // size * size + pairs % size
            pairs, counts = torch.unique(pairs, return_counts=True)
            levels.insert(0, (pairs, counts))
        discounts = torch.cat([_discounts(counts) for _, counts in levels])
        pairs, counts = (torch.cat(tables) for tables in zip(*levels, strict=True))
        del levels, order
        node = pairs // size
        zeros = torch.zeros(len(edges), dtype=torch.float64, device=device)
        totals = zeros.index_add(0, node, counts.double())
        self.edges, self.backoffs = edges, zeros.index_add(0, node, discounts) / totals
        self.pairs, self.counts, self.shares = pairs, counts, (counts - discounts) / totals[node]

    def forward(self, contexts: Tensor) -> Tensor:
        """Return float64 log-probabilities (B, V) for contexts (B, T); uniform before counting."""
        if torch.compiler.is_exporting():
            return self._by_recursion(contexts).log()
        size, device = self.vocab_size, contexts.device
        # the root is on the path of every context
        first = int(torch.searchsorted(self.pairs, size))
        unigrams = (self.backoffs[0] / size).repeat(size).index_add_(0, self.pairs[:first], self.shares[:first])
        node = torch.zeros(len(contexts), dtype=torch.int64, device=device)
        seen = torch.ones(len(contexts), dtype=torch.bool, device=device)
        path = node.repeat(self.block_size, 1)
        known = seen.repeat(self.block_size, 1)
        for level, tokens in enumerate(contexts.T.flip(0)):
            wanted = node * size + tokens
            node = torch.searchsorted(self.edges, wanted).clamp_(max=len(self.edges) - 1)
            seen = seen & (self.edges[node] == wanted)
            path[level], known[level] = node, seen
        # all nodes N below the root, level by level
        levels, row = known.nonzero(as_tuple=True)
        node = path[levels, row]
        backoffs = torch.ones((self.order, len(contexts)), dtype=torch.float64, device=device)
        backoffs[levels, row] = self.backoffs[node]
        # what longer contexts leave to the root and to each level
        left = backoffs.flip(0).cumprod(0).flip(0)
        # the pairs of a node are neighbours
        begin, end = torch.searchsorted(self.pairs, torch.stack([node, node + 1]) * size)
        which = torch.arange(len(node), device=device).repeat_interleave(end - begin)
        pair = torch.arange(len(which), device=device) + (end - (end - begin).cumsum(0))[which]
        place = (row * size)[which] + self.pairs[pair] % size
        probabilities = (left[0].unsqueeze(1) * unigrams).flatten()
        probabilities.index_add_(0, place, left[levels + 1, row][which] * self.shares[pair])
        return probabilities.log_().view(-1, size)

    def _by_recursion(self, contexts: Tensor) -> Tensor:
        """Return the probabilities (B, V) as the class states them: more work, but no size depends on the contexts."""
        size, rows, device = self.vocab_size, contexts.shape[0], contexts.device
        tokens = torch.arange(size, device=device)
        node = torch.zeros(rows, dtype=torch.int64, device=device)
        seen = node == 0
        found = torch.full((rows, size), 1 / size, dtype=torch.float64, device=device)
        for level in range(self.order):
            wanted = node.unsqueeze(1) * size + tokens
            pair = torch.searchsorted(self.pairs, wanted).clamp(max=len(self.pairs) - 1)
            share = torch.where(self.pairs[pair] == wanted, self.shares[pair], 0.0)
            found = torch.where(seen.unsqueeze(1), share + self.backoffs[node].unsqueeze(1) * found, found)
            if level < self.block_size:
                edge = node * size + contexts[:, self.block_size - 1 - level]
                node = torch.searchsorted(self.edges, edge).clamp(max=len(self.edges) - 1)
                seen = seen & (self.edges[node] == edge)
        return found

    def most_common(self) -> list[tuple[tuple[int, ...], int]]:
        """See `Counted`."""
        # the nodes of the last level follow the last one that has children
        first = (int(self.edges[-1]) // self.vocab_size + 1) * self.vocab_size
        last_level = self.pairs >= first
        node, targets = self.pairs[last_level] // self.vocab_size, self.pairs[last_level] % self.vocab_size
        tokens = []
        for _ in range(self.block_size):
            tokens.append((self.edges[node] % self.vocab_size).tolist())
            node = self.edges[node] // self.vocab_size
        ngrams = zip(*tokens, targets.tolist(), strict=True)
        pairs = zip(ngrams, self.counts[last_level].tolist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def _discounts(counts: Tensor) -> Tensor:
    """Return the discount (P,) of each of the counts (P,) of n-grams of one order."""
    one, two, three, four = (int((counts == number).sum()) for number in (1, 2, 3, 4))
    found = _FALLBACK
    if one and two and three:
        share = one / (one + 2 * two)
        estimates = (1 - 2 * share * two / one, 2 - 3 * share * three / two, 3 - 4 * share * four / three)
        found = estimates if min(estimates) > 0 else _FALLBACK
    return torch.tensor(found, dtype=torch.float64, device=counts.device)[counts.clamp(max=3) - 1]
