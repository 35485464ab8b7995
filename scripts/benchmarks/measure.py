"""Measuring one thing against another in turns, so that a machine that slows down slows both alike.

The ratio of a row is the median over its pairs of ours / baseline: the two of a pair run one right after the other, so
their ratio drifts less than either time. Which goes first alternates from pair to pair.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

# runs some work once and returns what it took, a unit of the work: seconds a step, seconds a name, gigabytes
Measurement = Callable[[], float]


@dataclass(frozen=True)
class Case:
    """A row of the table that is yet to be measured.

    Args:
        name: short, for `--only`.
        work: what is done, with its size.
        ours: measures ours.
        baseline: measures what ours is compared with; None where the value itself counts.
        at_most: the target, of the ratio or else of the value; None where there is none.
        repeats: how many pairs.
        unit: of the values: "s", "s/step", "GB" and the like.
        prepare: makes what both need, before anything is measured.
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
    """A row of the table.

    Args:
        name, work, at_most, unit: see `Case`.
        ours: the values, one a repeat.
        baseline: the values of what they are compared with, pair by pair; None where there is none.
    """

    name: str
    work: str
    unit: str
    at_most: float | None
    ours: list[float]
    baseline: list[float] | None

    @property
    def judged(self) -> list[float]:
        """What the target is for: ours / baseline of each pair, or our values where nothing is compared."""
        if self.baseline is None:
            return self.ours
        return [ours / baseline for ours, baseline in zip(self.ours, self.baseline, strict=True)]

    @property
    def ratio(self) -> float | None:
        """The median of ours / baseline over the pairs."""
        return None if self.baseline is None else median(self.judged)

    @property
    def spread(self) -> tuple[float, float]:
        """The smallest and the largest of what is judged."""
        return min(self.judged), max(self.judged)

    @property
    def met(self) -> bool | None:
        """Whether the median of what is judged is within the target; None without one."""
        return None if self.at_most is None else median(self.judged) <= self.at_most


def measure(case: Case) -> Row:
    """Measure baseline and ours in turns, the order alternating: A B, B A, A B ..."""
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
    """Return a measurement: the seconds that `work` takes, divided by the `units` of work that it does."""

    def seconds() -> float:
        # the rubbish of the other side is not for this one to clear away
        gc.collect()
        started = clock()
        work()
        return (clock() - started) / units

    return seconds
