"""Measure ours and a baseline in interleaved pairs, so that a machine that slows down slows both alike.

The ratio of a row is the median over its pairs of ours / baseline: both of a pair run in immediate succession, so
their ratio drifts less than either time. Which goes first alternates from pair to pair.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

# does some work once and returns its cost: seconds, seconds a step, seconds a name, gigabytes
Measurement = Callable[[], float]


@dataclass(frozen=True)
class Case:
    """A row of the table to be measured.

    Args:
        name: short, for `--only`.
        work: the work and its size.
        ours: measures ours.
        baseline: measures the baseline; None to report absolute values.
        at_most: the target for the ratio, or for the value where there is no baseline; None for no target.
        repeats: the number of pairs.
        unit: of the values, such as "s", "s/step" or "GB".
        prepare: builds the inputs of both sides before the first measurement.
    """

    name: str
    work: str
    ours: Measurement
    baseline: Measurement | None = None
    at_most: float | None = None
    repeats: int = 5
    unit: str = "s"
    prepare: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Row:
    """A measured row of the table.

    Args:
        name, work, at_most, unit: see `Case`.
        ours: our values, one a repeat.
        baseline: the baseline's values, pair by pair; None without a baseline.
    """

    name: str
    work: str
    unit: str
    at_most: float | None
    ours: list[float]
    baseline: list[float] | None

    @property
    def judged(self) -> list[float]:
        """The values the target applies to: ours / baseline of each pair, or ours without a baseline."""
        if self.baseline is None:
            return self.ours
        return [ours / baseline for ours, baseline in zip(self.ours, self.baseline, strict=True)]

    @property
    def ratio(self) -> float | None:
        """The median of ours / baseline over the pairs; None without a baseline."""
        return None if self.baseline is None else median(self.judged)

    @property
    def spread(self) -> tuple[float, float]:
        """The smallest and the largest of the judged values."""
        return min(self.judged), max(self.judged)

    @property
    def met(self) -> bool | None:
        """Whether the median of the judged values is within the target; None without a target."""
        return None if self.at_most is None else median(self.judged) <= self.at_most


def measure(case: Case) -> Row:
    """Measure baseline and ours in pairs of alternating order: A B, B A, A B ..."""
    case.prepare()
    ours: list[float] = []
    baseline: list[float] = []
    sides = [(case.ours, ours)] if case.baseline is None else [(case.baseline, baseline), (case.ours, ours)]
    for _ in range(case.repeats):
        for measurement, values in sides:
            values.append(measurement())
        sides.reverse()
    return Row(case.name, case.work, case.unit, case.at_most, ours, None if case.baseline is None else baseline)


def timed(work: Callable[[], object], units: int = 1, clock: Callable[[], float] = time.perf_counter) -> Measurement:
    """Measure `work`, in seconds divided by `units`, the amount of work that it does."""

    def seconds() -> float:
        # so that this side does not collect the garbage of the other
        gc.collect()
        started = clock()
        work()
        return (clock() - started) / units

    return seconds
