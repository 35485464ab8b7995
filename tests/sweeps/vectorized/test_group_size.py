"""Checks how many members a task of an engine gets, and what that is chosen by."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore.sweeps.vectorized.group_size import FILES, START, Cost, members_for


def test_the_cost_is_fitted_to_two_measurements() -> None:
    # a = 0.9 ms and b = 0.1 ms
    cost = Cost.of(steps=1000, one=1.0e-3, several=2.5e-3)
    assert cost.fixed == pytest.approx(START + 0.9)
    assert cost.member == pytest.approx(FILES + 0.1)
    # where the measurements are noise
    assert Cost.of(steps=1000, one=2e-3, several=1e-3) == Cost(START + 2.0, FILES)


@pytest.mark.parametrize(
    ("members", "workers", "chosen"),
    [
        (1000, 2, 500),  # a share
        (1000, 3, 334),
        (1000, 100, 20),  # no less, or start-up takes most of the time
        (1000, 10_000, 20),
        (8, 4, 8),
    ],
)
def test_a_task_gets_a_share_unless_that_were_mostly_start_up(members: int, workers: int, chosen: int) -> None:
    assert members_for(members, workers, Cost(fixed=10.0, member=0.5)) == chosen


@given(st.integers(1, 10_000), st.integers(1, 500), st.floats(START, 1e4), st.floats(FILES, 1e3))
def test_no_worker_is_left_idle_by_less_than_a_tasks_start(
    members: int, workers: int, fixed: float, member: float
) -> None:
    size = members_for(members, workers, Cost(fixed, member))
    assert 1 <= size <= members
    assert math.ceil(members / size) <= workers
    if math.ceil(members / size) < workers and size < members and size > math.ceil(members / workers):
        # one member less would be less than the start
        assert (size - 1) * member < fixed
