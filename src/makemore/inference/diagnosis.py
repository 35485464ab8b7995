"""Where a model is right and where it is wrong on a split, as numbers: what the pictures of a checkpoint show."""

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

# Logits in memory at once: 8 MB in float64.
_CELLS = 2**20
# Places in an item that are told apart, and tokens that a matrix shows.
PLACES = 30
TOKENS = 40
# Probabilities are sorted into so many equal parts of [0, 1].
BINS = 20


@dataclass(frozen=True)
class Calibration:
    """How often the likeliest token is the right one, by the probability it was given (Guo et al. 2017, section 2).

    The other tokens, nearly all of which rightly get next to nothing, would hide how far off these are.

    Args:
        predicted: (BINS,) the mean probability of the likeliest token in each bin; NaN where nothing is in it.
        observed: (BINS,) the share of these that were right.
        weight: (BINS,) the number of examples.
    """

    predicted: Array
    observed: Array
    weight: Array

    @property
    def error(self) -> float:
        """The expected calibration error: the mean gap between probability and share, over examples."""
        filled = self.weight > 0
        gaps = np.abs(self.predicted - self.observed)[filled] * self.weight[filled]
        return float(gaps.sum() / self.weight.sum())


@dataclass(frozen=True)
class Diagnosis:
    """What a model says on a split, and what is there; all sums are over the examples.

    Matrices are over the `tokens` (S,): those that are to be predicted most often, at the most `TOKENS`, and the one
    that starts items, in the vocabulary's order.

    Args:
        split: whose examples.
        tokens: the tokens that the matrices show.
        nll_by_token: of each token of the vocabulary that is there, as the one to predict.
        nll_by_place: of the first character of an item, the second and so on; the last holds all from there on.
        counted: (S, S) how often the second follows the first.
        expected: (S, S) how often the model expects it to: the sum of its probabilities after the first.
        confusion: (S, S) the mean probability of the second where the first is right.
        calibration: of the likeliest token of each example.
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
    """Return what a model says on a split that has examples.

    Args:
        network: on the CPU.
        corpus: the text, in the network's vocabulary.
        split: "train", "val" or "test".

    Raises:
        DivergedError: the network gives no probabilities.
    """
    # a model that looks at nothing is still compared by what came before
    length = max(network.block_size, 1)
    windows = corpus.windows(split, length).counted()
    size = corpus.vocabulary.size
    common = Counter(dict(enumerate(np.bincount(windows.pair_target, windows.pair_count, size))))
    tokens = sorted({corpus.vocabulary.start, *(token for token, count in common.most_common(TOKENS) if count)})
    sums = _Sums(size, tokens)
    for part in log_probs(network, windows, max(1, _CELLS // size), torch.float64):
        sums.add(part)
    calibration = Calibration(*sums.calibration())
    by_token = {t: NLL(float(sums.nll[t]), int(sums.count[t])) for t in range(size) if sums.count[t]}
    # where a token is never right, there is nothing to confuse it with
    right = np.maximum(sums.count[tokens], 1)
    return Diagnosis(
        split,
        tokens,
        by_token,
        nll_by_place(network, corpus, split),
        sums.counted,
        sums.expected,
        sums.confusion / right[:, None],
        calibration,
    )


def nll_by_place(network: Network, corpus: Corpus, split: str) -> list[NLL]:
    """Return the NLL of the tokens of a split by their place in the item; the end of an item is one of them.

    Returns:
        of each place from the first on, at the most `PLACES`, the last of which holds all from there on; 0 nats over
        0 characters where there are none.
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
    """Sums over contexts, filled a part at a time."""

    def __init__(self, size: int, tokens: list[int]) -> None:
        self.tokens = tokens
        # the place of a token in the matrices, and of all others after them
        self.place = np.full(size, len(tokens))
        self.place[tokens] = np.arange(len(tokens))
        self.nll, self.count = np.zeros(size), np.zeros(size)
        shape = (len(tokens), len(tokens))
        self.counted, self.expected, self.confusion = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.predicted, self.observed, self.weight = np.zeros(BINS), np.zeros(BINS), np.zeros(BINS)

    def add(self, part: Predictions) -> None:
        """Add the predictions for some contexts."""
        rows, targets, counts = part.rows.numpy(), part.targets.numpy(), part.counts.numpy()
        np.add.at(self.count, targets, counts)
        np.add.at(self.nll, targets, -part.chosen.numpy() * counts)
        probs = part.log_probs.exp().numpy()
        totals = np.bincount(rows, counts, len(probs))
        self._add_matrices(probs[:, self.tokens], part.contexts[:, -1].numpy(), totals, rows, targets, counts)
        self._add_calibration(probs, totals, rows, targets, counts)

    def _add_matrices(self, probs: Array, before: Any, totals: Any, rows: Any, targets: Any, counts: Any) -> None:
        shown = len(self.tokens)
        last = self.place[before]
        sums = np.zeros((shown + 1, shown))
        np.add.at(sums, last, probs * totals[:, None])
        self.expected += sums[:shown]
        counted = np.zeros((shown + 1, shown + 1))
        np.add.at(counted, (last[rows], self.place[targets]), counts)
        self.counted += counted[:shown, :shown]
        right = np.zeros((shown + 1, shown))
        np.add.at(right, self.place[targets], probs[rows] * counts[:, None])
        self.confusion += right[:shown]

    def _add_calibration(self, probs: Array, totals: Any, rows: Any, targets: Any, counts: Any) -> None:
        likeliest, confidence = probs.argmax(1), probs.max(1)
        bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        self.weight += np.bincount(bins, totals, BINS)
        self.predicted += np.bincount(bins, confidence * totals, BINS)
        self.observed += np.bincount(bins[rows], counts * (targets == likeliest[rows]), BINS)

    def calibration(self) -> tuple[Array, Array, Array]:
        """Return means of the bins, and their weights."""
        with np.errstate(invalid="ignore"):
            return self.predicted / self.weight, self.observed / self.weight, self.weight
