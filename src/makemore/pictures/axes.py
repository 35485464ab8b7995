"""How the values of a swept key lie on an axis, and how much of the NLLs a picture shows to scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.scale import SymmetricalLogScale
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from makemore.overrides import Value, shown, spelt

Kind = Literal["linear", "log", "symlog", "category"]

# a picture has room for as many ticks
_TICKS = 12
# of a label, in inches
_LETTER, _LINE = 0.08, 0.2
_DECADE = 10 * (1 - 1e-9)


@dataclass(frozen=True)
class Scale:
    """An axis for the values of a key.

    Args:
        key: it.
        values: the distinct ones, ascending, numbers before text.
        kind: a logarithmic axis needs a decade of positive numbers; "symlog" has room for a 0 beside them.
        continuous: whether nearly each job has a value of its own, as in a search.
    """

    key: str
    values: list[Value]
    kind: Kind
    continuous: bool

    def position(self, value: Any) -> float:
        """Return where a value lies: itself, or its number among the categories."""
        plain = spelt(value)
        return float(self.values.index(plain) if self.kind == "category" else plain)

    def draw(self, axes: Axes, which: Literal["x", "y"]) -> None:
        """Name an axis, scale it and mark the values where they are few."""
        axis = axes.xaxis if which == "x" else axes.yaxis
        axes.set(**{f"{which}label": literal(self.key)})
        if self.kind == "symlog":
            smallest = min(value for value in map(self.position, self.values) if value > 0)
            axes.set(**{f"{which}scale": SymmetricalLogScale(axis, linthresh=smallest)})
        elif self.kind == "log":
            axes.set(**{f"{which}scale": "log"})
            axis.set_major_locator(LogLocator(subs=(1, 3)))
        if self.kind == "category" or len(self.values) <= _TICKS:
            mark(axes, which, self.values, [self.position(value) for value in self.values])
        elif self.kind != "linear":
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_formatter(NullFormatter())


def scale_of(key: str, values: Sequence[Any]) -> Scale:
    """Return the axis for the values that a key has in jobs."""
    distinct = sorted(set(map(spelt, values)), key=lambda value: (isinstance(value, str), value))
    numbers = [value for value in distinct if not isinstance(value, str)]
    continuous = len(numbers) == len(distinct) > max(6, len(values) / 2)
    return Scale(key, distinct, _kind(numbers) if len(numbers) == len(distinct) else "category", continuous)


def _kind(numbers: Sequence[float]) -> Kind:
    positive = [number for number in numbers if number > 0]
    if min(numbers) < 0 or not positive or max(positive) / min(positive) < _DECADE:
        return "linear"
    return "log" if min(numbers) > 0 else "symlog"


def mark(axes: Axes, which: Literal["x", "y"], values: Sequence[Value], positions: Sequence[float]) -> None:
    """Put a tick at each of the values that has room for its label."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    names = [_short(shown(value)) for value in values]
    places = axis.get_transform().transform(np.asarray(positions, dtype=float))
    longest = _LETTER * (max(map(len, names)) + 1)
    inches = (axes.bbox.width if which == "x" else axes.bbox.height) / axes.figure.dpi
    # numbers may be left out, names should not
    slanted = which == "x" and len(names) * longest > inches and isinstance(values[-1], str)
    room = (_LINE if slanted or which == "y" else longest) / inches * (places[-1] - places[0])
    kept = [0]
    for index in range(1, len(places)):
        if places[index] - places[kept[-1]] >= room:
            kept.append(index)
    axis.set_ticks([positions[index] for index in kept], labels=[names[index] for index in kept])
    axis.set_minor_locator(NullLocator())
    if slanted:
        axes.tick_params("x", rotation=30)
        for label in axes.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")


def _short(name: str) -> str:
    return literal(name if len(name) <= 24 else f"{name[:8]}…{name[-15:]}")


def literal(text: str) -> str:
    """Return a text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def highest_shown(nlls: Sequence[float]) -> float:
    """Return the largest of the NLLs (nats a character) that a picture shows to scale; inf where none is finite.

    A run that diverged must not squash the differences between the others: left out is what is further from the best
    than 1.5 nats (an untrained model is 1.3 above a good one) and than five times the lower quartile.
    """
    finite = sorted(nll for nll in nlls if math.isfinite(nll))
    if not finite:
        return math.inf
    best, quartile = finite[0], finite[(len(finite) - 1) // 4]
    return max(nll for nll in finite if nll - best <= max(1.5, 5 * (quartile - best)))
