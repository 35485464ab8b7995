"""What a model expects after a beginning: the distribution of the next token, and the likeliest continuations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import CountedWindows, context_size
from makemore.inference.likelihood import log_probs, most_rows
from makemore.models.network import Network


@dataclass(frozen=True)
class Continuation:
    """A beginning and what may follow it.

    Args:
        tokens: that follow the beginning.
        log_prob: of all of them, in nats.
        parent: the place on the level before of the continuation without the last token; 0 on the first level.
    """

    tokens: tuple[int, ...]
    log_prob: float
    parent: int


def next_log_probs(network: Network, vocabulary: Vocabulary, beginnings: Sequence[Sequence[int]]) -> Tensor:
    """Return the log-probabilities (P, V), float64, of each token after each of P beginnings, by a network on the CPU.

    `DivergedError` if a log-probability is not a number.
    """
    size = context_size(network, max(map(len, beginnings)) + 1)
    padded = [[*[vocabulary.start] * size, *tokens][len(tokens) :] for tokens in beginnings]
    contexts, rows = torch.tensor(padded, dtype=torch.int64), torch.arange(len(beginnings))
    # windows have a target each; which it is does not matter
    windows = CountedWindows(
        contexts, rows, torch.full_like(rows, vocabulary.end), torch.ones_like(rows), vocabulary.start
    )
    found = torch.empty(len(beginnings), network.vocab_size, dtype=torch.float64)
    for part in log_probs(network, windows, most_rows(network), torch.float64):
        found[part.pairs] = part.log_probs[part.rows]
    return found


def likeliest_continuations(
    network: Network,
    vocabulary: Vocabulary,
    beginning: Sequence[int],
    after: Tensor,
    width: int,
    depth: int,
    least: float = 0.0,
) -> list[list[Continuation]]:
    """Return the levels of a tree of continuations, found by beam search: at most `width` of each length to `depth`.

    Those on a level are the likeliest, most probable first, among the extensions of those on the level before; the end
    is not extended, and what has no more than the probability `least` is left out. `after` (V,) are the
    log-probabilities after the beginning.
    """
    levels: list[list[Continuation]] = []
    parents, log_probs_after = [Continuation((), 0.0, 0)], after.unsqueeze(0).clone()
    places = [0]
    while len(levels) < depth:
        if vocabulary.start != vocabulary.end:
            # a separate start token follows nothing
            log_probs_after[:, vocabulary.start] = -torch.inf
        totals = log_probs_after + torch.tensor([[parent.log_prob] for parent in parents], dtype=torch.float64)
        best = totals.flatten().topk(min(width, totals.numel()))
        level = []
        for log_prob, index in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            row, token = divmod(index, network.vocab_size)
            if math.exp(log_prob) > least:
                level.append(Continuation((*parents[row].tokens, token), log_prob, places[row]))
        if level:
            levels.append(level)
        places = [place for place, each in enumerate(level) if each.tokens[-1] != vocabulary.end]
        parents = [level[place] for place in places]
        if not parents or len(levels) == depth:
            break
        log_probs_after = next_log_probs(network, vocabulary, [[*beginning, *parent.tokens] for parent in parents])
    return levels
