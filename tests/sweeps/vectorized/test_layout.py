"""The rows of members: their own modulo 16, as many for each thread."""

from hypothesis import given
from hypothesis import strategies as st

from makemore.sweeps.vectorized.layout import PERIOD, Layout, layout_of


def test_members_that_are_all_there_have_the_rows_of_their_places() -> None:
    assert layout_of(range(5), threads=1) == Layout([0, 1, 2, 3, 4], 5)
    assert layout_of(range(5), threads=2) == Layout([0, 1, 2, 3, 4], 6)


def test_rows_between_are_copies_of_the_first_member() -> None:
    layout = layout_of([1, 3, 35], threads=1)
    assert layout == Layout([1, 3, 19], 20)
    spread = layout.spread(["a", "b", "c"])
    assert [spread[row] for row in layout.own] == ["a", "b", "c"]
    assert {spread[row] for row in set(range(20)) - {1, 3, 19}} == {"a"}


def test_with_the_size_of_the_group_each_of_its_places_has_a_row() -> None:
    assert layout_of([3, 17], threads=2, whole=19) == Layout([3, 17], 20)


@given(places=st.sets(st.integers(0, 500), min_size=1).map(sorted), threads=st.integers(1, 9))
def test_each_member_has_its_row_and_each_thread_as_many(places: list[int], threads: int) -> None:
    layout = layout_of(places, threads)
    assert layout.own == sorted(set(layout.own))
    assert [row % PERIOD for row in layout.own] == [place % PERIOD for place in places]
    assert layout.total % threads == 0
    assert layout.own[-1] < layout.total <= layout.own[-1] + threads
    # never more than with all members that there may have been
    assert all(row <= place for row, place in zip(layout.own, places, strict=True))
