"""Figures of a model and of its training, drawn by matplotlib without a display. NLLs are in nats a character."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from makemore.inference.diagnosis import Array, Calibration, Diagnosis, plane_of
from makemore.pictures.axes import escape_mathtext
from makemore.pictures.curves import Curves, smoothed, suggested_rate
from makemore.pictures.style import ACCENT, GREY, HEAT, ink_on, styled
from makemore.system.console import visible

_NLL = "NLL (nats a character)"
# inches of a cell of the bigram matrix, as in the lessons
_CELL = 16 / 27
# inches of a picture that has another one beside it on a page
_HALF = (6, 5.4)
# the most bars whose labels have room side by side
_MAX_BARS = 60


@styled
def bigram_matrix(counts: Array, labels: Sequence[str]) -> Figure:
    """Draw bigram counts (S, S), first tokens in the rows, as the lessons do: cells show pair and count (L0, L3)."""
    side = _CELL * len(labels)
    figure = Figure(figsize=(side, side))
    # a layout would measure every text, which takes as long as drawing them
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(counts, cmap=HEAT, vmin=0, interpolation="none")
    top = max(float(counts.max()), 1.0)
    for row, first in enumerate(labels):
        for column, second in enumerate(labels):
            count = counts[row, column]
            look: dict[str, Any] = {"ha": "center", "color": ink_on(count / top), "alpha": 1.0 if count else 0.5}
            axes.text(column, row, _label(first + second), va="bottom", **look)
            axes.text(column, row, f"{count:.0f}", va="top", **look)
    axes.axis("off")
    return figure


@styled
def network_beside_counts(diagnosis: Diagnosis, labels: Sequence[str]) -> Figure:
    """Draw the probability of each next token after each token: as counted, and as predicted for the same text."""
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    counts = (diagnosis.counted, diagnosis.expected)
    # a character that nothing follows has a row of zeros
    matrices = [matrix / np.maximum(matrix.sum(1, keepdims=True), 1e-300) for matrix in counts]
    top = max(float(matrix.max()) for matrix in matrices)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, matrix, title in zip(panels, matrices, ("counted", "predicted"), strict=True):
        image = _draw_matrix(axes, matrix, labels, top)
        axes.set(title=title, xlabel="next character")
    panels[0].set(ylabel="character")
    figure.colorbar(image, ax=figure.axes, label="probability", shrink=0.8)
    figure.suptitle(f"Probability of the next character, {diagnosis.split} split")
    return figure


@styled
def confusion(diagnosis: Diagnosis, labels: Sequence[str]) -> Figure:
    """Draw the mean probability of each token where another is the true one: a row for each true token."""
    figure = Figure(figsize=_HALF, layout="constrained")
    axes = figure.subplots()
    image = _draw_matrix(axes, diagnosis.confusion, labels, float(diagnosis.confusion.max()))
    axes.set(title=f"Confusion, {diagnosis.split} split", xlabel="predicted character", ylabel="true character")
    figure.colorbar(image, label="mean probability", shrink=0.8)
    return figure


@styled
def embedding(vectors: Array, labels: Sequence[str]) -> Figure:
    """Draw V characters at their vectors (V, E): in their plane, or in that of the two principal components (L2)."""
    points, shares = plane_of(vectors)
    figure = Figure(figsize=_HALF, layout="constrained")
    axes = figure.subplots()
    axes.scatter(points[:, 0], points[:, 1], s=220, color=ACCENT, alpha=0.25)
    for (x, y), label in zip(points, labels, strict=True):
        axes.text(x, y, _label(label), ha="center", va="center")
    if shares is None:
        axes.set(title="Embedding of the characters", xlabel="dimension 1", ylabel="dimension 2")
    else:
        axes.set(title=f"Embedding of the characters, principal components of {vectors.shape[1]} dimensions")
        axes.set(xlabel=f"first, {shares[0]:.0%} of the variance", ylabel=f"second, {shares[1]:.0%}")
    axes.grid()
    return figure


@styled
def loss_curve(curves: Curves) -> Figure:
    """Draw the curves "train/nll", raw and smoothed, and "val/nll", of which one may be missing."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    steps, nlls = curves.get("train/nll", ([], []))
    validated, validation = curves.get("val/nll", ([], []))
    if nlls:
        _draw_smoothed(axes, steps, nlls)
    if validation:
        axes.plot(validated, validation, "o-", color=ACCENT, markersize=3, label="validation")
    if finite := [nll for nll in nlls if np.isfinite(nll)]:
        # the first steps from large initial weights must not squash the others
        _limit(axes, [min(finite), float(np.percentile(finite, 98)), *validation])
    axes.set(title="Training", xlabel="step", ylabel=_NLL)
    axes.grid()
    axes.legend()
    return figure


@styled
def learning_rate_range(rates: Sequence[float], losses: Sequence[float]) -> Figure:
    """Draw a learning-rate range test (L2): the NLL, finite or not, by the ascending rates, and by their exponents."""
    # a rate of 0 has no exponent
    losses = [loss for rate, loss in zip(rates, losses, strict=True) if rate > 0]
    rates = [rate for rate in rates if rate > 0]
    suggested = suggested_rate(rates, losses)
    figure = Figure(figsize=(10, 4), layout="constrained")
    by_rate, by_exponent = figure.subplots(1, 2, sharey=True)
    by_rate.set(xlabel="learning rate", ylabel=_NLL)
    by_exponent.set(xlabel="exponent of the learning rate (log10)")
    for axes, scaled in ((by_rate, np.asarray), (by_exponent, np.log10)):
        _draw_smoothed(axes, scaled(rates), losses)
        if suggested is not None:
            label = f"suggested: {suggested:.2g}"
            axes.axvline(float(scaled(suggested)), color=ACCENT, linestyle="--", label=label)
        axes.grid()
    if suggested is not None:
        # an explosion after the fall must not squash it
        _limit(by_rate, losses[: rates.index(suggested) + 1])
    # there is room below the fall
    by_exponent.legend(loc="lower left")
    figure.suptitle("Learning-rate range test")
    return figure


@styled
def nll_by_place_and_character(diagnosis: Diagnosis, labels: Mapping[int, str]) -> Figure:
    """Draw the NLL by the position of a character in its item, and by character, the most common first."""
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    by_position, by_character = figure.subplots(2, 1, sharey=True)
    positions = [(str(place), nll.nats) for place, nll in enumerate(diagnosis.nll_by_place, 1) if nll.characters]
    _draw_bars(by_position, positions)
    by_position.set(xlabel="position in the item, its end included", title=f"NLL by position, {diagnosis.split} split")
    common = sorted(diagnosis.nll_by_token.items(), key=lambda item: -item[1].characters)[:_MAX_BARS]
    _draw_bars(by_character, [(_label(labels[token]), nll.nats) for token, nll in common])
    by_character.set(xlabel="character, the most common first", title="NLL by character")
    return figure


@styled
def calibration(found: Calibration, split: str) -> Figure:
    """Draw how often the likeliest character was right, by its probability, and the number of such predictions."""
    figure = Figure(figsize=_HALF, layout="constrained")
    curve, sizes = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    filled = found.weight > 0
    curve.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfectly calibrated")
    curve.plot(found.predicted[filled], found.observed[filled], "o-", color=ACCENT, label="the model")
    title = f"Calibration of the likeliest character, {split} split: error {found.error:.4f}"
    curve.set(ylabel="share that was right", title=title)
    curve.legend()
    sizes.bar((np.arange(len(filled)) + 0.5) / len(filled), found.weight, width=0.9 / len(filled), color=ACCENT)
    sizes.set(ylabel="predictions", xlabel="probability of the likeliest character")
    for axes in (curve, sizes):
        axes.grid()
    return figure


@styled
def lengths(sampled: Sequence[int], real: Sequence[int]) -> Figure:
    """Draw histograms of the lengths in characters of sampled items and of the text's; neither is empty."""
    figure = Figure(figsize=_HALF, layout="constrained")
    axes = figure.subplots()
    shortest, longest = min(*sampled, *real), max(*sampled, *real)
    # lengths that share a bar
    width = -(-(longest - shortest + 1) // _MAX_BARS)
    edges = np.arange(shortest, longest + width + 1, width) - 0.5
    for name, found, side in (("text", real, -0.2), ("sampled", sampled, 0.2)):
        shares = np.histogram(found, edges)[0] / len(found)
        label = f"{name}: {len(found):,}, mean {np.mean(found):.2f}"
        axes.bar((edges[:-1] + edges[1:]) / 2 + side * width, shares, width=0.4 * width, label=label)
    axes.set(title="Lengths", xlabel="characters", ylabel="share of the items")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    axes.legend()
    return figure


def _draw_smoothed(axes: Axes, places: Sequence[float] | Array, nlls: Sequence[float]) -> None:
    # a line through one point is invisible
    marker = "." if len(nlls) == 1 else ""
    axes.plot(places, nlls, marker=marker, color=GREY, alpha=0.4, linewidth=0.8, label="minibatch")
    axes.plot(places, smoothed(nlls), color=GREY, linewidth=1.5, label="minibatch, smoothed")


def _limit(axes: Axes, nlls: Sequence[float]) -> None:
    """Lower the top of an NLL axis that lies far above some NLLs, of which one at least is finite."""
    finite = [nll for nll in nlls if np.isfinite(nll)]
    low, high = min(finite), max(finite)
    axes.set_ylim(top=min(axes.get_ylim()[1], high + 0.5 * (high - low) + 0.1))


def _draw_bars(axes: Axes, nlls: Sequence[tuple[str, float]]) -> None:
    """Draw a labelled bar for each NLL, or an infinity sign."""
    for place, (_, nats) in enumerate(nlls):
        if np.isfinite(nats):
            axes.bar(place, nats, color=ACCENT)
        else:
            axes.text(place, 0.02, "∞", transform=axes.get_xaxis_transform(), ha="center", color=ACCENT, size=14)
    axes.set_xticks(range(len(nlls)), [label for label, _ in nlls])
    axes.set(ylabel=_NLL)
    axes.grid(axis="y")


def _draw_matrix(axes: Axes, matrix: Array, labels: Sequence[str], top: float) -> Any:
    image = axes.imshow(matrix, cmap=HEAT, vmin=0, vmax=top, interpolation="none")
    for set_ticks in (axes.set_xticks, axes.set_yticks):
        set_ticks(range(len(labels)), list(map(_label, labels)), fontsize=9)
    return image


def _label(label: str) -> str:
    """Return the label of a token, or of a pair, for matplotlib, with visible spaces."""
    return escape_mathtext(visible(label).replace(" ", "␣"))
