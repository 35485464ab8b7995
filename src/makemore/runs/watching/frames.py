"""Points that TensorBoard's charts have beside those of other loggers, so that no curve leaves a chart's frame.

The page leaves the twentieths of a chart's points that are highest and lowest out of its frame. Lines at the ends of
what a chart shows, with a point wherever its curves have one, are more than a twentieth beside up to 17 curves of a
run, in a sweep too.
"""

import math
from collections.abc import Callable, Sequence
from statistics import median_low

# log10 of ratios of update to weight over the weight matrices, as in the lecture, and lines to compare them with
_CURVES: dict[str, Callable[[Sequence[float]], float]] = {"largest": max, "median": median_low, "smallest": min}
_LINES = {"1": 1.0, "0.001": 0.001, "0.000001": 0.000001}
UPDATES = tuple(f"log10_update/{name}" for name in (*_CURVES, *_LINES))


def share_lines(group: str) -> dict[str, float]:
    """Return the lines of a chart of shares, whose tags are in a group."""
    return {f"{group}/none": 0.0, f"{group}/all": 1.0}


def update_points(ratios: Sequence[float]) -> dict[str, float]:
    """Return the points of the chart of updates for the ratios of the weight matrices, at least one.

    A ratio beyond the outermost lines has no point.
    """
    curves = [take(ratios) for take in _CURVES.values()]
    points = zip(UPDATES, [*curves, *_LINES.values()], strict=True)
    return {tag: math.log10(ratio) for tag, ratio in points if min(_LINES.values()) <= ratio <= max(_LINES.values())}
