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


def test_the_rows_of_what_is_left_are_as_few_as_the_period_allows() -> None:
    assert layout_of([3, 4, 35, 99], threads=1) == Layout([3, 4, 19, 35], 36)
    assert layout_of([3, 4, 35, 99], threads=1, period=2) == Layout([1, 0, 3, 5], 6)
    assert layout_of([3, 4, 35, 99], threads=2, period=1) == Layout([0, 1, 2, 3], 4)


def test_with_the_size_of_the_group_each_of_its_places_has_a_row() -> None:
    assert layout_of([3, 17], threads=2, whole=19) == Layout([3, 17], 20)


@given(
    places=st.sets(st.integers(0, 500), min_size=1).map(sorted),
    threads=st.integers(1, 9),
    period=st.sampled_from([1, 2, 4, 8, PERIOD]),
)
def test_each_member_has_its_row_and_each_thread_as_many(places: list[int], threads: int, period: int) -> None:
    layout = layout_of(places, threads, period)
    assert len(set(layout.own)) == len(places)
    assert [row % period for row in layout.own] == [place % period for place in places]
    assert layout.total % threads == 0
    assert max(layout.own) < layout.total <= max(layout.own) + threads
    # never more than with all members that there may have been
    assert all(row <= place for row, place in zip(layout.own, places, strict=True))
