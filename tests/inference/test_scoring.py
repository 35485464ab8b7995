"""Checks scoring: the lessons' figures for single words, agreement with the exact NLL, and how words are read."""

import io
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.corpus import read_corpus
from makemore.data.options import CorpusOptions
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError
from makemore.inference.likelihood import exact_nll
from makemore.inference.scoring import WordScore, item_nlls, read_words, score
from makemore.models.network import Counted, build
from makemore.models.ngram import NGram

LETTERS = Vocabulary("abcdefghijklmnopqrstuvwxyz")


def lesson_bigram(lesson_text: Path, fake_count: float) -> NGram:
    network = NGram(27, torch.Generator(), fake_count=fake_count)
    network.count(read_corpus(CorpusOptions(str(lesson_text), splits=(1, 0, 0))).windows("train", 1).counted())
    return network


@pytest.fixture(scope="module")
def counts(lesson_text: Path) -> NGram:
    return lesson_bigram(lesson_text, fake_count=0)


@pytest.fixture(scope="module")
def smoothed(lesson_text: Path) -> NGram:
    return lesson_bigram(lesson_text, fake_count=1)


@pytest.mark.parametrize(("word", "nll"), [("anubhav", 3.1186), ("anubhavm", math.inf), ("andrejq", math.inf)])
def test_the_lessons_words_from_the_counts(counts: NGram, word: str, nll: float) -> None:
    assert score(counts, LETTERS, [word])[0].nll == pytest.approx(nll, abs=5e-5)


@pytest.mark.parametrize(("word", "nll"), [("anubhavm", 3.5526), ("andrejq", 3.4834)])
def test_the_lessons_words_with_one_fake_count(smoothed: NGram, word: str, nll: float) -> None:
    assert score(smoothed, LETTERS, [word])[0].nll == pytest.approx(nll, abs=5e-5)


def test_andrejq_character_by_character(counts: NGram, smoothed: NGram) -> None:
    # printed in L4
    plain = [-1.9829, -1.8296, -3.2594, -2.5620, -2.0127, -5.9171, -math.inf, -2.2736]
    faked = [-1.9835, -1.8302, -3.2594, -2.5646, -2.0143, -5.9004, -7.9817, -2.3331]
    for network, log_probs in ((counts, plain), (smoothed, faked)):
        scored = score(network, LETTERS, ["andrejq"])[0]
        assert scored.labels == [*"andrejq", "."]
        assert scored.log_probs == pytest.approx(log_probs, abs=5.1e-5)
    assert scored.log_likelihood == pytest.approx(-27.8672, abs=5e-5)


def test_log_likelihood_of_the_lessons_first_three_words(counts: NGram) -> None:
    words = score(counts, LETTERS, ["emma", "olivia", "ava"])
    assert sum(word.log_likelihood for word in words) == pytest.approx(-38.7856, abs=5e-5)
    # printed in L0 and L4: .e em mm ma a.
    probabilities = [math.exp(log_prob) for log_prob in words[0].log_probs]
    assert probabilities == pytest.approx([0.0478, 0.0377, 0.0253, 0.3899, 0.1960], abs=5e-5)


@pytest.mark.parametrize("boundary", ["shared", "separate"])
@pytest.mark.parametrize("boundary_at", ["first", "last"])
@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("bigram", {"init": "normal"}),
        ("mlp", {"block_size": 3, "init": "normal"}),
        ("ngram", {"order": 0}),
        ("ngram", {"order": 3, "fake_count": 0.5}),
        ("kneser_ney", {"order": 3}),
    ],
    ids=["bigram", "mlp", "uniform", "trigram", "kneser_ney"],
)
def test_the_scores_of_all_lines_sum_to_the_exact_nll(
    architecture: str, arguments: dict[str, object], boundary: str, boundary_at: str, tmp_path: Path
) -> None:
    text = tmp_path / "words.txt"
    text.write_text("anna\nhanna\nann.a\nab\n")
    corpus = read_corpus(CorpusOptions(str(text), splits=(1, 0, 0), boundary=boundary, boundary_at=boundary_at))
    network = build(architecture, corpus.vocabulary.size, arguments, seed=0)
    windows = corpus.windows("train", network.block_size).counted()
    if isinstance(network, Counted):
        network.count(windows)
    scores = score(network, corpus.vocabulary, ["anna", "hanna", "ann.a", "ab"])
    exact = exact_nll(network, windows)
    assert sum(len(word.log_probs) for word in scores) == exact.characters == 20
    assert -sum(word.log_likelihood for word in scores) == pytest.approx(exact.total, rel=1e-6)


@settings(max_examples=30)
@given(words=st.lists(st.text("ab.", max_size=6), min_size=1, max_size=4))
def test_a_word_is_scored_by_the_lessons_loop(words: list[str]) -> None:
    vocabulary = Vocabulary(".ab")
    network = build("mlp", vocabulary.size, {"block_size": 2, "init": "normal"}, seed=0)
    for scored, word in zip(score(network, vocabulary, words), words, strict=True):
        context, expected = [0, 0], []
        for token in [*(" .ab".index(character) for character in word), 0]:
            expected.append(network(torch.tensor([context])).log_softmax(1)[0, token].item())
            context = [context[1], token]
        assert scored.word == word
        assert scored.log_probs == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert scored.labels == [*word, "<.>"]
        assert scored.nll == pytest.approx(-sum(expected) / (len(word) + 1), rel=1e-5, abs=1e-6)


def test_a_long_word_is_scored_in_parts(smoothed: NGram, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = score(smoothed, LETTERS, ["emma" * 5])
    monkeypatch.setattr("makemore.inference.scoring._ROWS", 4)
    assert score(smoothed, LETTERS, ["emma" * 5]) == [whole]


def test_the_empty_word_is_the_end_right_after_the_start(smoothed: NGram) -> None:
    scored = score(smoothed, LETTERS, [""])[0]
    assert scored.labels == ["."]
    assert scored.nll == pytest.approx(math.log(32_033 + 27))


def test_a_word_does_not_change_the_score_of_the_next(smoothed: NGram) -> None:
    together = score(smoothed, LETTERS, ["emma", "q", "emma"])
    assert together[0] == together[2] == score(smoothed, LETTERS, ["emma"])[0]


@pytest.mark.parametrize("word", ["emmA", "em ma", "e.mma", "ém"])
def test_an_unknown_character_is_named_with_its_word(smoothed: NGram, word: str) -> None:
    unknown = next(character for character in word if character not in LETTERS.characters)
    with pytest.raises(UserError, match=f"the character '{unknown}' in '{word}' is not in the vocabulary"):
        score(smoothed, LETTERS, ["emma", word])


def test_one_impossible_character_makes_the_word_impossible() -> None:
    word = WordScore("ab", ["a", "b", "."], [-1.0, -math.inf, -2.0])
    assert (word.log_likelihood, word.nll) == (-math.inf, math.inf)


def test_words_come_before_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_bytes(b"\xef\xbb\xbfava \r\n\nmia\n")
    assert read_words(["emma"], str(file), "NFC") == ["emma", "ava", "mia"]


def test_words_are_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO("zoë\nmia".encode())))
    assert read_words([], "-", "NFC") == ["zoë", "mia"]


@pytest.mark.parametrize(("normalize", "length"), [("NFC", 3), ("NFD", 4), (None, 4)])
def test_words_are_normalised_as_the_models_text_was(normalize: str | None, length: int, tmp_path: Path) -> None:
    decomposed = "zoe\u0308"
    file = tmp_path / "words.txt"
    file.write_text(decomposed + "\n")
    given, read = read_words([decomposed], str(file), normalize)
    assert given == read
    assert len(given) == length


@pytest.mark.parametrize("word", [True, None, 12, 0.5, ["a"]])
def test_a_word_that_hydra_read_as_something_else_is_a_user_error(word: object) -> None:
    with pytest.raises(UserError, match=r"words: .* is not text to Hydra"):
        read_words(["emma", word], None, "NFC")


def test_a_single_word_needs_no_brackets() -> None:
    # words=emma on the command line gives a string in place of a list
    assert read_words("emma", None, "NFC") == ["emma"]


def test_nothing_to_score_is_a_user_error() -> None:
    with pytest.raises(UserError, match="there is nothing to score"):
        read_words([], None, "NFC")


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "has no text"), (b"ok\n\xff\n", "line 2, byte 1 is not UTF-8"), (None, "no such")]
)
def test_an_unusable_file_of_words_is_a_user_error(content: bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_words([], str(file), "NFC")


def test_unusable_standard_input_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a\x00b")))
    with pytest.raises(UserError, match="standard input: line 1 has the control character"):
        read_words([], "-", "NFC")


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [("mlp", {"block_size": 3}), ("gru", {"block_size": 4}), ("ngram", {"order": 1}), ("kneser_ney", {"order": 3})],
)
def test_items_at_once_have_the_nll_of_each(architecture: str, arguments: dict[str, int], lesson_text: Path) -> None:
    network = build(architecture, 27, arguments, seed=0)
    if isinstance(network, Counted):
        options = CorpusOptions(str(lesson_text), splits=(1, 0, 0), max_lines=50)
        network.count(read_corpus(options).windows("train", network.block_size).counted())
    words = ["anna", "", "q", "maximilianalexander", "anna"]
    expected = [word.nll for word in score(network, LETTERS, words)]
    assert item_nlls(network, LETTERS, words).tolist() == pytest.approx(expected, rel=1e-6)
    with pytest.raises(UserError, match="'1'"):
        item_nlls(network, LETTERS, ["anna", "a1"])
