"""Checks the charts of training: which points they have, and what they are laid over by."""

import re

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore.inference.likelihood import NLL
from makemore.inference.reference import ReferenceRow
from makemore.report import run_charts
from makemore.report.page import Chart

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


def figure_of(chart: Chart | None) -> go.Figure:
    assert chart is not None
    return chart.figure


@given(VALUES, st.integers(4, 50))
def test_no_peak_is_lost_where_points_are_left_out(values: list[float], most: int) -> None:
    places = run_charts.drawn_points(values, most)
    assert len(places) <= most
    assert list(places) == sorted(set(places))
    assert {0, len(values) - 1} <= set(places)
    drawn = np.asarray(values)[places]
    assert (drawn.min(), drawn.max()) == (min(values), max(values))
    omitted = len(values) - len(places)
    note = run_charts.omission_note([(values, values)], most)
    assert note.startswith(f" {omitted} points are omitted") if omitted else note == ""


@given(VALUES)
def test_all_of_a_short_curve_is_drawn(values: list[float]) -> None:
    assert list(run_charts.drawn_points(values, len(values))) == list(range(len(values)))


def test_a_run_has_its_curves_and_its_rate() -> None:
    steps = [0.0, 10.0, 20.0]
    curves = {"train/nll": (steps, [3.0, 2.0, 1.0]), "val/nll": (steps, [3, 2, 2]), "lr": (steps, [1, 1, 0])}
    figure = figure_of(run_charts.training_chart("a", curves))
    assert [trace.name for trace in figure.data] == ["minibatch", "minibatch, smoothed", "validation", "learning rate"]
    assert list(figure.data[0].x) == steps
    assert list(figure.data[0].y) == [3.0, 2.0, 1.0]
    assert figure.data[3].yaxis == "y2"


def test_the_reference_row_is_a_dashed_line_where_there_is_a_validation_split() -> None:
    curves = {"train/nll": ([0.0, 10.0], [3.0, 2.0]), "val/nll": ([5.0, 15.0], [3.0, 2.0])}
    row = ReferenceRow(5, {"train": NLL(1.5, 1), "val": NLL(4.0, 2)}, 0.1)
    *_, line = figure_of(run_charts.training_chart("a", curves, row)).data
    assert (list(line.x), list(line.y), line.line.dash) == ([0.0, 15.0], [2.0, 2.0], "dash")
    without = ReferenceRow(5, {"train": NLL(1.5, 1)}, 0.1)
    assert len(figure_of(run_charts.training_chart("a", curves, without)).data) == 3


def test_without_losses_there_is_no_chart() -> None:
    assert run_charts.training_chart("a", {}) is None
    assert run_charts.training_chart("a", {"lr": ([0], [0.1])}) is None
    assert run_charts.comparison_chart([], 0) is None
    assert run_charts.comparison_chart([("a", {})], 1) is None


def test_a_long_run_says_how_much_is_left_out() -> None:
    steps = list(range(50_000))
    chart = run_charts.training_chart("a", {"train/nll": (steps, [1 / (1 + step) for step in steps])})
    assert all(len(trace.x) <= run_charts.MAX_POINTS for trace in figure_of(chart).data)
    assert chart is not None
    (omitted,) = re.findall(r"([\d,]+) points are omitted", chart.caption)
    assert int(omitted.replace(",", "")) >= 50_000 - run_charts.MAX_POINTS


def test_runs_are_compared_by_validation_where_there_is_a_curve_of_it() -> None:
    train = ([0.0, 1.0], [3.0, 2.0])
    chart = run_charts.comparison_chart(
        [("a", {"train/nll": train, "val/nll": ([1, 2], [3, 2])}), ("b", {"train/nll": train})], 2
    )
    assert [trace.name for trace in figure_of(chart).data] == ["a"]
    assert chart is not None
    assert chart.caption.startswith("Validation NLL of 1 runs")
    assert chart.caption.endswith(" 1 more have none.")
    chart = run_charts.comparison_chart(
        [("a", {"train/nll": train, "val/nll": ([2], [2])}), ("b", {"train/nll": train})], 2
    )
    assert [trace.name for trace in figure_of(chart).data] == ["b", "a"]
    assert chart is not None
    assert chart.caption.startswith("Minibatch NLL, smoothed, of 2 runs")


def test_the_caption_says_that_only_the_best_are_drawn() -> None:
    curve = {"val/nll": ([1.0, 2.0], [3.0, 2.0])}
    chart = run_charts.comparison_chart([("a", curve), ("b", curve)], 10_000)
    assert chart is not None
    assert chart.caption.startswith("Validation NLL of the best 2 of 10,000 runs")


@pytest.mark.parametrize("count", [2, 200])
def test_many_curves_are_one_trace_each_the_best_on_top(count: int) -> None:
    steps = list(range(2000))
    curves = [{"train/nll": (steps, [number + 1 / (1 + step) for step in steps])} for number in range(count)]
    figure = figure_of(
        run_charts.comparison_chart([(f"<b>{n}</b>", each) for n, each in enumerate(curves)], len(curves))
    )
    assert len(figure.data) == count
    assert figure.data[-1].meta[0] == "&lt;b&gt;0&lt;/b&gt;"
    assert sum(len(trace.x) for trace in figure.data) == (4000 if count == 2 else pytest.approx(60_000, rel=0.05))
    assert figure.layout.showlegend is (count == 2)


def test_a_run_that_diverged_does_not_squash_the_others() -> None:
    good, bad = {"train/nll": ([0.0, 1.0], [3.0, 2.0])}, {"train/nll": ([0.0, 1.0], [3.0, 1e9])}
    low, high = figure_of(run_charts.comparison_chart([("a", good), ("b", bad)], 2)).layout.yaxis.range
    assert low < 2
    assert high == 3.5
    assert figure_of(run_charts.comparison_chart([("a", good)], 1)).layout.yaxis.range is None


def test_texts_are_shown_as_they_are() -> None:
    assert run_charts.escape_html("<a href='x'>&amp;</a>") == "&lt;a href='x'&gt;&amp;amp;&lt;/a&gt;"
    assert len(run_charts.label("x" * 200)) < 40
