"""Axes of sweep pictures: the scale and the ticks of a swept key, and the highest NLL that is shown to scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.scale import SymmetricalLogScale
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from makemore.overrides import Value, shown, spelt

ScaleKind = Literal["linear", "log", "symlog", "category"]

# the most values that have a tick each
_MAX_TICKS = 12
# inches that a label takes: the width of a character, the height of a line
_CHARACTER_WIDTH, _LINE_HEIGHT = 0.08, 0.2
# the least ratio of the ends of a logarithmic axis, short of rounding errors
_DECADE = 10 * (1 - 1e-9)


@dataclass(frozen=True)
class Scale:
    """The axis of a swept key, with its distinct values, ascending, numbers before text.

    "log" is for positive numbers over a decade or more, "symlog" where a 0 is among them; the axis is continuous where
    nearly each job has a value of its own, as in a search.
    """

    key: str
    values: list[Value]
    kind: ScaleKind
    continuous: bool

    def index(self, value: Any) -> int:
        """Return the index of a value among the distinct ones."""
        return self.values.index(spelt(value))

    def position(self, value: Any) -> float:
        """Return the coordinate of a value: its index among categories, else the number itself."""
        return float(self.index(value) if self.kind == "category" else spelt(value))

    def draw(self, axes: Axes, which: Literal["x", "y"]) -> None:
        """Label and scale an axis, with a tick at each value where there are few."""
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_label_text(escape_mathtext(self.key))
        if self.kind == "symlog":
            smallest = min(value for value in map(self.position, self.values) if value > 0)
            axes.set(**{f"{which}scale": SymmetricalLogScale(axis, linthresh=smallest)})
        elif self.kind == "log":
            axes.set(**{f"{which}scale": "log"})
            axis.set_major_locator(LogLocator(subs=(1, 3)))
        if self.kind == "category" or len(self.values) <= _MAX_TICKS:
            set_ticks(axes, which, self.values, [self.position(value) for value in self.values])
        elif self.kind != "linear":
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_formatter(NullFormatter())


def scale_of(key: str, values: Sequence[Any]) -> Scale:
    """Return the axis for the values of a key in jobs."""
    distinct = sorted(set(map(spelt, values)), key=lambda value: (isinstance(value, str), value))
    numbers = [value for value in distinct if not isinstance(value, str)]
    if len(numbers) < len(distinct):
        return Scale(key, distinct, "category", continuous=False)
    continuous = len(numbers) > max(6, len(values) / 2)
    positive = [number for number in numbers if number > 0]
    if min(numbers) < 0 or not positive or max(positive) / min(positive) < _DECADE:
        return Scale(key, distinct, "linear", continuous)
    return Scale(key, distinct, "log" if min(numbers) > 0 else "symlog", continuous)


def set_ticks(axes: Axes, which: Literal["x", "y"], values: Sequence[Value], positions: Sequence[float]) -> None:
    """Put a labelled tick at each value, but for those whose label would cover the one before."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    labels = [escape_mathtext(shortened(shown(value), 24)) for value in values]
    places = axis.get_transform().transform(np.asarray(positions, dtype=float))
    longest = _CHARACTER_WIDTH * (max(map(len, labels)) + 1)
    inches = (axes.bbox.width if which == "x" else axes.bbox.height) / axes.figure.dpi
    # text is slanted rather than left out
    slanted = which == "x" and len(labels) * longest > inches and isinstance(values[-1], str)
    room = (_LINE_HEIGHT if slanted or which == "y" else longest) / inches * (places[-1] - places[0])
    kept = [0]
    for index in range(1, len(places)):
        if places[index] - places[kept[-1]] >= room:
            kept.append(index)
    look: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axis.set_ticks([positions[index] for index in kept], labels=[labels[index] for index in kept], **look)
    axis.set_minor_locator(NullLocator())


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters, cut after its first third."""
    return text if len(text) <= most else f"{text[: most // 3]}…{text[most // 3 + 1 - most :]}"


def escape_mathtext(text: str) -> str:
    """Return a text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


def highest_shown(nlls: Sequence[float]) -> float:
    """Return the highest NLL (nats a character) that is shown to scale; inf where none is finite.

    A diverged run must not squash the differences between the others: an NLL is beyond the scale where its distance
    to the best is more than 1.5 nats (an untrained model is 1.3 above a good one) and more than five times that of
    the lower quartile.
    """
    finite = sorted(nll for nll in nlls if math.isfinite(nll))
    if not finite:
        return math.inf
    best, quartile = finite[0], finite[(len(finite) - 1) // 4]
    return max(nll for nll in finite if nll - best <= max(1.5, 5 * (quartile - best)))
