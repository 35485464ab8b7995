"""Assign the members of a group to rows of the stacked tensors.

On the CPU the last bits of a product depend on the alignment of its factors to 64 bytes, and on the number of threads
that share it. So a member keeps its row modulo 16 (float32 numbers are 4 bytes), or modulo the rows after which the
factors of its network are aligned as before (see `alignment.py`), whichever members of its group a resumed sweep still
has, and all threads get the same number of rows. The rows between are unused copies.

What a compiler makes of a step depends on the number of rows. So compiled steps have all rows of the group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

# rows of float32 numbers after which every size begins at a multiple of 64 bytes
PERIOD = 16


@dataclass(frozen=True)
class Layout:
    """The rows of N members."""

    own: list[int]  # the row of each member
    total: int  # rows of the stack, N or more

    def spread(self, values: Sequence[T]) -> list[T]:
        """Return the values of N members by row; unused rows have that of the first member."""
        spread = [values[0]] * self.total
        for row, value in zip(self.own, values, strict=True):
            spread[row] = value
        return spread


def layout_of(places: Sequence[int], threads: int, period: int = PERIOD, whole: int | None = None) -> Layout:
    """Return the rows of members with the given places in their group, ascending, for a number of threads.

    A row is the place modulo `period`, which divides PERIOD. With the size of the whole group, each place has a row.
    """
    if whole is not None:
        return Layout(list(places), _rounded_up(whole, threads))
    own: list[int] = []
    free = list(range(period))  # the next row of each remainder
    for place in places:
        own.append(free[place % period])
        free[place % period] += period
    return Layout(own, _rounded_up(max(own) + 1, threads))


def _rounded_up(rows: int, threads: int) -> int:
    return -(-rows // threads) * threads
