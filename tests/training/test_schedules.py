"""Checks the learning-rate schedules by hand: at which step the rate changes, and to what."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from makemore.errors import UserError
from makemore.training.schedules import Schedule, constant, cosine, exponential_ramp, step_decay


@pytest.mark.parametrize("step", [0, 1, 10**9])
def test_constant_leaves_the_rate_alone(step: int) -> None:
    assert constant()(step) == 1


def test_a_milestone_is_the_first_step_with_the_new_rate() -> None:
    factor = step_decay([20_000, 28_000], gamma=0.1)
    steps = [0, 19_999, 20_000, 20_001, 27_999, 28_000, 30_000]
    assert [factor(step) for step in steps] == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize(
    ("milestones", "gamma", "factors"),
    [
        ([], 0.1, [1, 1, 1, 1]),
        ([0], 0.5, [0.5, 0.5, 0.5, 0.5]),
        ([2, 2], 0.5, [1, 1, 0.25, 0.25]),
        ([1, 3], 2, [1, 2, 2, 4]),
        ([2], 0, [1, 1, 0, 0]),
    ],
)
def test_step_decay_of_the_first_four_steps(milestones: list[int], gamma: float, factors: list[float]) -> None:
    factor = step_decay(milestones, gamma)
    assert [factor(step) for step in range(4)] == factors


@given(
    milestones=st.lists(st.integers(0, 50), max_size=5).map(sorted),
    gamma=st.floats(0.01, 2),
)
def test_step_decay_multiplies_once_at_each_milestone(milestones: list[int], gamma: float) -> None:
    factor = step_decay(milestones, gamma)
    expected = 1.0
    for step in range(52):
        for _ in range(milestones.count(step)):
            expected *= gamma
        assert factor(step) == pytest.approx(expected)


def test_the_ramp_is_the_lessons_learning_rates() -> None:
    factor = exponential_ramp(-3, 0, 1000)
    lessons = (10 ** torch.linspace(-3, 0, 1000, dtype=torch.float64)).tolist()
    assert [factor(step) for step in range(1000)] == pytest.approx(lessons, rel=1e-12)


def test_the_ramp_stays_at_its_end() -> None:
    factor = exponential_ramp(-2, 1, 10)
    assert [factor(step) for step in (9, 10, 1000)] == pytest.approx([10, 10, 10])


def test_a_ramp_may_fall() -> None:
    factor = exponential_ramp(0, -2, 3)
    assert [factor(step) for step in range(4)] == pytest.approx([1, 0.1, 0.01, 0.01])


def test_the_cosine_rises_in_a_line_and_falls_as_half_a_wave() -> None:
    factor = cosine(warmup=0.2, total_steps=10, final=0.1)
    fallen = [0.1 + 0.9 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(9)]
    assert [factor(step) for step in range(11)] == pytest.approx([1 / 3, 2 / 3, *fallen])
    assert fallen[0] == 1
    # its last step is taken with a little more than the last rate, which it has from then on
    assert [factor(step) for step in (9, 10, 11, 1000)] == pytest.approx([fallen[7], 0.1, 0.1, 0.1])
    assert [cosine(0, 2)(step) for step in range(3)] == pytest.approx([1, 0.5, 0])
    assert cosine(0.99, 1)(0) > 0


@given(warmup=st.floats(0, 0.999), total=st.integers(1, 60), final=st.floats(0, 1))
def test_the_cosine_is_never_beyond_its_ends(warmup: float, total: int, final: float) -> None:
    factors = [cosine(warmup, total, final)(step) for step in range(total + 3)]
    top = factors.index(max(factors))
    assert factors[top] <= 1
    assert factors[:top] == sorted(factors[:top])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert factors[-1] == pytest.approx(final)


@pytest.mark.parametrize(
    "make", [constant, lambda: step_decay([3], 0.1), lambda: exponential_ramp(-3, 0, 9), lambda: cosine(0.2, 9)]
)
def test_a_schedule_has_no_state(make: Callable[[], Schedule]) -> None:
    factor = make()
    forwards = [factor(step) for step in range(12)]
    assert [factor(step) for step in reversed(range(12))] == forwards[::-1]


@pytest.mark.parametrize(
    ("milestones", "gamma", "message"),
    [
        ([20, 10], 0.1, r"scheduler\.milestones must ascend, not \[20, 10\]"),
        ([-1], 0.1, r"scheduler\.milestones must be at least 0"),
        ([0.5], 0.1, r"scheduler\.milestones must be a whole number"),
        (["10"], 0.1, r"scheduler\.milestones must be a whole number"),
        (10, 0.1, r"scheduler\.milestones must be a list of steps, not 10"),
        (None, 0.1, r"scheduler\.milestones must be a list of steps, not None"),
        ([10], -0.1, r"scheduler\.gamma must be at least 0"),
        ([10], math.nan, r"scheduler\.gamma must be a finite number"),
        ([10], None, r"scheduler\.gamma must be a finite number"),
    ],
)
def test_a_wrong_decay_is_a_user_error(milestones: list[int], gamma: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        step_decay(milestones, gamma)


@pytest.mark.parametrize(
    ("start", "end", "steps", "message"),
    [
        (math.inf, 0, 10, r"scheduler\.start_exponent must be a finite number"),
        (-3, "0", 10, r"scheduler\.end_exponent must be a finite number"),
        (-3, 0, 1, r"scheduler\.ramp_steps must be at least 2"),
        (-3, 0, 10.0, r"scheduler\.ramp_steps must be a whole number"),
    ],
)
def test_a_wrong_ramp_is_a_user_error(start: float, end: float, steps: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        exponential_ramp(start, end, steps)


@pytest.mark.parametrize(
    ("warmup", "total", "final", "message"),
    [
        (1, 10, 0, r"scheduler\.warmup must be below 1, not 1"),
        (-0.1, 10, 0, r"scheduler\.warmup must be at least 0"),
        (None, 10, 0, r"scheduler\.warmup must be a finite number"),
        (0.1, 0, 0, r"scheduler\.total_steps must be at least 1"),
        (0.1, 10.0, 0, r"scheduler\.total_steps must be a whole number"),
        (0.1, 10, -1, r"scheduler\.final must be at least 0"),
    ],
)
def test_a_wrong_cosine_is_a_user_error(warmup: float, total: int, final: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        cosine(warmup, total, final)


@pytest.mark.parametrize(
    ("make", "step", "key"),
    [
        (lambda: exponential_ramp(0, 400, 10), 9, "end_exponent"),
        (lambda: step_decay([1, 2], 1e200), 2, "gamma"),
    ],
    ids=["ramp", "decay"],
)
def test_a_factor_too_large_for_a_float_is_a_user_error(make: Callable[[], Schedule], step: int, key: str) -> None:
    with pytest.raises(UserError, match=rf"scheduler\.{key}"):
        make()(step)
