"""Checks the charts of training: which points they have, and what they are laid over by."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore.report import run_charts

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


@given(VALUES, st.integers(4, 50))
def test_no_peak_is_lost_where_points_are_left_out(values: list[float], most: int) -> None:
    places = run_charts.kept(values, most)
    assert len(places) <= most
    assert list(places) == sorted(set(places))
    assert {0, len(values) - 1} <= set(places)
    drawn = np.asarray(values)[places]
    assert (drawn.min(), drawn.max()) == (min(values), max(values))
    assert run_charts.left_out([(values, values)], most) == len(values) - len(places)


@given(VALUES)
def test_all_of_a_short_curve_is_drawn(values: list[float]) -> None:
    assert list(run_charts.kept(values, len(values))) == list(range(len(values)))


def test_a_run_has_its_curves_and_its_rate() -> None:
    steps = [0.0, 10.0, 20.0]
    figure = run_charts.training(
        {"train/nll": (steps, [3.0, 2.0, 1.0]), "val/nll": (steps, [3, 2, 2]), "lr": (steps, [1, 1, 0])}
    )
    assert figure is not None
    assert [trace.name for trace in figure.data] == ["minibatch", "minibatch, smoothed", "validation", "learning rate"]
    assert list(figure.data[0].x) == steps
    assert list(figure.data[0].y) == [3.0, 2.0, 1.0]
    assert figure.data[3].yaxis == "y2"


def test_without_losses_there_is_no_chart() -> None:
    assert run_charts.training({}) is None
    assert run_charts.training({"lr": ([0], [0.1])}) is None
    assert run_charts.together([]) is None


def test_a_long_run_says_how_much_is_left_out() -> None:
    steps = list(range(50_000))
    figure = run_charts.training({"train/nll": (steps, [1 / (1 + step) for step in steps])})
    assert figure is not None
    assert all(len(trace.x) <= run_charts.POINTS for trace in figure.data)
    assert run_charts.left_out([(steps, steps)]) >= 50_000 - run_charts.POINTS
    assert run_charts.thinned(0) == ""
    assert "46,000 points are left out" in run_charts.thinned(46_000)


def test_runs_are_compared_by_validation_where_there_is_a_curve_of_it() -> None:
    train = ([0.0, 1.0], [3.0, 2.0])
    what, curves = run_charts.compared(
        [("a", {"train/nll": train, "val/nll": ([1, 2], [3, 2])}), ("b", {"train/nll": train})]
    )
    assert (what, [name for name, _ in curves]) == ("validation", ["a"])
    what, curves = run_charts.compared(
        [("a", {"train/nll": train, "val/nll": ([2], [2])}), ("b", {"train/nll": train})]
    )
    assert (what, [name for name, _ in curves]) == ("minibatches, smoothed", ["a", "b"])
    assert run_charts.compared([("a", {})])[1] == []


@pytest.mark.parametrize("count", [2, 200])
def test_many_curves_are_one_trace_each_the_best_on_top(count: int) -> None:
    steps = list(range(2000))
    runs = [(f"<b>{number}</b>", (steps, [number + 1 / (1 + step) for step in steps])) for number in range(count)]
    figure = run_charts.together(runs)
    assert figure is not None
    assert len(figure.data) == count
    assert figure.data[-1].meta[0] == "&lt;b&gt;0&lt;/b&gt;"
    assert sum(len(trace.x) for trace in figure.data) <= 60_000
    assert figure.layout.showlegend is (count == 2)


def test_a_run_that_diverged_does_not_squash_the_others() -> None:
    good, bad = ([0.0, 1.0], [3.0, 2.0]), ([0.0, 1.0], [3.0, 1e9])
    figure = run_charts.together([("a", good), ("b", bad)])
    assert figure is not None
    low, high = figure.layout.yaxis.range
    assert low < 2
    assert high == 3.5
    alone = run_charts.together([("a", good)])
    assert alone is not None
    assert alone.layout.yaxis.range is None


def test_texts_are_shown_as_they_are() -> None:
    assert run_charts.literal("<a href='x'>&amp;</a>") == "&lt;a href='x'&gt;&amp;amp;&lt;/a&gt;"
    assert len(run_charts.short("x" * 200)) < 40
    assert math.isclose(run_charts.share(3), run_charts.POINTS)
