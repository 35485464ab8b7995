"""Checks how rows are measured and judged, with made-up measurements and a clock that is told what to say."""

from collections.abc import Callable, Iterator

import pytest

from benchmarks.measure import Case, Measurement, Row, measure, timed


def saying(values: list[float], calls: list[str], name: str) -> Measurement:
    """Return a measurement that gives `values` in order and writes its name into `calls`."""
    following: Iterator[float] = iter(values)

    def measurement() -> float:
        calls.append(name)
        return next(following)

    return measurement


def row(ours: list[float], baseline: list[float] | None, at_most: float | None = None) -> Row:
    return Row("name", "work", "s", at_most, ours, baseline)


def test_the_two_sides_take_turns_and_each_goes_first_in_turn() -> None:
    calls: list[str] = []
    case = Case(
        "name",
        "work",
        saying([1, 2, 3], calls, "ours"),
        saying([2, 2, 2], calls, "baseline"),
        repeats=3,
        prepare=lambda: calls.append("prepare"),
    )
    measured = measure(case)
    assert calls == ["prepare", "baseline", "ours", "ours", "baseline", "baseline", "ours"]
    assert (measured.ours, measured.baseline) == ([1, 2, 3], [2, 2, 2])


def test_a_row_without_a_baseline_measures_ours_alone() -> None:
    calls: list[str] = []
    measured = measure(Case("name", "work", saying([3, 5], calls, "ours"), at_most=4, repeats=2))
    assert calls == ["ours", "ours"]
    assert measured.baseline is None
    assert measured.ratio is None
    assert measured.spread == (3, 5)
    assert measured.met


def test_the_ratio_is_the_median_of_the_ratios_of_the_pairs() -> None:
    # a machine that becomes ten times slower halfway: the ratio of the medians would be 6 / 10
    measured = row([1, 6, 12], [2, 10, 30])
    assert measured.judged == [0.5, 0.6, 0.4]
    assert measured.ratio == 0.5
    assert measured.spread == (0.4, 0.6)


@pytest.mark.parametrize(("at_most", "met"), [(0.5, True), (0.49, False), (None, None)])
def test_a_target_is_met_by_a_ratio_that_is_no_larger(at_most: float | None, met: bool | None) -> None:
    assert row([1, 6, 12], [2, 10, 30], at_most).met is met


def test_a_missed_target_of_a_value_is_reported() -> None:
    assert row([61.0], None, 60).met is False


@pytest.mark.parametrize(("units", "seconds"), [(1, 6.0), (3, 2.0)])
def test_the_time_is_that_between_two_looks_at_the_clock_a_unit(units: int, seconds: float) -> None:
    done: list[str] = []
    times = iter([10.0, 16.0])
    clock: Callable[[], float] = lambda: next(times)  # noqa: E731
    assert timed(lambda: done.append("work"), units, clock)() == seconds
    assert done == ["work"]
