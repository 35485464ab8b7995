"""Interactive charts of training curves, by plotly. NLLs are in nats a character.

Lines are SVG: WebGL is not always there, and plotly's code for it needs a page that evaluates text as code. Texts are
escaped, as plotly reads them as HTML.
"""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from makemore.inference.reference import ReferenceRow
from makemore.pictures.axes import highest_shown, shortened
from makemore.pictures.curves import Curve, Curves, smoothed
from makemore.pictures.style import ACCENT, GREY
from makemore.report.page import Chart

NLL_TITLE = "NLL (nats a character)"
# the most points that a browser draws quickly: of a curve, and of all curves of a chart
MAX_POINTS = 4000
_MAX_POINTS_OF_ALL = 60_000
# in a chart with a line for each; a browser draws thousands slowly, and nobody can tell them apart
MAX_RUNS = 300
# the most curves that a legend has room for
_MAX_IN_LEGEND = 12
_HOVER = "%{meta[0]}<br>step %{x}: %{y:.5f}<extra></extra>"
_GRID = {"gridcolor": "rgba(128,128,128,0.3)", "zeroline": False, "automargin": True}


def training_chart(name: str, curves: Curves, reference: ReferenceRow | None = None) -> Chart | None:
    """Return the chart of a run's "train/nll", "val/nll" and "lr" by step; None where it has logged no NLL.

    A dashed line is the validation NLL of the reference row.
    """
    drawn = {key: curves[key] for key in ("train/nll", "val/nll", "lr") if key in curves}
    if not drawn.keys() - {"lr"}:
        return None
    rows = 2 if "lr" in drawn else 1
    figure = make_subplots(rows, 1, shared_xaxes=True, vertical_spacing=0.05, row_heights=[0.75, 0.25][:rows])

    def add(curve: Curve, name: str, mode: str = "lines", row: int = 1, **look: Any) -> None:
        figure.add_scatter(**_points(curve), name=name, mode=mode, row=row, col=1, **look)

    shown: list[float] = []
    if "train/nll" in drawn:
        steps, nlls = drawn["train/nll"]
        add((steps, nlls), "minibatch", opacity=0.4, line={"color": GREY, "width": 1})
        add((steps, means := smoothed(nlls).tolist()), "minibatch, smoothed", line={"color": GREY, "width": 2})
        shown += means[len(means) // 10 :]
    if "val/nll" in drawn:
        add(drawn["val/nll"], "validation", "lines+markers", marker_size=5, line={"color": ACCENT, "width": 2.5})
        shown += drawn["val/nll"][1]
    if reference is not None and "val" in reference.nlls:
        steps = [step for curve in drawn.values() for step in curve[0]]
        level = ([min(steps), max(steps)], [reference.nlls["val"].nats] * 2)
        add(level, "counting alone (Kneser-Ney), validation", line={"color": GREY, "width": 1.5, "dash": "dash"})
        shown.append(level[1][0])
    if "lr" in drawn:
        add(drawn["lr"], "learning rate", row=2, showlegend=False, line={"color": GREY, "shape": "hv"})
        figure.update_yaxes(title="rate", row=2, col=1, rangemode="tozero", tickformat="~g", nticks=3)
    # the fall of the first steps must not squash the rest
    low, high = min(shown), highest_shown(shown)
    room = 0.08 * (high - low) or 0.1
    figure.update_yaxes(title=NLL_TITLE, row=1, col=1, range=[low - room, high + room])
    figure.update_xaxes(title="step", row=rows, col=1)
    # the values of a step in both subplots, wherever the pointer is
    styled(figure, hovermode="x unified", hoversubplots="axis")
    note = " Higher values are above the range; double-click to show them."
    above = note if max(nll for key in drawn if key != "lr" for nll in drawn[key][1]) > high + room else ""
    return Chart(f"Training of {name}.{above}{omission_note(list(drawn.values()))}", figure, height=420)


def comparison_chart(runs: Sequence[tuple[str, Curves]], every: int) -> Chart | None:
    """Return the chart of the NLL curves of the best of `every` run, by name, the best first; None for no curve.

    Curves are of validation where a run has validated more than once, else of minibatches, smoothed. What lies far
    above the last values is outside the range at first.
    """
    split, curves = "Validation NLL", [(name, found["val/nll"]) for name, found in runs if "val/nll" in found]
    if not any(len(steps) > 1 for _, (steps, _) in curves):
        split, trained = "Minibatch NLL, smoothed,", [(n, f["train/nll"]) for n, f in runs if "train/nll" in f]
        curves = [(name, (steps, smoothed(nlls).tolist())) for name, (steps, nlls) in trained]
    if not curves:
        return None
    most = max(min(MAX_POINTS, _MAX_POINTS_OF_ALL // len(curves)), 20)
    colours = sample_colorscale([ACCENT, GREY], np.linspace(0, 1, len(curves)).tolist())
    lines: list[go.Scatter] = []
    for (name, curve), colour in zip(curves, colours, strict=True):
        texts = {"name": label(name), "meta": [escape_html(name)]}
        mode = "lines+markers" if len(curve[0]) <= 40 else "lines"
        look = {"line": {"color": colour, "width": 1.2 if lines else 3}, "hovertemplate": _HOVER}
        # a point alone is all that there is to see
        size = 4 if len(curve[0]) > 1 else 9
        lines.append(go.Scatter(**_points(curve, most), mode=mode, marker_size=size, **texts, **look))
    # the best on top; all in one call, as each call copies the figure
    figure = go.Figure(lines[::-1])
    last = [nlls[-1] for _, (_, nlls) in curves]
    # a diverged run must not squash the others; an untrained model is 1.3 above a good one
    top, low = max(highest_shown(last), min(last) + 1.5), min(min(nlls) for _, (_, nlls) in curves)
    if any(max(nlls) > top for _, (_, nlls) in curves):
        figure.update_yaxes(range=[low - 0.05 * (top - low), top])
    styled(figure, xaxis_title="step", yaxis_title=NLL_TITLE, legend_traceorder="reversed")
    figure.update_layout(showlegend=len(curves) <= _MAX_IN_LEGEND)
    missing = f" {len(runs) - len(curves):,} more have none." if len(curves) < len(runs) else ""
    of_all = f"the best {len(curves):,} of {every:,}" if every > len(runs) else f"{len(curves):,}"
    which = f"{split} of {of_all} runs, the best in blue; double-click to show all of it."
    return Chart(f"{which}{missing}{omission_note([curve for _, curve in curves], most)}", figure)


def omission_note(curves: Sequence[Curve], most: int = MAX_POINTS) -> str:
    """Return the sentence on the points that a chart omits, for its caption; empty where it shows all."""
    omitted = sum(len(steps) - len(drawn_points(values, most)) for steps, values in curves)
    return f" {omitted:,} points are omitted, but no lowest or highest of their stretch." if omitted else ""


def drawn_points(values: Sequence[float], most: int = MAX_POINTS) -> npt.NDArray[np.int64]:
    """Return the indices of the points of a curve to draw, at the `most` (4 or more) so many.

    These are all, or the first, the last, and the lowest and the highest of each stretch.
    """
    if len(values) <= most:
        return np.arange(len(values))
    stretches = np.array_split(np.asarray(values), (most - 2) // 2)
    starts = np.cumsum([0, *map(len, stretches[:-1])])
    lowest = starts + [int(stretch.argmin()) for stretch in stretches]
    highest = starts + [int(stretch.argmax()) for stretch in stretches]
    return np.unique(np.concatenate([[0, len(values) - 1], lowest, highest]))


def _points(curve: Curve, most: int = MAX_POINTS) -> dict[str, Any]:
    steps, values = curve
    indices = drawn_points(values, most)
    return {"x": np.asarray(steps)[indices], "y": np.asarray(values)[indices]}


def escape_html(text: str) -> str:
    """Return a text that plotly shows unchanged."""
    return html.escape(text, quote=False)


def label(text: str) -> str:
    """Return a text as a label of a legend or an axis: shortened and escaped."""
    return escape_html(shortened(text, 32))


def styled(figure: go.Figure, **layout: Any) -> go.Figure:
    """Apply the style of the report to a figure: transparent, the legend above, narrow margins; return the figure."""
    style = {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 13, "family": "system-ui, sans-serif"},
        "margin": {"l": 56, "r": 12, "t": 36, "b": 44},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "hoverlabel": {"namelength": -1, "bgcolor": "#fff", "font": {"color": "#1c1e21"}},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#888", "activecolor": ACCENT},
    }
    figure.update_layout(style | layout)
    return figure.update_xaxes(_GRID).update_yaxes(_GRID)
