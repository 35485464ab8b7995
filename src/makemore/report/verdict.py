"""Whether more training would help, in a sentence, from the end of a run's curves and the gap between its splits.

The slope is that of a straight line through the last third of the curve of validation, or of minibatches where there
are fewer than two validations. A fall of less than `NOTICEABLE` over a third of the run counts as none; one within two
standard errors of none is not known, unless these are less than that. The slope says little where the schedule has
lowered the rate to nearly 0, which flattens any curve.
"""

from collections.abc import Mapping

import numpy as np

from makemore.inference.likelihood import NLL
from makemore.pictures.curves import Curve, Curves

# nats a character: about what two seeds differ by
NOTICEABLE = 0.005
# nats a character by which the training split is below validation where a model memorises
LARGE_GAP = 0.1
# the share of its highest value to which a schedule has lowered the rate where a run can learn no more
_SPENT = 0.1


def verdict(curves: Curves, nlls: Mapping[str, NLL]) -> str:
    """Return the sentence, from the curves of a run and its exact final NLLs by split."""
    validated = len(curves.get("val/nll", ([], []))[0]) >= 2
    curve, what = (curves["val/nll"], "validation") if validated else (curves.get("train/nll", ([], [])), "minibatch")
    if len(curve[0]) < (2 if validated else 10):
        return "Whether more training would help cannot be said: there are too few points in its curve."
    fall, error = _fall(curve)
    lowest = int(np.argmin(curve[1]))
    risen = curve[1][-1] - curve[1][lowest]
    # one validation that is worse may be chance
    if validated and risen > 2 * NOTICEABLE and curve[1][-2] - curve[1][lowest] > NOTICEABLE:
        at = f"step {curve[0][lowest]:,.0f}"
        return f"More training would not help: validation NLL was lowest at {at} and has risen by {risen:.4f} since."
    if abs(fall) < 2 * error > NOTICEABLE:
        return (
            f"Whether more training would help cannot be said: {what} NLL is too noisy; a lower val_every would tell."
        )
    falling = fall > NOTICEABLE
    seen = f"{what} NLL {f'still fell by {fall:.4f}' if falling else 'hardly fell'} in the last third of the steps"
    rates = curves.get("lr", ([], []))[1]
    if rates and rates[-1] < _SPENT * max(rates):
        answer = "Resuming would not help, as the schedule has ended; a new and longer run might"
        seen += ", in part because the rate fell" if falling else ""
    else:
        answer = "More training would probably help" if falling else "More training would hardly help"
    return f"{answer}: {seen}{_gap(nlls)}."


def _fall(curve: Curve) -> tuple[float, float]:
    """Return by how much a curve falls in a third of its steps, by a line through its end, and the standard error."""
    steps, nlls = map(np.asarray, curve)
    third = steps[-1] / 3
    # from the point before, as few validations may lie close together at the end
    begin = int(np.searchsorted(steps, steps[-1] - third, "right")) - 1
    tail = len(steps) - min(max(begin, 0), len(steps) - 2)
    x, y = (steps[-tail:] - steps[-tail:].mean()) / third, nlls[-tail:]
    slope = float(x @ y / (x @ x))
    # one degree of freedom tells nothing of the noise
    noise = float(np.square(y - y.mean() - slope * x).sum() / (tail - 2)) if tail > 3 else 0.0
    return -slope, float(np.sqrt(noise / (x @ x)))


def _gap(nlls: Mapping[str, NLL]) -> str:
    if not {"train", "val"} <= nlls.keys():
        return ""
    gap = nlls["val"].nats - nlls["train"].nats
    if not gap > LARGE_GAP:
        return f", and the training split is {gap:.4f} below validation" if gap > 0 else ""
    return (
        f", but the training split is {gap:.4f} below validation: it memorises, so try dropout or weight decay first"
    )
