"""Charts of what was swept: the NLL against a key, and all keys beside each other. NLLs are in nats a character."""

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from makemore.overrides import shown, spelt
from makemore.pictures.axes import Scale, highest_shown, scale_of
from makemore.report.run_charts import BLUE, GREEN, ORANGE, RED, literal, short, styled
from makemore.sweeps.records import Job, Reference
from makemore.sweeps.table import known_figure

# Labels beside an axis of the parallel coordinates.
_LABELS = 9


def response(key: str, jobs: Sequence[Job], reference: Reference | None = None) -> tuple[go.Figure, int]:
    """Return the NLL against a swept key, and how many jobs lie above what is shown at first.

    Args:
        key: it.
        jobs: that have finished, the best first, each with the key and a finite NLL.
        reference: known figures, to be shown with the metric that they belong beside.
    """
    scale = scale_of(key, [job.differs[key] for job in jobs])
    # there is no axis with a 0 beside a logarithm: few values stand side by side
    named = scale.kind in ("category", "symlog")

    def place(value: Any) -> Any:
        return short(shown(value)) if named else scale.position(value)

    figure = go.Figure()
    places, nlls = [place(job.differs[key]) for job in jobs], [job.nll for job in jobs]
    texts = [_told(job) for job in jobs]
    looks: dict[str, Any] = {"mode": "markers", "text": texts, "hovertemplate": "%{y:.7f}<br>%{text}"}
    if any("val" in job.nlls for job in jobs):
        train = [job.nlls.get("train", math.nan) for job in jobs]
        marker = {"color": ORANGE, "symbol": "line-ew-open", "size": 14, "line": {"width": 2}}
        figure.add_scatter(x=places, y=train, name="training", marker=marker, opacity=0.6, **looks)
    name = "validation" if any("val" in job.nlls for job in jobs) else "training"
    figure.add_scatter(x=places, y=nlls, name=name, marker={"color": BLUE, "size": 8}, opacity=0.7, **looks)
    if not scale.continuous:
        at = defaultdict(list)
        for job in jobs:
            at[scale.position(job.differs[key])].append(job)
        x = [place(at[position][0].differs[key]) for position in sorted(at)]
        y = [median(job.nll for job in at[position]) for position in sorted(at)]
        mode = "markers" if scale.kind == "category" else "lines"
        marker = {"color": BLUE, "symbol": "line-ew-open", "size": 30}
        figure.add_scatter(x=x, y=y, name="median", mode=mode, marker=marker, line={"color": BLUE, "width": 1.5})
    if reference is not None:
        ours: list[float | None] = [job.last.get(reference.metric) for job in jobs]
        theirs = [known_figure(reference, job) for job in jobs]
        for what, figures, symbol in ((reference.metric, ours, "square-open"), (reference.title, theirs, "diamond")):
            marker = {"color": GREEN, "symbol": symbol, "size": 9}
            figure.add_scatter(x=places, y=figures, name=literal(what), marker=marker, **looks)
    marker = {"color": RED, "symbol": "star", "size": 15, "line": {"color": "white", "width": 1}}
    figure.add_scatter(x=places[:1], y=nlls[:1], name="best", marker=marker, **(looks | {"text": texts[:1]}))
    if named:
        figure.update_xaxes(type="category", categoryorder="array", categoryarray=[place(v) for v in scale.values])
    else:
        figure.update_xaxes(type=scale.kind)
    top = highest_shown(nlls)
    height = (top - nlls[0]) or 0.1
    above = sum(nll > top for nll in nlls)
    if above:
        low = min(nll for job in jobs for nll in job.nlls.values())
        figure.update_yaxes(range=[low - 0.06 * height, top + 0.1 * height])
    figure.update_xaxes(title=literal(key))
    figure.update_yaxes(title="NLL (nats a character)")
    figure.update_layout(hovermode="closest")
    return styled(figure), above


def parallel(keys: Sequence[str], jobs: Sequence[Job]) -> go.Figure:
    """Return a line a job through its value of each key to its NLL, the best in red; the higher the NLL the lighter.

    NLLs that would squash the others are drawn at the upper edge.

    Args:
        keys: at least one, which differ.
        jobs: that have finished, the best first, each with a finite NLL; where one has no value of a key, its line
            is broken.
    """
    top, best = highest_shown([job.nll for job in jobs]), jobs[0].nll
    scales = [scale_of(key, [job.differs[key] for job in jobs if key in job.differs]) for key in keys]
    heights = [min((job.nll - best) / ((top - best) or 1), 1.0) for job in jobs]
    colours = sample_colorscale("viridis", [0.9 * height for height in heights])
    lines = [
        go.Scatter(
            x=list(range(len(keys) + 1)),
            y=[
                *(_height(axis, job.differs[axis.key]) if axis.key in job.differs else None for axis in scales),
                height,
            ],
            mode="lines",
            line={"color": RED, "width": 4} if job is jobs[0] else {"color": colour, "width": 1.2},
            opacity=1 if job is jobs[0] else 0.6,
            meta=[f"NLL {job.nll:.7f}<br>{_told(job)}"],
            hovertemplate="%{meta[0]}<extra></extra>",
        )
        for job, height, colour in zip(jobs, heights, colours, strict=True)
    ]
    # all at once, as a figure copies what it has for each that is added
    figure = go.Figure(lines[::-1])
    for place, scale in enumerate(scales):
        figure.add_vline(place, line={"color": "gray", "width": 1})
        few = np.unique(np.linspace(0, len(scale.values) - 1, min(_LABELS, len(scale.values))).round().astype(int))
        for value in [scale.values[index] for index in few]:
            _label(figure, place, _height(scale, value), short(shown(value)))
    figure.add_vline(len(keys), line={"color": "gray", "width": 1})
    for share in np.linspace(0, 1, 5).tolist():
        nll = best + share * ((top - best) or 1)
        above = "≥ " if share == 1 and jobs[-1].nll > top else ""
        _label(figure, len(keys), share, f"{above}{nll:.4f}")
    names = [*(short(key) for key in keys), "NLL"]
    figure.update_layout(showlegend=False, hovermode="closest")
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=names, range=[-0.4, len(keys) + 0.2])
    figure.update_yaxes(visible=False, range=[-0.06, 1.06])
    styled(figure)
    return figure.update_xaxes(showgrid=False).update_layout(margin={"l": 12, "r": 12})


def _label(figure: go.Figure, place: int, height: float, text: str) -> None:
    # as ink on paper, on a dark page too, where lines cross it
    look = {"bgcolor": "rgba(255,255,255,0.75)", "font": {"size": 11, "color": "#1c1e21"}, "borderpad": 0}
    figure.add_annotation(x=place, y=height, text=text, showarrow=False, xanchor="right", xshift=-4, **look)


def _height(scale: Scale, value: Any) -> float:
    """Return how high a value lies on its axis, from 0 to 1."""
    if scale.kind == "symlog":
        # 0 has no logarithm: the values stand at equal distances
        return scale.values.index(spelt(value)) / (len(scale.values) - 1)
    low, position, high = (scale.position(each) for each in (scale.values[0], value, scale.values[-1]))
    if scale.kind == "log":
        low, position, high = math.log(low), math.log(position), math.log(high)
    return 0.5 if high == low else (position - low) / (high - low)


def _told(job: Job) -> str:
    """Return what a job is known by, a line a key."""
    return "<br>".join(literal(f"{key}={shown(value)}") for key, value in job.differs.items()) or literal(job.name)
