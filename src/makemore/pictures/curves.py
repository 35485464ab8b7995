"""What the curves of a training run say, as numbers: smoothed, and the learning rate that a range test suggests."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Of all values, how many to each side a mean is taken over; and the most that is.
_PART, _FURTHEST = 40, 500
# The last part of a fall, which is as good as none.
_LAST_PART = 0.01


def smoothed(values: Sequence[float]) -> Array:
    """Return the mean of each value and of its neighbours, a fortieth of them all to each side; fewer at the ends.

    Where one of them is not finite, nor is the mean.
    """
    reach = min(len(values) // _PART, _FURTHEST)
    if reach == 0:
        return np.asarray(values, dtype=np.float64)
    window = np.ones(2 * reach + 1)
    means: Array = np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")
    return means


def suggested_rate(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return the learning rate at which the smoothed loss of a range test has made 99% of its fall.

    Beyond it a higher rate gains nothing: where the fall ends is the upper bound of Smith (2017), "Cyclical Learning
    Rates for Training Neural Networks", section 3.3, and what the lesson reads off its curve (L2). The steepest
    place, which Lightning's `lr_find` suggests, is of no use here: from the lessons' initial weights the loss falls
    fastest at once, at whatever rate comes first.

    Args:
        rates: ascending.
        losses: the minibatch NLL at each, in nats a character; those from the first that is not finite are left out.

    Returns:
        None where there is no fall.
    """
    finite = np.isfinite(losses)
    known = smoothed(losses[: len(losses) if finite.all() else int(np.argmin(finite))])
    if len(known) == 0 or (fall := known[0] - known.min()) <= 0:
        return None
    return float(rates[int(np.argmax(known <= known.min() + _LAST_PART * fall))])
