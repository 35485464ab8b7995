"""Charts of training that one can hover over and zoom into, as plotly figures. NLLs are in nats a character.

Lines are drawn as SVG, which needs no WebGL; plotly's code for WebGL also needs a page that runs text as code. Texts
are escaped, as plotly reads them as HTML of a kind.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from makemore.pictures.axes import highest_shown
from makemore.pictures.curves import smoothed

Series = tuple[Sequence[float], Sequence[float]]
Curves = Mapping[str, Series]

BLUE, ORANGE, GREEN, RED = "#1f77b4", "#e8710a", "#2ca02c", "#d62728"
# Points of a curve that a browser draws quickly, and of all curves of a chart.
POINTS = 4000
_ALL_POINTS = 60_000
# Curves that a legend has room for, and letters that it shows of each name.
_NAMED = 12
_LETTERS = 32
_GRID = "rgba(128,128,128,0.3)"
_NLL = "NLL (nats a character)"


def training(curves: Curves) -> go.Figure | None:
    """Return the NLL of minibatches and of validation and the learning rate against the step; None without any.

    Args:
        curves: steps and values, under "train/nll", "val/nll" and "lr" where there are any.
    """
    losses = [name for name in ("train/nll", "val/nll") if name in curves]
    if not losses:
        return None
    rows = 2 if "lr" in curves else 1
    figure = make_subplots(rows, 1, shared_xaxes=True, vertical_spacing=0.05, row_heights=[0.75, 0.25][:rows])
    if "train/nll" in curves:
        steps, nlls = curves["train/nll"]
        line = {"color": BLUE, "width": 1}
        figure.add_scatter(**_points(steps, nlls), name="minibatch", mode="lines", opacity=0.45, line=line)
        means = smoothed(nlls).tolist()
        line = {"color": BLUE, "width": 2}
        figure.add_scatter(**_points(steps, means), name="minibatch, smoothed", mode="lines", line=line)
    if "val/nll" in curves:
        line = {"color": ORANGE, "width": 2}
        figure.add_scatter(
            **_points(*curves["val/nll"]), name="validation", mode="lines+markers", marker_size=5, line=line
        )
    if "lr" in curves:
        figure.add_scatter(
            **_points(*curves["lr"]),
            row=2,
            col=1,
            mode="lines",
            name="learning rate",
            line={"color": GREEN, "shape": "hv"},
        )
        figure.update_yaxes(title="rate", row=2, col=1, rangemode="tozero")
    figure.update_yaxes(title=_NLL, row=1, col=1)
    figure.update_xaxes(title="step", row=rows, col=1)
    # all values of a step at once, wherever the pointer is
    figure.update_layout(hovermode="x unified", hoversubplots="axis")
    return styled(figure)


def together(runs: Sequence[tuple[str, Series]]) -> go.Figure | None:
    """Return the curves of several runs over each other, the best in the darkest colour; None where there is none.

    What lies far above the ends of the curves is not in sight at first.

    Args:
        runs: their names and curves, as from `compared`, the best first.
    """
    if not runs:
        return None
    most = share(len(runs))
    colours = sample_colorscale("viridis", np.linspace(0, 0.9, len(runs)).tolist())
    lines = [
        go.Scatter(
            **_points(steps, nlls, most),
            mode="lines+markers" if len(steps) <= POINTS // 100 else "lines",
            marker_size=4,
            line={"color": colour, "width": 1.5},
            name=short(name),
            meta=[literal(name)],
            hovertemplate="%{meta[0]}<br>step %{x}: %{y:.5f}<extra></extra>",
            opacity=0.8,
        )
        for (name, (steps, nlls)), colour in zip(runs, colours, strict=True)
    ]
    # the best on top; all at once, as a figure copies what it has for each that is added
    figure = go.Figure(lines[::-1])
    ends = [nlls[-1] for _, (_, nlls) in runs]
    # a run that diverged must not squash the others; an untrained model is 1.3 above a good one
    top, low = max(highest_shown(ends), min(ends) + 1.5), min(min(nlls) for _, (_, nlls) in runs)
    if any(max(nlls) > top for _, (_, nlls) in runs):
        figure.update_yaxes(range=[low - 0.05 * (top - low), top])
    figure.update_layout(showlegend=len(runs) <= _NAMED, legend_traceorder="reversed", hovermode="closest")
    figure.update_xaxes(title="step")
    figure.update_yaxes(title=_NLL)
    return styled(figure)


def left_out(series: Sequence[Series], most: int = POINTS) -> int:
    """Return how many points of some curves a chart does not show."""
    return sum(len(steps) - len(kept(values, most)) for steps, values in series)


def share(runs: int) -> int:
    """Return how many points each of several curves may have in one chart."""
    return max(min(POINTS, _ALL_POINTS // max(runs, 1)), 20)


def compared(runs: Sequence[tuple[str, Curves]]) -> tuple[str, list[tuple[str, Series]]]:
    """Return what runs are compared by, and the curves of those that have it.

    That is validation, where one run at least has seen it more than once, and smoothed minibatches otherwise.
    """
    validated = [(name, curves["val/nll"]) for name, curves in runs if "val/nll" in curves]
    if any(len(steps) > 1 for _, (steps, _) in validated):
        return "validation", validated
    trained = [(name, curves["train/nll"]) for name, curves in runs if "train/nll" in curves]
    return "minibatches, smoothed", [(name, (steps, smoothed(nlls).tolist())) for name, (steps, nlls) in trained]


def kept(values: Sequence[float], most: int = POINTS) -> npt.NDArray[np.int64]:
    """Return the places of the points of a curve to draw: all, or the lowest and the highest of each stretch.

    So no peak is lost. The first and the last point are always there.

    Args:
        values: of the curve, finite.
        most: how many points, at the least 4.
    """
    if len(values) <= most:
        return np.arange(len(values))
    stretches = np.array_split(np.asarray(values), (most - 2) // 2)
    starts = np.cumsum([0, *map(len, stretches[:-1])])
    lowest = starts + [int(stretch.argmin()) for stretch in stretches]
    highest = starts + [int(stretch.argmax()) for stretch in stretches]
    return np.unique(np.concatenate([[0, len(values) - 1], lowest, highest]))


def literal(text: str) -> str:
    """Return a text that plotly shows as it is."""
    return html.escape(text, quote=False)


def short(text: str) -> str:
    """Return as much of a text as a legend or an axis has room for, as plotly shows it."""
    return literal(text if len(text) <= _LETTERS else f"{text[: _LETTERS // 3]}…{text[-_LETTERS * 2 // 3 :]}")


def styled(figure: go.Figure) -> go.Figure:
    """Return a figure with the looks of the report: no background of its own, the legend above, narrow margins."""
    figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 13, "family": "system-ui, sans-serif"},
        margin={"l": 56, "r": 12, "t": 36, "b": 44},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        hoverlabel={"namelength": -1, "bgcolor": "#fff", "font": {"color": "#1c1e21"}},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#888", "activecolor": BLUE},
    )
    figure.update_xaxes(gridcolor=_GRID, zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor=_GRID, zeroline=False, automargin=True)
    return figure


def _points(steps: Sequence[float], values: Sequence[float], most: int = POINTS) -> dict[str, Any]:
    places = kept(values, most)
    return {"x": np.asarray(steps)[places], "y": np.asarray(values)[places]}


def thinned(left_out: int) -> str:
    """Return the sentence that a caption needs where points are left out."""
    if not left_out:
        return ""
    return f" {left_out:,} points are left out; the lowest and the highest of each stretch are there."
