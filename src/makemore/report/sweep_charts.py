"""Interactive charts of swept keys, by plotly: the NLL by one key, and by all keys. NLLs are in nats a character."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from makemore.overrides import shown
from makemore.pictures.axes import Scale, highest_shown, scale_of
from makemore.pictures.style import ACCENT, GREY
from makemore.report.job_comparison import compared_split, medians, other_keys_differ
from makemore.report.page import Chart
from makemore.report.run_charts import MAX_RUNS, NLL_TITLE, escape_html, label, styled
from makemore.sweeps.records import Job, Reference
from makemore.sweeps.table import known_figure

# the most values that have a tick each
_MAX_LABELS = 9
# of a label, as a share of an axis of the parallel coordinates
_LABEL_HEIGHT = 0.055


def nll_range(jobs: Sequence[Job]) -> tuple[float, float]:
    """Return the range of the NLLs to show, with room, which charts share; the jobs have finished or were pruned."""
    low, top = min(nll for job in jobs for nll in job.nlls.values()), highest_shown([job.nll for job in jobs])
    height = (top - low) or 0.1
    return low - 0.06 * height, top + 0.1 * height


def key_chart(
    key: str,
    jobs: Sequence[Job],
    nll_range: tuple[float, float],
    reference: Reference | None = None,
    pruned: Sequence[Job] = (),
) -> Chart:
    """Return the chart of the NLL by a swept key, with known figures and their metric where there is a reference.

    The jobs are finished, the best first, each with the key and a finite NLL; pruned ones have that of fewer steps.
    """
    scale = scale_of(key, [job.differs[key] for job in (*jobs, *pruned)])
    # plotly has no axis for 0 beside a logarithm
    by_name = scale.kind in ("category", "symlog")

    def place(value: Any) -> Any:
        return label(shown(value)) if by_name else scale.position(value)

    nlls = [job.nll for job in jobs]
    figure = go.Figure()

    def add(
        name: str, values: Sequence[float | None], opacity: float = 1.0, of: Sequence[Job] = jobs, /, **marker: Any
    ) -> None:
        of = of[: len(values)]
        hover = {"text": [_describe(job) for job in of], "hovertemplate": "%{y:.7f}<br>%{text}"}
        look = {"mode": "markers", "marker": marker, "opacity": opacity}
        figure.add_scatter(x=[place(job.differs[key]) for job in of], y=values, name=name, **look, **hover)

    if pruned:
        add("pruned", [job.nll for job in pruned], 0.5, pruned, color=GREY, symbol="x-thin-open", size=7)
    dash = {"symbol": "line-ew-open"}
    if compared_split(jobs) == "validation":
        train = [job.nlls.get("train", math.nan) for job in jobs]
        add("training", train, 1.0, color=GREY, size=14, line={"width": 2}, **dash)
    add(compared_split(jobs), nlls, 0.7, color=ACCENT, size=8)
    found = medians((scale.position(job.differs[key]), job.nll) for job in jobs)
    are_medians = len(found) < len(jobs) and not scale.continuous
    if are_medians or (scale.kind != "category" and not other_keys_differ(key, jobs)):
        at = {scale.position(value): place(value) for value in scale.values}
        mode = "markers" if scale.kind == "category" else "lines"
        look = {"mode": mode, "marker": {"color": ACCENT, "size": 30} | dash, "line": {"color": ACCENT, "width": 1.5}}
        named = {"name": "median", "showlegend": are_medians, "hoverinfo": None if are_medians else "skip"}
        figure.add_scatter(x=[at[position] for position in found], y=list(found.values()), **named, **look)
    if reference is not None:
        ours = [job.last.get(reference.metric) for job in jobs]
        add(escape_html(reference.metric), ours, color=GREY, symbol="square-open", size=9)
        theirs = [known_figure(reference, job) for job in jobs]
        add(escape_html(reference.title), theirs, color=GREY, symbol="diamond", size=9)
    add("best", nlls[:1], color=ACCENT, symbol="star", size=16, line={"color": "white", "width": 1})
    if by_name:
        figure.update_xaxes(type="category", categoryorder="array", categoryarray=[place(v) for v in scale.values])
    else:
        # plotly would write 0.0008 as 800µ
        figure.update_xaxes(type=scale.kind, tickformat="~g")
        if len(scale.values) <= _MAX_LABELS:
            ticks = list(map(scale.position, scale.values))
            figure.update_xaxes(tickvals=ticks, ticktext=[shown(value) for value in scale.values])
    low, high = nll_range
    above = sum(job.nll > high for job in (*jobs, *pruned))
    pruned_too = f" and {len(pruned):,} pruned" if pruned else ""
    figure.update_yaxes(range=[low, high])
    styled(figure, xaxis_title=escape_html(key), yaxis_title=NLL_TITLE)
    lie = (
        "lies above the range; double-click to show it"
        if above == 1
        else "lie above the range; double-click to show them"
    )
    note = f" {above:,} {lie}." if above else ""
    return Chart(f"NLL by {key}, {len(jobs):,} jobs{pruned_too}.{note}", figure, height=380)


def parallel_coordinates(keys: Sequence[str], jobs: Sequence[Job]) -> Chart:
    """Return the chart of a line for each job through its value of each key to its NLL.

    The best is thick; the higher the NLL, the greyer. NLLs too high to be shown to scale are at the upper edge. The
    jobs are finished, the best first, each with a finite NLL, of which MAX_RUNS are drawn; without a value of a key, a
    line is broken.
    """
    every, jobs = len(jobs), jobs[:MAX_RUNS]
    top, best = highest_shown([job.nll for job in jobs]), jobs[0].nll
    spread = (top - best) or 1
    scales = [scale_of(key, [job.differs[key] for job in jobs if key in job.differs]) for key in keys]
    heights = [min((job.nll - best) / spread, 1.0) for job in jobs]
    colours = sample_colorscale([ACCENT, GREY], heights)
    others = {"line_width": 1.2, "opacity": 0.5}
    lines = []
    for job, nll, colour in zip(jobs, heights, colours, strict=True):
        places = [_height(scale, job.differs[scale.key]) if scale.key in job.differs else None for scale in scales]
        look = {"line": {"color": ACCENT, "width": 4}} if job is jobs[0] else {"line_color": colour} | others
        hover = {"meta": [f"NLL {job.nll:.7f}<br>{_describe(job)}"], "hovertemplate": "%{meta[0]}<extra></extra>"}
        lines.append(go.Scatter(x=list(range(len(keys) + 1)), y=[*places, nll], mode="lines", **look, **hover))
    # the best on top; all in one call, as each call copies the figure
    figure = go.Figure(lines[::-1])
    for index in range(len(keys) + 1):
        figure.add_vline(index, line={"color": "gray", "width": 1})
    for index, scale in enumerate(scales):
        _add_labels(figure, index, [(_height(scale, value), label(shown(value))) for value in scale.values])
    above = "≥ " if jobs[-1].nll > top else ""
    marks = [(share, f"{above if share == 1 else ''}{best + share * spread:.4f}") for share in (0, 0.25, 0.5, 0.75, 1)]
    _add_labels(figure, len(keys), marks)
    names = [*(label(key) for key in keys), "NLL"]
    styled(figure, showlegend=False, margin={"l": 12, "r": 12, "t": 36, "b": 44})
    ticks = {"tickvals": list(range(len(names))), "ticktext": names}
    figure.update_xaxes(ticks, range=[-0.4, len(keys) + 0.2], showgrid=False)
    figure.update_yaxes(visible=False, range=[-0.06, 1.06])
    of_all = f"the best {len(jobs):,} of {every:,}" if every > MAX_RUNS else f"{len(jobs):,}"
    return Chart(f"A line for each of {of_all} jobs, through its values to its NLL; the best is thick.", figure)


def _add_labels(figure: go.Figure, axis: int, labels: Sequence[tuple[float, str]]) -> None:
    """Label heights of an axis, ascending, but for those that would cover the label below."""
    # on a ground, as lines cross it; the page has colours of its own for both
    look = {"bgcolor": "rgba(255,255,255,0.85)", "font": {"size": 11, "color": "#1c1e21"}, "borderpad": 0}
    below = -math.inf
    for height, text in labels:
        if height - below >= _LABEL_HEIGHT:
            figure.add_annotation(x=axis, y=height, text=text, showarrow=False, xanchor="right", xshift=-4, **look)
            below = height


def _height(scale: Scale, value: Any) -> float:
    """Return the height of a value on its axis, from 0 to 1."""
    if scale.kind == "symlog":
        # 0 has no logarithm: values are at equal distances
        return scale.index(value) / (len(scale.values) - 1)
    low, position, high = (scale.position(each) for each in (scale.values[0], value, scale.values[-1]))
    if scale.kind == "log":
        low, position, high = math.log(low), math.log(position), math.log(high)
    return 0.5 if high == low else (position - low) / (high - low)


def _describe(job: Job) -> str:
    """Return the values of a job's keys, a line for each, or its name."""
    lines = [f"{key}={shown(value)}" for key, value in job.differs.items()] or [job.name]
    return "<br>".join(map(escape_html, lines))
