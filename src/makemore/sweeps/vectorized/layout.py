"""In which row of the stacked tensors each member of a group is.

On the CPU the last bits of a product depend on where its factors begin in memory, to 64 bytes, and on how many threads
divide it. So a member has a row of its own modulo 16 (float32 numbers are 4 bytes), whoever else is left of its group
when a sweep goes on, and each of torch's threads gets as many rows. The rows between are copies that nobody sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

# rows of float32 numbers after which every size begins at a multiple of 64 bytes
PERIOD = 16


@dataclass(frozen=True)
class Layout:
    """The rows of N members.

    Args:
        own: of each member, ascending.
        total: of the stack, N or more.
    """

    own: list[int]
    total: int

    def spread(self, values: Sequence[T]) -> list[T]:
        """Return one of N values a row: the member's own, or that of the first member in a row that is nobody's."""
        spread = [values[0]] * self.total
        for row, value in zip(self.own, values, strict=True):
            spread[row] = value
        return spread


def layout_of(places: Sequence[int], threads: int) -> Layout:
    """Return the rows of members with these places in their group, ascending, where so many threads share the work."""
    own: list[int] = []
    for place in places:
        row = own[-1] + 1 if own else 0
        own.append(row + (place - row) % PERIOD)
    return Layout(own, -(-(own[-1] + 1) // threads) * threads)
