"""Training curves as numbers: read from `metrics.csv`, smoothed, and the suggestion of a learning-rate range test."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
# steps and values
Curve = tuple[list[float], list[float]]
# by the name of a column, such as "train/nll"
Curves = dict[str, Curve]


def read_curves(path: Path) -> Curves:
    """Return the curves of a run's `metrics.csv`, without empty cells and values that are not finite."""
    curves: Curves = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                if name != "step" and text and math.isfinite(value := float(text)):
                    steps, values = curves.setdefault(name, ([], []))
                    steps.append(int(row["step"]))
                    values.append(value)
    return curves


def smoothed(values: Sequence[float]) -> Array:
    """Return centred moving means over a fortieth of the values to each side, at most 500; fewer at the ends.

    Of 20 values and more it is at least two to each side: a run of 1,500 steps logs 30.
    """
    reach = min(max(len(values) // 40, 2 if len(values) >= 20 else 0), 500)
    if reach == 0:
        return np.asarray(values, dtype=np.float64)
    window = np.ones(2 * reach + 1)
    means: Array = np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")
    return means


def suggested_rate(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return the learning rate at which the smoothed loss of a range test has made 99% of its fall.

    The end of the fall is the upper bound of Smith (2017), "Cyclical Learning Rates for Training Neural Networks",
    section 3.3, and what the lesson reads off its curve (L2). The steepest point, which Lightning's `lr_find` takes,
    is of no use here: from the lessons' initial weights the loss falls fastest at the first rates, whatever they are.

    Rates are ascending, losses in nats a character; those from the first that is not finite do not count. None where
    the loss does not fall.
    """
    finite = np.isfinite(losses)
    known = smoothed(losses[: len(losses) if finite.all() else int(np.argmin(finite))])
    if len(known) == 0 or (fall := known[0] - known.min()) <= 0:
        return None
    return float(rates[int(np.argmax(known <= known.min() + 0.01 * fall))])
