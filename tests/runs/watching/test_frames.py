"""Checks the charts of updates and shares: logarithms by hand, and that no curve leaves the frame."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore.runs.watching.frames import UPDATES, share_lines, update_points


def test_updates_are_powers_of_ten() -> None:
    points = update_points([0.01, 0.1, 0.0001])
    assert points == {
        "log10_update/largest": pytest.approx(-1),
        "log10_update/median": pytest.approx(-2),
        "log10_update/smallest": pytest.approx(-4),
        "log10_update/1": 0,
        "log10_update/0.001": pytest.approx(-3),
        "log10_update/0.000001": pytest.approx(-6),
    }
    assert tuple(points) == UPDATES


def test_a_ratio_beyond_the_lines_has_no_point() -> None:
    lines = {"log10_update/1", "log10_update/0.001", "log10_update/0.000001"}
    assert set(update_points([0.0])) == lines
    assert set(update_points([math.nan, math.nan])) == lines
    assert set(update_points([0.01, 1.5, math.inf])) == lines | {"log10_update/smallest"}


def assert_whole(values: list[float]) -> None:
    """What the page does with a chart's points leaves none of them out."""
    low, high = np.quantile(values, (0.05, 0.95))
    assert max(values) <= high + 0.05 * (high - low)
    assert min(values) >= low - 0.05 * (high - low)


@given(jobs=st.lists(st.lists(st.lists(st.floats(0, 10), min_size=1), min_size=2), min_size=1))
def test_no_curve_of_updates_leaves_the_frame(jobs: list[list[list[float]]]) -> None:
    assert_whole([value for job in jobs for ratios in job for value in update_points(ratios).values()])


@given(rows=st.lists(st.lists(st.floats(0, 1), min_size=6, max_size=6), min_size=2))
def test_no_curve_of_shares_leaves_the_frame(rows: list[list[float]]) -> None:
    # six curves, as of so many layers
    assert_whole([value for row in rows for value in (*row, *share_lines("saturated").values())])
