"""Pictures of sweeps: the NLL against a swept key, and against a pair of them."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import product
from statistics import median
from typing import TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from makemore.overrides import spelt
from makemore.pictures.axes import Scale, highest_shown, literal, mark, scale_of
from makemore.sweeps.records import Job, Reference
from makemore.sweeps.table import known_figure, sorted_jobs

Place = TypeVar("Place", float, tuple[int, int])

_BEST = "tab:red"
_COLOURS = matplotlib.colormaps["viridis"]
# side by side, more numbers of cells have no room
_NUMBERS = 20


def response(key: str, jobs: Sequence[Job], reference: Reference | None = None) -> Figure:
    """Return the picture of the NLL against a swept key: each job that finished, the median at each value, the best.

    Jobs that failed, and NLLs too high to be shown to scale, are marked at the upper edge.

    Args:
        key: it.
        jobs: those that have no value of it, or have not ended, are left out.
        reference: known figures, to be shown with the metric that they belong beside.
    """
    finished, failed = _ended(jobs, key)
    scale = scale_of(key, [job.differs[key] for job in (*finished, *failed)])
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.set(ylabel="NLL (nats a character)", title=f"NLL by {literal(key)}, {_counted(finished)}")
    axes.grid(alpha=0.3)
    nlls = [job.nll for job in finished]
    positions = [scale.position(job.differs[key]) for job in finished]
    if any("val" in job.nlls for job in finished):
        train = [job.nlls.get("train", math.nan) for job in finished]
        # a dash, which is seen beside the point of validation when the two are close
        axes.plot(positions, train, "_", color="tab:orange", alpha=0.6, markersize=16, label="training")
    axes.plot(positions, nlls, "o", color="tab:blue", alpha=0.7, markersize=6, label=_split(finished))
    medians = _medians(zip(positions, nlls, strict=True))
    if scale.kind == "category":
        axes.plot(list(medians), list(medians.values()), "_", color="tab:blue", markersize=30, label="median")
    elif not scale.continuous or _alike_but_for(key, finished):
        axes.plot(list(medians), list(medians.values()), color="tab:blue", linewidth=1.2, label="median")
    if reference is not None:
        _draw_reference(axes, scale, finished, reference)
    if finished and math.isfinite(nlls[0]):
        label = f"best: {_number(nlls[0])}"
        axes.plot(positions[:1], nlls[:1], "*", color=_BEST, markersize=14, markeredgecolor="white", label=label)
    _limit(axes)
    _mark_above(axes, positions, nlls, numbered=not scale.continuous)
    if failed:
        where, edge = [scale.position(job.differs[key]) for job in failed], axes.get_xaxis_transform()
        label = f"{len(failed)} failed"
        axes.plot(where, [1.0] * len(where), "x", color="black", transform=edge, clip_on=False, label=label)
    scale.draw(axes, "x")
    axes.margins(x=0.08)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def _draw_reference(axes: Axes, scale: Scale, jobs: Sequence[Job], reference: Reference) -> None:
    """Draw the metric that known figures belong beside, and the figures."""
    known = [(job, figure) for job in jobs if (figure := known_figure(reference, job)) is not None]
    positions = [scale.position(job.differs[scale.key]) for job, _ in known]
    ours = [job.last.get(reference.metric, math.nan) for job, _ in known]
    axes.plot(positions, ours, "s", color="tab:green", fillstyle="none", markersize=9, label=literal(reference.metric))
    theirs, label = [figure for _, figure in known], literal(f"{reference.metric}: {reference.title}")
    axes.plot(positions, theirs, "d", color="black", markersize=5, label=label)


def _limit(axes: Axes) -> None:
    """Let the NLL axis show what is drawn, but for what would squash it, with room for marks above."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    shown = drawn[np.isfinite(drawn) & (drawn <= highest_shown(drawn.tolist()))]
    if not len(shown):
        axes.set(ylim=(0, 1), yticks=[])
        return
    height = np.ptp(shown) or 0.1
    axes.set_ylim(shown.min() - 0.06 * height, shown.max() + 0.2 * height)


def _mark_above(axes: Axes, positions: Sequence[float], nlls: Sequence[float], numbered: bool) -> None:
    """Mark the NLLs that lie above the axes at their edge, with their numbers where these have room."""
    above = defaultdict(list)
    for position, nll in zip(positions, nlls, strict=True):
        if nll > axes.get_ylim()[1]:
            above[position].append(nll)
    if not above:
        return
    edge = axes.get_xaxis_transform()
    together = [nll for here in above.values() for nll in here]
    label = f"{len(together)} above: {_range(together)}"
    axes.plot(list(above), [0.93] * len(above), "^", color="tab:blue", transform=edge, label=label)
    for position, here in above.items() if numbered else ():
        axes.text(position, 0.905, _range(here), transform=edge, ha="center", va="top", fontsize=8)


def heat_map(x_key: str, y_key: str, jobs: Sequence[Job]) -> Figure:
    """Return the picture of the NLL against a pair of swept keys.

    It is a grid of cells with the median of each; where the values are those of a search, a point a job.

    Args:
        x_key: the key along the horizontal axis.
        y_key: the key along the vertical axis.
        jobs: those that lack a value of either, or have not ended, are left out.
    """
    finished, failed = _ended(jobs, x_key, y_key)
    x, y = (scale_of(key, [job.differs[key] for job in (*finished, *failed)]) for key in (x_key, y_key))
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    if x.continuous or y.continuous:
        figure.set_size_inches(8, 6)
        nlls, what = _draw_points(axes, x, y, finished, failed), f"{_split(finished)} NLL"
    else:
        figure.set_size_inches(min(16, max(6, 3 + 0.8 * len(x.values))), min(14, max(4, 2 + 0.55 * len(y.values))))
        nlls, what = _draw_cells(axes, x, y, finished, failed), f"median {_split(finished)} NLL"
    axes.set_title(f"{what}, {_counted(finished)}")
    top = highest_shown(nlls)
    if math.isfinite(top):
        extend = "max" if max(nlls) > top else "neither"
        colours = ScalarMappable(_norm(nlls), _COLOURS)
        figure.colorbar(colours, ax=axes, extend=extend, label="nats a character")
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _draw_cells(axes: Axes, x: Scale, y: Scale, finished: Sequence[Job], failed: Sequence[Job]) -> list[float]:
    """Draw a cell for each pair of values, the best outlined; return the medians."""

    def cell(job: Job) -> tuple[int, int]:
        return x.values.index(spelt(job.differs[x.key])), y.values.index(spelt(job.differs[y.key]))

    medians = _medians((cell(job), job.nll) for job in finished)
    failures = Counter(map(cell, failed))
    norm = _norm(list(medians.values()))
    best = min(medians, key=medians.__getitem__, default=None)
    for column, row in product(range(len(x.values)), range(len(y.values))):
        nll, count = medians.get((column, row)), failures[column, row]
        red, green, blue, _ = colour = (0.9, 0.9, 0.9, 1.0) if nll is None else _COLOURS(norm(nll))
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor="white"))
        lines = [*([] if nll is None else [_number(nll)]), *([f"{count} failed"] if count else [])]
        ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
        if len(x.values) <= _NUMBERS:
            axes.text(column, row, "\n".join(lines) or "-", ha="center", va="center", color=ink, fontsize=9)
    if best is not None and math.isfinite(medians[best]):
        corner = (best[0] - 0.46, best[1] - 0.46)
        label = f"best: {_number(medians[best])}"
        axes.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, edgecolor=_BEST, linewidth=2.5, label=label))
    axes.set(
        xlabel=literal(x.key),
        ylabel=literal(y.key),
        xlim=(-0.5, len(x.values) - 0.5),
        ylim=(-0.5, len(y.values) - 0.5),
    )
    mark(axes, "x", x.values, range(len(x.values)))
    mark(axes, "y", y.values, range(len(y.values)))
    return list(medians.values())


def _draw_points(axes: Axes, x: Scale, y: Scale, finished: Sequence[Job], failed: Sequence[Job]) -> list[float]:
    """Draw a point a job, the best ringed; return the NLLs."""

    def places(jobs: Sequence[Job]) -> tuple[list[float], list[float]]:
        return [x.position(job.differs[x.key]) for job in jobs], [y.position(job.differs[y.key]) for job in jobs]

    nlls = [job.nll for job in finished]
    # the best on top
    colours = [_COLOURS(_norm(nlls)(nll)) for nll in reversed(nlls)]
    axes.scatter(*places(finished[::-1]), c=colours, s=45, edgecolors="0.3", linewidths=0.5)
    if failed:
        axes.plot(*places(failed), "x", color="black", label=f"{len(failed)} failed")
    if finished:
        ring, label = places(finished[:1]), f"best: {_number(nlls[0])}"
        axes.plot(*ring, "o", color=_BEST, fillstyle="none", markersize=15, markeredgewidth=2, label=label)
    x.draw(axes, "x")
    y.draw(axes, "y")
    axes.margins(0.08)
    axes.grid(alpha=0.3)
    return nlls


def _ended(jobs: Sequence[Job], *keys: str) -> tuple[list[Job], list[Job]]:
    """Return the jobs that finished, the best first, and those that failed, which have all the keys."""
    ordered = [job for job in sorted_jobs(jobs) if all(key in job.differs for key in keys)]
    finished = [job for job in ordered if job.status == "finished" and job.objective is not None]
    return finished, [job for job in ordered if job.status == "failed"]


def _medians(nlls: Iterable[tuple[Place, float]]) -> dict[Place, float]:
    """Return the median at each place, the places ascending."""
    at = defaultdict(list)
    for place, nll in nlls:
        at[place].append(nll)
    return {place: median(at[place]) for place in sorted(at)}


def _norm(nlls: Sequence[float]) -> Normalize:
    """Return how colours are given to NLLs: from the best to the highest that is shown to scale."""
    top = highest_shown(nlls)
    return Normalize(min(nlls), top, clip=True) if math.isfinite(top) else Normalize(0, 1, clip=True)


def _alike_but_for(key: str, jobs: Sequence[Job]) -> bool:
    others = [{other: value for other, value in job.differs.items() if other != key} for job in jobs]
    return all(other == others[0] for other in others)


def _split(jobs: Sequence[Job]) -> str:
    return "validation" if any("val" in job.nlls for job in jobs) else "training"


def _counted(jobs: Sequence[Job]) -> str:
    return f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"


def _number(nll: float) -> str:
    return f"{nll:.4f}" if nll < 10 else f"{nll:.1f}"


def _range(nlls: Sequence[float]) -> str:
    low, high = f"{min(nlls):.4g}", f"{max(nlls):.4g}"
    return low if low == high else f"{low} to {high}"
