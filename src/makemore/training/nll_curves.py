"""The NLL curves that TensorBoard's first charts show: readable without a setting, and never out of the frame.

The page leaves the twentieths of a chart's points that are highest and lowest out of its frame. So the lowest line of
both charts is the training NLL of counting, below which a model is only when it knows its text by heart, and points
above the NLL of the uniform distribution are left out, whose line is the top of the chart of the whole run. In that of
its later part, the first and the last point of a curve are given several times, at the steps just before, which is not
seen; in a sweep, where that would not do, its top is the NLL of counting pairs, above which points are left out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# the curves, and the beginning of their names in the chart of the later part
TRAINING, VALIDATION = "nll/training", "nll/validation"
COUNTING, COUNTING_TRAINING = "nll/counting alone", "nll/counting, on training"
PAIRS, NOTHING = "nll/counting pairs", "nll/knowing nothing"
LATER = "later_"
# the share of a run that comes before its later part
_EARLIER = 4
# the running mean is over about this share of the rows so far, so that long runs are smooth and short ones quick
_SHARE = 8

# steps, names and values
Points = list[tuple[int, str, float]]


@dataclass(frozen=True)
class Baselines:
    """The lines that the curves of a run are compared with, and its plan."""

    counting: float | None  # validation NLL of counting alone, nats a character, if there is a validation split
    counting_training: float  # training NLL of counting alone
    nothing: float  # NLL of the uniform distribution
    max_steps: int
    val_every: int
    pairs: float | None = None  # validation NLL of counting pairs of characters, for a job of a sweep

    @property
    def highest_later(self) -> float:
        """The NLL above which the later part has no points."""
        if self.counting is None or self.pairs is None:
            return self.nothing
        return min(max(self.counting, self.pairs), self.nothing)

    def later_steps(self, step: int) -> range:
        """Return the steps at which the point of a validation is given in the later part; none before that part."""
        begins = self.max_steps // _EARLIER
        if step < begins:
            return range(0)
        is_end = step - self.val_every < begins or step == self.max_steps
        # more than a twentieth of the three curves' points
        more = min(math.ceil(self.max_steps / self.val_every / 5), self.val_every - 1) if is_end else 0
        return range(max(step - more, 0), step + 1)


class NllCurves:
    """Makes the points of the curves from the rows of a run; its state is the running mean of the training NLL."""

    def __init__(self, baselines: Baselines) -> None:
        self.baselines = baselines
        self.rows, self.mean = 0, 0.0
        # a validation and a minibatch may have rows of the same step
        self.counted_at = -1

    def points(self, step: int, row: Mapping[str, float]) -> tuple[Points, Points]:
        """Return the points that a row adds to the curves of training and to those of validation, steps ascending."""
        training: Points = []
        validation: Points = []
        lines = self.baselines
        counting = [] if lines.counting is None else [lines.counting]
        if "train/nll" in row:
            self.rows += 1
            self.mean += (row["train/nll"] - self.mean) / max(1, self.rows / _SHARE)
            training += [(step, TRAINING, self.mean), (step, NOTHING, lines.nothing)]
            training += [(step, COUNTING_TRAINING, lines.counting_training)]
        if "val/nll" in row:
            later = lines.later_steps(step)
            closer = [(each, LATER + TRAINING, self.mean) for each in later if self.rows]
            closer += [(step, LATER + COUNTING_TRAINING, lines.counting_training)] if later else []
            training = closer + training
            validation += [(each, LATER + VALIDATION, row["val/nll"]) for each in later]
            if later:
                validation += [(step, LATER + COUNTING, nll) for nll in counting]
                validation += [] if lines.pairs is None else [(step, LATER + PAIRS, lines.pairs)]
            validation += [(step, VALIDATION, row["val/nll"])]
        if step != self.counted_at and ("val/nll" in row or "train/nll" in row):
            self.counted_at = step
            validation += [(step, COUNTING, nll) for nll in counting]
        return self._shown(training), self._shown(validation)

    def _shown(self, points: Points) -> Points:
        lines = self.baselines
        return [point for point in points if point[2] <= (lines.highest_later if LATER in point[1] else lines.nothing)]

    def state_dict(self) -> dict[str, Any]:
        """Return the running mean, and the last step of the line of counting."""
        return {"rows": self.rows, "mean": self.mean, "counted_at": self.counted_at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore those of the resumed run."""
        self.rows, self.mean, self.counted_at = state["rows"], state["mean"], state["counted_at"]
