"""Figures of sweeps, by matplotlib: the NLL (nats a character) by a swept key, by a pair of keys, and over seeds."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from makemore.pictures.axes import Scale, escape_mathtext, highest_shown, scale_of, set_ticks
from makemore.pictures.style import ACCENT, GREY, HEAT, INK, ink_on, styled
from makemore.report.job_comparison import compared_split, medians, other_keys_differ
from makemore.sweeps.records import Job, Reference
from makemore.sweeps.table import known_figure, sorted_jobs

# the lower an NLL, the stronger
_COLOURS = HEAT.reversed()
# the most cells side by side that have room for their numbers
_MAX_NUMBERED = 20


@styled
def key_plot(key: str, jobs: Sequence[Job], reference: Reference | None = None) -> Figure:
    """Draw the NLL by a swept key: each finished job, the median at each value, and the best.

    Failed jobs, and NLLs too high to be shown to scale, are marked at the upper edge; jobs without a value of the key
    are left out. A reference is shown with the metric that its figures are compared with.
    """
    finished, failed = _ended(jobs, key)
    scale = scale_of(key, [job.differs[key] for job in (*finished, *failed)])
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.set(ylabel="NLL (nats a character)", title=f"NLL by {escape_mathtext(key)}, {_count(finished)}")
    axes.grid()
    nlls = [job.nll for job in finished]
    positions = [scale.position(job.differs[key]) for job in finished]
    split = compared_split(finished)
    if split == "validation":
        train = [job.nlls.get("train", math.nan) for job in finished]
        # a dash, which is visible beside the point of validation when the two are close
        axes.plot(positions, train, "_", color=GREY, alpha=0.6, markersize=16, label="training")
    axes.plot(positions, nlls, "o", color=ACCENT, alpha=0.7, markersize=6, label=split)
    at = medians(zip(positions, nlls, strict=True))
    are_medians = len(at) < len(nlls) and not scale.continuous
    if are_medians and scale.kind == "category":
        axes.plot(list(at), list(at.values()), "_", color=ACCENT, markersize=30, label="median")
    elif are_medians or (scale.kind != "category" and not other_keys_differ(key, finished)):
        label = "median" if are_medians else "_line"
        axes.plot(list(at), list(at.values()), color=ACCENT, linewidth=1.2, label=label)
    if reference is not None:
        _draw_reference(axes, scale, finished, reference)
    if finished and math.isfinite(nlls[0]):
        label = f"best: {_number(nlls[0])}"
        axes.plot(positions[:1], nlls[:1], "*", color=ACCENT, markersize=14, markeredgecolor="white", label=label)
    _limit_to_scale(axes)
    _mark_above(axes, positions, nlls, numbered=not scale.continuous)
    if failed:
        where, edge = [scale.position(job.differs[key]) for job in failed], axes.get_xaxis_transform()
        label = f"{len(failed)} failed"
        axes.plot(where, [1.0] * len(where), "x", color=INK, transform=edge, clip_on=False, label=label)
    scale.draw(axes, "x")
    axes.margins(x=0.08)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def _draw_reference(axes: Axes, scale: Scale, jobs: Sequence[Job], reference: Reference) -> None:
    """Draw known figures and the metric that they are compared with."""
    known = [(job, figure) for job in jobs if (figure := known_figure(reference, job)) is not None]
    positions = [scale.position(job.differs[scale.key]) for job, _ in known]
    metric, title = escape_mathtext(reference.metric), escape_mathtext(f"{reference.metric}: {reference.title}")
    ours = [job.last.get(reference.metric, math.nan) for job, _ in known]
    axes.plot(positions, ours, "s", color=GREY, fillstyle="none", markersize=9, label=metric)
    axes.plot(positions, [figure for _, figure in known], "d", color=INK, markersize=5, label=title)


def _limit_to_scale(axes: Axes) -> None:
    """Limit the NLL axis to what is shown to scale, with room for marks above."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    shown = drawn[np.isfinite(drawn) & (drawn <= highest_shown(drawn.tolist()))]
    if not len(shown):
        axes.set(ylim=(0, 1), yticks=[])
        return
    height = np.ptp(shown) or 0.1
    axes.set_ylim(shown.min() - 0.06 * height, shown.max() + 0.2 * height)


def _mark_above(axes: Axes, positions: Sequence[float], nlls: Sequence[float], numbered: bool) -> None:
    """Mark the NLLs above the axes at their upper edge, with their range at each position where `numbered`."""
    at = defaultdict(list)
    for position, nll in zip(positions, nlls, strict=True):
        if nll > axes.get_ylim()[1]:
            at[position].append(nll)
    if not at:
        return
    edge = axes.get_xaxis_transform()
    above = [nll for here in at.values() for nll in here]
    label = f"{len(above)} above: {_range(above)}"
    axes.plot(list(at), [0.93] * len(at), "^", color=ACCENT, transform=edge, label=label)
    for position, here in at.items() if numbered else ():
        axes.text(position, 0.905, _range(here), transform=edge, ha="center", va="top", fontsize=8)


@styled
def pair_plot(x_key: str, y_key: str, jobs: Sequence[Job]) -> Figure:
    """Draw the NLL by a pair of swept keys, of jobs with both: a grid of medians, or the points of a search."""
    finished, failed = _ended(jobs, x_key, y_key)
    x, y = (scale_of(key, [job.differs[key] for job in (*finished, *failed)]) for key in (x_key, y_key))
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    what = f"{compared_split(finished)} NLL"
    if x.continuous or y.continuous:
        figure.set_size_inches(8, 6)
        nlls = _draw_points(axes, x, y, finished, failed)
    else:
        figure.set_size_inches(min(16, max(6, 3 + 0.8 * len(x.values))), min(14, max(4, 2 + 0.55 * len(y.values))))
        nlls, what = _draw_cells(axes, x, y, finished, failed), f"median {what}"
    axes.set_title(f"{what}, {_count(finished)}")
    top = highest_shown(nlls)
    if math.isfinite(top):
        extend = "max" if max(nlls) > top else "neither"
        colours = ScalarMappable(_norm(nlls), _COLOURS)
        figure.colorbar(colours, ax=axes, extend=extend, label="nats a character")
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _draw_cells(axes: Axes, x: Scale, y: Scale, finished: Sequence[Job], failed: Sequence[Job]) -> list[float]:
    """Draw a cell for each pair of values, the best one outlined; return the medians."""

    def cell(job: Job) -> tuple[int, int]:
        return x.index(job.differs[x.key]), y.index(job.differs[y.key])

    at = medians((cell(job), job.nll) for job in finished)
    nlls, failures = list(at.values()), Counter(map(cell, failed))
    norm = _norm(nlls)
    for column, row in product(range(len(x.values)), range(len(y.values))):
        nll, count = at.get((column, row)), failures[column, row]
        share = 0.0 if nll is None else 1 - float(norm(nll))
        colour = "none" if nll is None else HEAT(share)
        axes.add_patch(Rectangle((column - 0.49, row - 0.49), 0.98, 0.98, facecolor=colour, edgecolor="none"))
        lines = [*([] if nll is None else [_number(nll)]), *([f"{count} failed"] if count else [])]
        if len(x.values) <= _MAX_NUMBERED:
            axes.text(column, row, "\n".join(lines) or "-", ha="center", va="center", color=ink_on(share), fontsize=9)
    if nlls and math.isfinite(least := min(nlls)):
        column, row = min(at, key=at.__getitem__)
        label, corner = f"best: {_number(least)}", (column - 0.46, row - 0.46)
        axes.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, edgecolor=INK, linewidth=2.5, label=label))
    axes.set(xlabel=escape_mathtext(x.key), xlim=(-0.5, len(x.values) - 0.5))
    axes.set(ylabel=escape_mathtext(y.key), ylim=(-0.5, len(y.values) - 0.5))
    set_ticks(axes, "x", x.values, range(len(x.values)))
    set_ticks(axes, "y", y.values, range(len(y.values)))
    return nlls


def _draw_points(axes: Axes, x: Scale, y: Scale, finished: Sequence[Job], failed: Sequence[Job]) -> list[float]:
    """Draw a point for each job, the best one ringed; return the NLLs."""

    def places(jobs: Sequence[Job]) -> tuple[list[float], list[float]]:
        return [x.position(job.differs[x.key]) for job in jobs], [y.position(job.differs[y.key]) for job in jobs]

    nlls = [job.nll for job in finished]
    # the best on top
    colours = _COLOURS(_norm(nlls)(nlls[::-1]))
    axes.scatter(*places(finished[::-1]), c=colours, s=45, edgecolors=GREY, linewidths=0.5)
    if failed:
        axes.plot(*places(failed), "x", color=INK, label=f"{len(failed)} failed")
    if finished:
        ring, label = places(finished[:1]), f"best: {_number(nlls[0])}"
        axes.plot(*ring, "o", color=ACCENT, fillstyle="none", markersize=15, markeredgewidth=2, label=label)
    x.draw(axes, "x")
    y.draw(axes, "y")
    axes.margins(0.08)
    axes.grid()
    return nlls


@styled
def seed_histogram(jobs: Sequence[Job]) -> Figure:
    """Draw a histogram of the finite NLLs of two or more jobs, with their median and the middle nine tenths."""
    nlls = np.array([job.nll for job in jobs])
    low, middle, high = np.quantile(nlls, [0.05, 0.5, 0.95])
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.hist(nlls, bins="auto", color=ACCENT, alpha=0.7)
    axes.axvspan(low, high, color=ACCENT, alpha=0.15, label=f"nine of ten: {low:.4f} to {high:.4f}")
    axes.axvline(middle, color=ACCENT, label=f"median: {middle:.4f}")
    title = f"final NLL of {len(jobs):,} seeds: mean {nlls.mean():.4f}, standard deviation {nlls.std(ddof=1):.4f}"
    axes.set(xlabel=f"{compared_split(jobs)} NLL (nats a character)", ylabel="seeds", title=title)
    # tick labels with all their digits, as NLLs are close to each other
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.grid()
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _ended(jobs: Sequence[Job], *keys: str) -> tuple[list[Job], list[Job]]:
    """Return the finished jobs, the best first, and the failed ones, of those with all the keys."""
    ordered = [job for job in sorted_jobs(jobs) if all(key in job.differs for key in keys)]
    return [job for job in ordered if job.status == "finished"], [job for job in ordered if job.status == "failed"]


def _norm(nlls: Sequence[float]) -> Normalize:
    """Return the range of the colours: from the best NLL to the highest that is shown to scale."""
    top = highest_shown(nlls)
    return Normalize(min(nlls), top, clip=True) if math.isfinite(top) else Normalize(0, 1, clip=True)


def _count(jobs: Sequence[Job]) -> str:
    return f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"


def _number(nll: float) -> str:
    return f"{nll:.4f}" if nll < 10 else f"{nll:.1f}"


def _range(nlls: Sequence[float]) -> str:
    low, high = f"{min(nlls):.4g}", f"{max(nlls):.4g}"
    return low if low == high else f"{low} to {high}"
