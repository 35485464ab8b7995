"""Pictures of a model and of its training, drawn by matplotlib without a display. NLLs are in nats a character."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from makemore.diagnosis import Calibration, Diagnosis
from makemore.sweeps.scale import literal

Array = npt.NDArray[np.float64]

# Cells beside each other, more of which leave their texts no room.
_WRITTEN = 30


def bigram_matrix(counts: Array, labels: Sequence[str]) -> Figure:
    """Return the bigram counts as the lessons draw them: each cell its pair and its count (L0, L3).

    Args:
        counts: (S, S) how often the second token follows the first.
        labels: (S,) of the tokens.
    """
    side = 0.6 * len(labels)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    for row, first in enumerate(labels):
        for column, second in enumerate(labels):
            pair, count = literal(first + second), f"{counts[row, column]:.0f}"
            axes.text(column, row, pair, ha="center", va="bottom", color="gray", fontsize=9)
            axes.text(column, row, count, ha="center", va="top", color="gray", fontsize=9)
    axes.axis("off")
    return figure


def network_beside_counts(diagnosis: Diagnosis, labels: Sequence[str]) -> Figure:
    """Return how likely each token is after each other one: as counted, and as the model expects on the same text."""
    figure = Figure(figsize=(15, 7), layout="constrained")
    matrices = [_rows_to_one(matrix) for matrix in (diagnosis.counted, diagnosis.expected)]
    top = max(float(matrix.max()) for matrix in matrices)
    for axes, matrix, title in zip(figure.subplots(1, 2), matrices, ("counted", "by the model"), strict=True):
        image = _draw_matrix(axes, matrix, labels, top)
        axes.set(title=title, xlabel="next character", ylabel="character")
    figure.colorbar(image, ax=figure.axes, label="probability", shrink=0.8)
    figure.suptitle(f"What follows what, {diagnosis.split} split")
    return figure


def confusion(diagnosis: Diagnosis, labels: Sequence[str]) -> Figure:
    """Return what is predicted where: a row for each character that is right, with the mean probabilities given."""
    figure = Figure(figsize=(8.5, 7.5), layout="constrained")
    axes = figure.subplots()
    image = _draw_matrix(axes, diagnosis.confusion, labels, float(diagnosis.confusion.max()))
    axes.set(title=f"What is predicted where, {diagnosis.split} split", xlabel="predicted", ylabel="right")
    figure.colorbar(image, label="mean probability", shrink=0.8)
    return figure


def embedding(vectors: Array, labels: Sequence[str]) -> Figure:
    """Return the characters where the embedding puts them (L2): in its plane, or that of its two main components.

    Args:
        vectors: (V, E).
        labels: (V,).
    """
    points, shares = plane_of(vectors)
    figure = Figure(figsize=(8, 8), layout="constrained")
    axes = figure.subplots()
    axes.scatter(points[:, 0], points[:, 1], s=220, color="tab:blue", alpha=0.35)
    for (x, y), label in zip(points, labels, strict=True):
        axes.text(x, y, literal(label), ha="center", va="center")
    if shares is None:
        axes.set(title="Embedding of the characters", xlabel="first number", ylabel="second number")
    else:
        what = f"main components of {vectors.shape[1]} numbers"
        axes.set(title=f"Embedding of the characters, {what}")
        axes.set(xlabel=f"first, {shares[0]:.0%} of the variance", ylabel=f"second, {shares[1]:.0%}")
    axes.grid(alpha=0.3)
    return figure


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


def loss_curve(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Return the NLL against the step: of minibatches, as it is and smoothed, and of validation.

    Args:
        curves: steps and NLLs, under "train/nll" and "val/nll" where there are any.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    if "train/nll" in curves:
        steps, nlls = curves["train/nll"]
        axes.plot(steps, nlls, color="tab:blue", alpha=0.25, linewidth=0.8, label="minibatch")
        axes.plot(steps, smoothed(nlls), color="tab:blue", label="minibatch, smoothed")
    if "val/nll" in curves:
        axes.plot(*curves["val/nll"], "o-", color="tab:orange", markersize=3, label="validation")
    axes.set(title="Training", xlabel="step", ylabel="NLL (nats a character)")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def smoothed(values: Sequence[float]) -> Array:
    """Return the mean of each value and of its neighbours, a fortieth of them all to each side; fewer at the ends."""
    reach = len(values) // 40
    sums = np.cumsum([0.0, *values])
    places = np.arange(len(values))
    first, last = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    means: Array = (sums[last] - sums[first]) / (last - first)
    return means


def suggested_rate(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Return where the smoothed loss of a range test is lowest: as high as the learning rate goes (L2).

    Args:
        rates: ascending.
        losses: the minibatch NLL at each.
    """
    finite = [loss if np.isfinite(loss) else np.inf for loss in losses]
    return float(rates[int(np.argmin(smoothed(finite)))])


def learning_rate_range(rates: Sequence[float], losses: Sequence[float]) -> Figure:
    """Return the picture of a learning-rate range test: loss against the rate, and against its exponent (L2).

    Args:
        rates: the learning rate of each step.
        losses: the minibatch NLL of each step, nats a character.
    """
    # a rate of 0 has no exponent
    steps = [(rate, loss) for rate, loss in zip(rates, losses, strict=True) if rate > 0]
    rates, losses = [rate for rate, _ in steps], [loss for _, loss in steps]
    figure = Figure(figsize=(10, 4), layout="constrained")
    by_rate, by_exponent = figure.subplots(1, 2, sharey=True)
    by_rate.set(xlabel="learning rate", ylabel="NLL (nats a character)")
    by_exponent.set(xlabel="exponent of the learning rate (log10)")
    places = ((by_rate, np.asarray(rates)), (by_exponent, np.log10(rates)))
    for axes, where in places:
        axes.plot(where, losses, linewidth=0.8, alpha=0.4)
        axes.plot(where, smoothed(losses), linewidth=1.2, color="tab:blue")
        axes.grid(alpha=0.3)
    if rates:
        suggested = suggested_rate(rates, losses)
        for axes, place in ((by_rate, suggested), (by_exponent, float(np.log10(suggested)))):
            axes.axvline(place, color="tab:red", linestyle="--", label=f"suggested: {suggested:.2g}")
        by_exponent.legend()
    figure.suptitle("Learning-rate range test")
    return figure


def nll_by_place_and_character(diagnosis: Diagnosis, labels: Mapping[int, str]) -> Figure:
    """Return the NLL by the place of a character in its item, and by the character, the most common first."""
    figure = Figure(figsize=(12, 8), layout="constrained")
    by_place, by_character = figure.subplots(2, 1)
    places = [(place, nll.nats) for place, nll in enumerate(diagnosis.nll_by_place, 1) if nll.characters]
    by_place.bar([place for place, _ in places], [nats for _, nats in places], color="tab:blue")
    by_place.set(xlabel="place in the item, its end being one", title=f"NLL by place, {diagnosis.split} split")
    common = sorted(diagnosis.nll_by_token.items(), key=lambda item: -item[1].characters)[:_WRITTEN]
    by_character.bar(
        [literal(labels[token]) for token, _ in common], [nll.nats for _, nll in common], color="tab:blue"
    )
    by_character.set(xlabel="character, the most common first", title="NLL by character")
    for axes in (by_place, by_character):
        axes.set(ylabel="NLL (nats a character)")
        axes.grid(alpha=0.3, axis="y")
    return figure


def calibration(found: Calibration, split: str) -> Figure:
    """Return how often what was given a probability came true, against that probability."""
    figure = Figure(figsize=(7, 7), layout="constrained")
    curve, sizes = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    filled = found.weight > 0
    curve.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="as often as said")
    curve.plot(found.predicted[filled], found.observed[filled], "o-", color="tab:blue", label="the model")
    curve.set(ylabel="share that came true", title=f"Calibration, {split} split: error {found.error:.4f}")
    curve.legend()
    sizes.bar((np.arange(len(filled)) + 0.5) / len(filled), found.weight, width=0.9 / len(filled), color="tab:blue")
    sizes.set(yscale="log", ylabel="predictions", xlabel="probability given")
    for axes in (curve, sizes):
        axes.grid(alpha=0.3)
    return figure


def lengths(made_up: Sequence[int], real: Sequence[int]) -> Figure:
    """Return how long made-up items are beside those of the text, in characters."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for name, found, side in (("the text", real, -0.2), ("made up", made_up, 0.2)):
        counted = Counter(found)
        places = np.array(sorted(counted))
        shares = [counted[place] / len(found) for place in places]
        axes.bar(places + side, shares, width=0.4, label=f"{name}: {len(found):,}, mean {np.mean(found):.2f}")
    axes.set(title="Lengths", xlabel="characters", ylabel="share of the items")
    axes.grid(alpha=0.3, axis="y")
    axes.legend()
    return figure


def _rows_to_one(matrix: Array) -> Array:
    sums = matrix.sum(1, keepdims=True)
    shares: Array = np.divide(matrix, sums, out=np.zeros_like(matrix), where=sums > 0)
    return shares


def _draw_matrix(axes: Axes, matrix: Array, labels: Sequence[str], top: float) -> Any:
    image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=top)
    places = range(len(labels))
    axes.set_xticks(places, [literal(label) for label in labels], fontsize=9)
    axes.set_yticks(places, [literal(label) for label in labels], fontsize=9)
    return image
