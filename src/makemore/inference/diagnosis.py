"""Diagnosis of a model on a split, as the arrays that its pictures show."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from makemore.data.corpus import Corpus
from makemore.data.options import SPLITS
from makemore.inference.likelihood import NLL, Predictions, exact_nll, log_probs
from makemore.models.network import Network

Array = npt.NDArray[np.float64]

# logits computed at once: 8 MB in float64
_CELLS = 2**20
# positions in an item, the last of which has all beyond; tokens in a matrix; bins of probabilities
PLACES = 30
TOKENS = 40
BINS = 20


@dataclass(frozen=True)
class Calibration:
    """Accuracy of the likeliest token by its probability (Guo et al. 2017, section 2).

    The other tokens, nearly all of which rightly have a probability near 0, would hide its error.

    Args:
        predicted: (BINS,) the mean probability of the likeliest token in each bin; NaN in an empty bin.
        observed: (BINS,) the accuracy in each bin; NaN in an empty bin.
        weight: (BINS,) the number of examples in each bin.
    """

    predicted: Array
    observed: Array
    weight: Array

    @property
    def error(self) -> float:
        """The expected calibration error: the mean gap between probability and accuracy, over examples."""
        filled = self.weight > 0
        gaps = np.abs(self.predicted - self.observed)[filled] * self.weight[filled]
        return float(gaps.sum() / self.weight.sum())


@dataclass(frozen=True)
class Diagnosis:
    """Statistics of a model's predictions over the examples of a split.

    Args:
        split: the name of the split.
        tokens: (S,) those in the matrices: the `TOKENS` most frequent targets and the start token, in the vocabulary's
            order.
        nll_by_token: by target.
        nll_by_place: by the target's position in its item; the last includes all positions beyond.
        counted: (S, S) how often the column's token follows the row's.
        expected: (S, S) the sum of the model's probabilities of the column's token after the row's.
        confusion: (S, S) the mean probability of the column's token where the row's is the target.
        calibration: of the likeliest token.
    """

    split: str
    tokens: list[int]
    nll_by_token: dict[int, NLL]
    nll_by_place: list[NLL]
    counted: Array
    expected: Array
    confusion: Array
    calibration: Calibration


def diagnose(network: Network, corpus: Corpus, split: str) -> Diagnosis:
    """Diagnose a network on a split that has examples.

    Args:
        network: on the CPU.
        corpus: in the network's vocabulary.
        split: "train", "val" or "test".

    Raises:
        DivergedError: the network gives no probabilities.
    """
    # the matrices need the token before, even if the network does not
    windows = corpus.windows(split, max(network.block_size, 1)).counted()
    size = corpus.vocabulary.size
    common = Counter(dict(enumerate(np.bincount(windows.pair_target, windows.pair_count, size))))
    tokens = sorted({corpus.vocabulary.start, *(token for token, count in common.most_common(TOKENS) if count)})
    sums = _Sums(size, tokens)
    for part in log_probs(network, windows, max(1, _CELLS // size), torch.float64):
        sums.add(part)
    with np.errstate(invalid="ignore"):
        calibration = Calibration(sums.predicted / sums.weight, sums.observed / sums.weight, sums.weight)
    by_token = {t: NLL(float(sums.nll[t]), int(sums.count[t])) for t in range(size) if sums.count[t]}
    confusion = sums.confusion / np.maximum(sums.count[tokens], 1)[:, None]
    by_place = nll_by_place(network, corpus, split)
    return Diagnosis(split, tokens, by_token, by_place, sums.counted, sums.expected, confusion, calibration)


def nll_by_place(network: Network, corpus: Corpus, split: str) -> list[NLL]:
    """Return the NLL at each position of the items of a split, ends included; 0 nats over 0 characters if not there.

    There are at most `PLACES`, the last of which includes all positions beyond.
    """
    starts = np.cumsum(corpus.lengths, dtype=np.int64) - corpus.lengths
    predicted = np.flatnonzero(corpus.membership == SPLITS.index(split))
    places = np.minimum(predicted - starts[np.searchsorted(starts, predicted, "right") - 1], PLACES - 1)
    windows = corpus.windows(split, network.block_size)
    found = []
    for place in range(int(places.max()) + 1):
        here = replace(windows, positions=windows.positions[torch.from_numpy(places == place)])
        found.append(exact_nll(network, here.counted()) if len(here) else NLL(0.0, 0))
    return found


class _Sums:
    """Sums over the examples, chunk by chunk."""

    def __init__(self, size: int, tokens: list[int]) -> None:
        self.tokens = tokens
        # the row of each token in the matrices; the other tokens share the row after the last
        self.row_of = np.full(size, len(tokens))
        self.row_of[tokens] = np.arange(len(tokens))
        self.nll, self.count = np.zeros(size), np.zeros(size)
        shape = (len(tokens), len(tokens))
        self.counted, self.expected, self.confusion = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.predicted, self.observed, self.weight = np.zeros(BINS), np.zeros(BINS), np.zeros(BINS)

    def add(self, part: Predictions) -> None:
        """Add the predictions for a chunk of contexts."""
        rows, targets, counts = part.rows.numpy(), part.targets.numpy(), part.counts.numpy()
        np.add.at(self.count, targets, counts)
        np.add.at(self.nll, targets, -part.chosen.numpy() * counts)
        probs = part.log_probs.exp().numpy()
        totals = np.bincount(rows, counts, len(probs))
        before, after = self.row_of[part.contexts[:, -1].numpy()], self.row_of[targets]
        shown = probs[:, self.tokens]
        self.expected += self._by_row(before, shown * totals[:, None])
        self.confusion += self._by_row(after, shown[rows] * counts[:, None])
        counted = np.zeros((len(self.tokens) + 1, len(self.tokens) + 1))
        np.add.at(counted, (before[rows], after), counts)
        self.counted += counted[:-1, :-1]
        self._add_calibration(probs, totals, rows, targets, counts)

    def _by_row(self, rows: Any, values: Array) -> Array:
        """Return the sums (S, S) of `values` (P, S) over the same row of the matrices."""
        sums = np.zeros((len(self.tokens) + 1, len(self.tokens)))
        np.add.at(sums, rows, values)
        return sums[:-1]

    def _add_calibration(self, probs: Array, totals: Any, rows: Any, targets: Any, counts: Any) -> None:
        likeliest, confidence = probs.argmax(1), probs.max(1)
        bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        self.weight += np.bincount(bins, totals, BINS)
        self.predicted += np.bincount(bins, confidence * totals, BINS)
        self.observed += np.bincount(bins[rows], counts * (targets == likeliest[rows]), BINS)
