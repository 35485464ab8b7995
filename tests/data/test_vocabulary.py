"""Checks characters and boundaries to tokens and back: sizes, places and labels as in the lessons, and errors."""

import string
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError

LETTERS = string.ascii_lowercase
BOUNDARIES = [(boundary, at) for boundary in ("shared", "separate") for at in ("first", "last")]


@pytest.mark.parametrize(
    ("boundary", "at", "size", "start", "end", "a", "z"),
    [
        ("shared", "first", 27, 0, 0, 1, 26),
        ("shared", "last", 27, 26, 26, 0, 25),
        ("separate", "first", 28, 0, 1, 2, 27),
        ("separate", "last", 28, 26, 27, 0, 25),
    ],
)
def test_the_lessons_vocabularies(boundary: str, at: str, size: int, start: int, end: int, a: int, z: int) -> None:
    vocabulary = Vocabulary(LETTERS, boundary, at)
    assert (vocabulary.size, vocabulary.start, vocabulary.end) == (size, start, end)
    assert vocabulary.encode("az") == [a, z]


@pytest.mark.parametrize(
    ("boundary", "at", "labels"),
    [
        ("shared", "first", [".", "a", "b"]),
        ("shared", "last", ["a", "b", "."]),
        ("separate", "first", ["<S>", "<E>", "a", "b"]),
        ("separate", "last", ["a", "b", "<S>", "<E>"]),
    ],
)
def test_labels_are_in_the_order_of_the_tokens(boundary: str, at: str, labels: list[str]) -> None:
    vocabulary = Vocabulary("ab", boundary, at)
    assert vocabulary.labels == labels
    assert [vocabulary.labels[token] for token in vocabulary.encode("ba")] == ["b", "a"]


@pytest.mark.parametrize(("boundary", "at"), BOUNDARIES)
def test_a_dot_in_the_text_is_not_the_boundary(boundary: str, at: str) -> None:
    vocabulary = Vocabulary(".a", boundary, at)
    dot = vocabulary.encode(".")[0]
    assert dot not in (vocabulary.start, vocabulary.end)
    assert vocabulary.decode([dot]) == "."
    assert vocabulary.labels[dot] == "."
    assert len(set(vocabulary.labels)) == vocabulary.size
    assert vocabulary.encode_lines("a.\n", "it").tolist() == [*vocabulary.encode("a."), vocabulary.end]


def test_the_label_of_a_shared_boundary_gives_way_to_a_dot() -> None:
    assert Vocabulary(".a").labels == ["<.>", ".", "a"]


@given(
    data=st.data(),
    boundary=st.sampled_from(BOUNDARIES),
    alphabet=st.sets(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=300),
)
def test_encoding_and_back(data: st.DataObject, boundary: tuple[str, str], alphabet: set[str]) -> None:
    vocabulary = Vocabulary("".join(sorted(alphabet)), *boundary)
    words = data.draw(st.lists(st.text(sorted(alphabet), min_size=1, max_size=8), min_size=1, max_size=8))
    tokens = vocabulary.encode_lines("".join(f"{word}\n" for word in words), "it")
    by_hand = []
    for word in words:
        for character in word:
            by_hand.append(sorted(alphabet).index(character) + vocabulary.offset)
        by_hand.append(vocabulary.end)
    assert tokens.tolist() == by_hand
    for word in words:
        assert vocabulary.decode(vocabulary.encode(word)) == word
        assert not {vocabulary.start, vocabulary.end} & set(vocabulary.encode(word))


@given(boundary=st.sampled_from(BOUNDARIES), size=st.integers(1, 400))
def test_characters_and_boundaries_fill_the_tokens_without_gap(boundary: tuple[str, str], size: int) -> None:
    alphabet = "".join(chr(0x4E00 + number) for number in range(size))
    vocabulary = Vocabulary(alphabet, *boundary)
    tokens = [*vocabulary.encode(alphabet), *{vocabulary.start, vocabulary.end}]
    assert sorted(tokens) == list(range(vocabulary.size))


@pytest.mark.parametrize(
    ("characters", "itemsize"), [(1, 1), (26, 1), (255, 1), (256, 2), (2**15 - 1, 2), (2**15, 4), (40_000, 4)]
)
def test_tokens_have_the_smallest_type_and_do_not_wrap(characters: int, itemsize: int) -> None:
    # from U+10000 on there are no surrogates and no control characters in the way
    alphabet = "".join(chr(0x10000 + number) for number in range(characters))
    tokens = Vocabulary(alphabet, boundary_at="last").encode_lines(alphabet + "\n", "it")
    assert tokens.dtype.itemsize == itemsize
    assert np.iinfo(tokens.dtype).max >= characters
    assert np.array_equal(tokens.astype(np.int64), np.arange(characters + 1))


@pytest.mark.parametrize("unknown", ["z", "A", "é", "👩", "\n"])
def test_an_unknown_character_in_a_word_is_named(unknown: str) -> None:
    with pytest.raises(UserError) as caught:
        Vocabulary("abc").encode(f"ab{unknown}c")
    assert repr(unknown) in str(caught.value)
    assert "abc" in str(caught.value)


@pytest.mark.parametrize("unknown", ["A", "é", "👩", "d"])
def test_an_unknown_character_in_lines_is_named_with_its_line_and_text(unknown: str) -> None:
    with pytest.raises(UserError) as caught:
        Vocabulary("abc").encode_lines(f"ab\nc\nab{unknown}c\nab\nX\n", "names.txt")
    for part in (repr(unknown), repr(f"ab{unknown}c"), "names.txt"):
        assert part in str(caught.value)


def test_a_long_line_is_shown_in_part() -> None:
    with pytest.raises(UserError, match="'X'") as caught:
        Vocabulary("abc").encode_lines("a" * 10_000 + "X\n", "names.txt")
    assert len(str(caught.value)) < 300


def test_the_message_about_a_large_vocabulary_stays_short() -> None:
    alphabet = "".join(chr(0x4E00 + number) for number in range(3000))
    with pytest.raises(UserError) as caught:
        Vocabulary(alphabet).encode("a")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("boundary", "at", "key"), [("both", "first", "boundary"), ("shared", "middle", "boundary_at")]
)
def test_other_boundaries_are_refused(boundary: str, at: str, key: str) -> None:
    with pytest.raises(UserError, match=rf"data\.{key} must be one of"):
        Vocabulary("abc", boundary, at)


@pytest.mark.parametrize(
    ("characters", "message"),
    [
        ("aba", "a character twice"),
        ("a\nb", "'\\\\n', which no text may have"),
        ("a\x1b", "'\\\\x1b', which no text may have"),
        ("a\ud800", "'\\\\ud800', which no text may have"),
        (["a", "b"], "are not text"),
        (None, "are not text"),
    ],
)
def test_characters_that_no_text_gives_are_refused(characters: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Vocabulary(characters)
