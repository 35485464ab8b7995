"""Checks what is read off the curves of training: smoothing, and the rate that a range test suggests."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore.pictures.curves import smoothed, suggested_rate


def test_a_mean_is_over_a_fortieth_to_each_side() -> None:
    values = np.random.default_rng(0).normal(size=100)
    expected = [values[max(0, place - 2) : place + 3].mean() for place in range(100)]
    assert smoothed(list(values)) == pytest.approx(expected)


@given(st.lists(st.floats(-1e6, 1e6), max_size=200))
def test_a_mean_lies_between_the_least_and_the_greatest(values: list[float]) -> None:
    means = smoothed(values)
    assert len(means) == len(values)
    if values:
        assert min(values) - 1e-6 <= means.min()
        assert means.max() <= max(values) + 1e-6


def test_the_curve_of_a_short_run_is_smoothed_too() -> None:
    assert smoothed([0.0, 1.0] * 15)[2:-2].tolist() == pytest.approx([0.4, 0.6] * 13)


def test_few_values_are_left_as_they_are() -> None:
    assert smoothed([3.0, math.inf, 1.0]).tolist() == [3.0, math.inf, 1.0]
    assert smoothed([]).tolist() == []


def test_an_explosion_is_not_seen_far_from_it() -> None:
    # sums that run over all values would lose the small ones beside 1e30
    values = [1e30, *[2.0] * 399]
    assert smoothed(values)[50:].tolist() == [2.0] * 350


def test_a_fall_that_ends_is_found() -> None:
    exponents = np.linspace(-3, 0, 1000)
    # falls until 10^-1.5, is level until 10^-0.5, and rises
    losses = np.interp(exponents, [-3, -1.5, -0.5, 0], [4.0, 2.0, 2.0, 9.0])
    noise = np.random.default_rng(0).normal(scale=0.05, size=1000)
    for found in (
        suggested_rate(list(10**exponents), list(losses)),
        suggested_rate(list(10**exponents), list(losses + noise)),
    ):
        assert found is not None
        assert math.log10(found) == pytest.approx(-1.5, abs=0.1)


@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(-5, 5))
def test_the_scale_of_the_losses_does_not_matter(seed: int, factor: float, shift: float) -> None:
    losses = np.random.default_rng(seed).normal(size=30)
    rates = [float(rate) for rate in range(1, 31)]
    assert suggested_rate(rates, list(losses * factor + shift)) == suggested_rate(rates, list(losses))


def test_what_comes_after_the_numbers_have_ended_does_not_count() -> None:
    assert suggested_rate([1, 2, 3, 4, 5], [5.0, 4.0, 3.0, math.nan, 0.0]) == 3
    assert suggested_rate([1, 2, 3, 4, 5], [5.0, 4.0, 3.0, math.inf, 0.0]) == 3


@pytest.mark.parametrize("losses", [[], [math.nan], [2.0], [2.0, 2.0], [1.0, 3.0], [math.inf, 1.0]])
def test_without_a_fall_there_is_nothing_to_suggest(losses: list[float]) -> None:
    assert suggested_rate([0.1 * place for place in range(len(losses))], losses) is None
