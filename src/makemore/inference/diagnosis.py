"""Diagnosis of a model on a split, as the arrays that its pictures show."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from makemore.data.corpus import Corpus
from makemore.data.options import SPLITS
from makemore.inference.likelihood import NLL, exact_nll, log_probs
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

    The other tokens, nearly all of which rightly have a probability near 0, would hide its error. Arrays are (BINS,):
    the mean probability predicted and the accuracy observed, both NaN in an empty bin, and the number of examples.
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
        tokens: (S,) those in the matrices: the `TOKENS` most frequent targets and the start token, in the vocabulary's
            order.
        nll_by_place: by the target's position in its item; the last includes all positions beyond.
        counted: (S, S) how often the column's token follows the row's.
        expected: (S, S) the sum of the model's probabilities of the column's token after the row's.
        confusion: (S, S) the mean probability of the column's token where the row's is the target.
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
    """Diagnose a network on the CPU, on a split with examples; raise `DivergedError` if it gives no probabilities."""
    # the matrices need the token before, even if the network does not
    windows = corpus.windows(split, max(corpus.context_size(network), 1)).counted()
    size = corpus.vocabulary.size
    count = np.bincount(windows.pair_target, windows.pair_count, size)
    tokens, row_of = _rows(count, corpus.vocabulary.start)
    nll, counted = np.zeros(size), np.zeros((len(tokens) + 1, len(tokens) + 1))
    expected, confusion = np.zeros((2, len(tokens) + 1, len(tokens)))
    predicted, observed, weight = np.zeros((3, BINS))
    for part in log_probs(network, windows, max(1, _CELLS // size), torch.float64):
        rows, targets, counts = part.rows.numpy(), part.targets.numpy(), part.counts.numpy()
        np.add.at(nll, targets, -part.chosen.numpy() * counts)
        probs = part.log_probs.exp().numpy()
        totals = np.bincount(rows, counts, len(probs))
        before, after = row_of[part.contexts[:, -1].numpy()], row_of[targets]
        shown = probs[:, tokens]
        np.add.at(counted, (before[rows], after), counts)
        np.add.at(expected, before, shown * totals[:, None])
        np.add.at(confusion, after, shown[rows] * counts[:, None])
        likeliest, confidence = probs.argmax(1), probs.max(1)
        bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        weight += np.bincount(bins, totals, BINS)
        predicted += np.bincount(bins, confidence * totals, BINS)
        observed += np.bincount(bins[rows], counts * (targets == likeliest[rows]), BINS)
    with np.errstate(invalid="ignore"):
        calibration = Calibration(predicted / weight, observed / weight, weight)
    by_token = {token: NLL(float(nll[token]), int(count[token])) for token in np.flatnonzero(count).tolist()}
    by_place = nll_by_place(network, corpus, split)
    mean = confusion[:-1] / np.maximum(count[tokens], 1)[:, None]
    return Diagnosis(split, tokens, by_token, by_place, counted[:-1, :-1], expected[:-1], mean, calibration)


def bigram_counts(corpus: Corpus, splits: Sequence[str]) -> tuple[list[int], Array]:
    """Return the tokens (S,) of a matrix of splits, as in `Diagnosis`, and how often each follows each (S, S)."""
    parts = [corpus.windows(split, 1).counted() for split in splits if corpus.size(split)]
    size = corpus.vocabulary.size
    count = np.sum([np.bincount(part.pair_target, part.pair_count, size) for part in parts], axis=0)
    tokens, row_of = _rows(count, corpus.vocabulary.start)
    counts = np.zeros((len(tokens) + 1, len(tokens) + 1))
    for part in parts:
        before = part.contexts[part.pair_context, -1].numpy()
        np.add.at(counts, (row_of[before], row_of[part.pair_target]), part.pair_count.numpy())
    return tokens, counts[:-1, :-1]


def _rows(count: npt.NDArray[Any], start: int) -> tuple[list[int], npt.NDArray[np.int64]]:
    """Return the tokens of matrices, by the counts (V,), and each one's row (V,); the others' is after the last."""
    common = Counter(dict(enumerate(count)))
    tokens = sorted({start, *(token for token, count in common.most_common(TOKENS) if count)})
    row_of = np.full(len(count), len(tokens))
    row_of[tokens] = np.arange(len(tokens))
    return tokens, row_of


def nll_by_place(network: Network, corpus: Corpus, split: str) -> list[NLL]:
    """Return the NLL at each position of the items of a split, ends included; 0 nats over 0 characters if not there.

    There are at most `PLACES`, the last of which includes all positions beyond.
    """
    starts = np.cumsum(corpus.lengths, dtype=np.int64) - corpus.lengths
    predicted = np.flatnonzero(corpus.membership == SPLITS.index(split))
    places = np.minimum(predicted - starts[np.searchsorted(starts, predicted, "right") - 1], PLACES - 1)
    windows = corpus.windows(split, corpus.context_size(network))
    found = []
    for place in range(int(places.max()) + 1):
        here = replace(windows, positions=windows.positions[torch.from_numpy(places == place)])
        found.append(exact_nll(network, here.counted()) if len(here) else NLL(0.0, 0))
    return found


def plane_of(vectors: Array) -> tuple[Array, Array | None]:
    """Return vectors (V, E) as points (V, 2) of a plane, and the shares of the variance (2,) where E is not 2."""
    if vectors.shape[1] == 2:
        return vectors, None
    centred = vectors - vectors.mean(0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    points, variances = np.zeros((len(vectors), 2)), np.zeros(2)
    kept = min(2, len(sizes))
    points[:, :kept], variances[:kept] = centred @ directions[:kept].T, sizes[:kept] ** 2
    return points, variances / max(float((sizes**2).sum()), 1e-30)
