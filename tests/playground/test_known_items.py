"""Checks the items of a text: membership, rank by NLL, the nearest by edits, and a text that is gone."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_models import NAMES, small_model

from makemore.playground import known_items
from makemore.playground.known_items import KnownItems, Rank, edit_distances


@pytest.fixture
def known(tmp_path: Path) -> KnownItems:
    found = KnownItems(small_model(tmp_path, "kneser_ney"))
    found.start()
    found.wait()
    return found


def slow_edit_distance(first: str, second: str) -> int:
    if not first or not second:
        return len(first) + len(second)
    return min(
        slow_edit_distance(first[1:], second[1:]) + (first[0] != second[0]),
        slow_edit_distance(first[1:], second) + 1,
        slow_edit_distance(first, second[1:]) + 1,
    )


@given(st.text("abé", max_size=4), st.integers(1, 4), st.data())
def test_edit_distances_are_levenshteins(word: str, length: int, data: st.DataObject) -> None:
    items = data.draw(st.lists(st.text("abé", min_size=length, max_size=length), min_size=1, max_size=4))
    codes = np.array(items).view(np.uint32).reshape(-1, length)
    assert edit_distances(word, codes).tolist() == [slow_edit_distance(word, item) for item in items]


def test_what_is_in_the_text(known: KnownItems) -> None:
    assert known.items == sorted(set(NAMES))
    assert all(name in known for name in NAMES)
    assert [word for word in ("", "an", "annas", "zzz") if word in known] == []


def test_the_rank_is_the_place_of_the_nll_among_those_of_the_items(known: KnownItems, tmp_path: Path) -> None:
    nlls = sorted(small_model(tmp_path, "kneser_ney").nll(sorted(set(NAMES))))
    assert known.nlls == pytest.approx(nlls)
    assert known.rank(nlls[0] - 0.01) == Rank(1, len(nlls))
    # as it is in its last digits, computed alone or beside others
    for difference in (-1e-6, -1e-9, 1e-9):
        assert known.rank(nlls[3] + difference) == Rank(4, len(nlls))
    assert known.rank(float("inf")) == Rank(len(nlls) + 1, len(nlls))


def test_the_nearest_have_the_fewest_edits_and_are_others(known: KnownItems) -> None:
    assert known.nearest("anna", 3) == [("ann", 1), ("hanna", 1), ("lana", 2)]
    assert known.nearest("jo-ann", 1) == [("jo-anne", 1)]
    assert known.nearest("qqqqqqqqqqqq", 3) == []
    assert all(edits <= known_items.FAR for _, edits in known.nearest("x", 20))


def test_of_a_large_text_items_evenly_spaced_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_items, "_RANKED", 4)
    monkeypatch.setattr(known_items, "_COMPARED", 4)
    known = KnownItems(small_model(tmp_path, "ngram"))
    known.start()
    known.wait()
    assert known.items is not None
    assert known.nlls is not None
    assert len(known.nlls) == 4
    assert {name for name, _ in known.nearest("hal", 20)} <= set(known.items[::3])
    assert all(name in known for name in NAMES)


def test_a_text_that_is_gone_or_other_is_one_line(tmp_path: Path) -> None:
    model = small_model(tmp_path, "mlp")
    (tmp_path / "names.txt").write_text("anna\nquentin\n")
    other = KnownItems(model)
    other.start()
    other.wait()
    assert "the character 'q' in 'quentin' is not in the vocabulary" in str(other.problem)
    (tmp_path / "names.txt").unlink()
    gone = KnownItems(model)
    assert (gone.problem, gone.items, gone.rank(1.0), gone.nearest("anna", 3)) == (None, None, None, [])
    gone.start()
    gone.wait()
    assert "is gone" in str(gone.problem)
    assert "anna" not in gone
