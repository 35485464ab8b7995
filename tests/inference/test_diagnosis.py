"""Checks what is said of a model on a split: by hand, by a plain loop over examples, and against the exact NLL."""

import math
import tempfile
import tracemalloc
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from makemore.data.corpus import Corpus, read_corpus
from makemore.data.options import CorpusOptions
from makemore.data.vocabulary import Vocabulary
from makemore.errors import DivergedError
from makemore.inference import diagnosis
from makemore.inference.diagnosis import PLACES, TOKENS, Calibration, Diagnosis, diagnose
from makemore.inference.likelihood import exact_nll
from makemore.models.network import Network, build
from makemore.models.ngram import NGram

BOUNDARIES = [("shared", "first"), ("shared", "last"), ("separate", "first"), ("separate", "last")]
LINES: st.SearchStrategy[list[str]] = st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=12)


def corpus_of(directory: Path, lines: list[str], **options: object) -> Corpus:
    path = directory / "text.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return read_corpus(CorpusOptions(str(path), **({"splits": (1, 0, 0)} | options)))  # type: ignore[arg-type]


def ngram(corpus: Corpus, order: int, fake_count: float = 0, split: str = "train") -> Network:
    network = NGram(corpus.vocabulary.size, torch.Generator(), order, fake_count)
    network.count(corpus.windows(split, network.block_size).counted())
    return network


def mlp(corpus: Corpus, block_size: int = 3, seed: int = 0) -> Network:
    arguments = {"block_size": block_size, "hidden_dim": 7, "init": "normal"}
    return build("mlp", corpus.vocabulary.size, arguments, seed)


def one_by_one(network: Network, corpus: Corpus, lines: list[str]) -> list[tuple[int, int, int, np.ndarray]]:
    """The place, the token before, the token and the model's probabilities, of each example of whole lines."""
    vocabulary, examples = corpus.vocabulary, []
    for line in lines:
        tokens = [*vocabulary.encode(line), vocabulary.end]
        before = [vocabulary.start] * max(network.block_size, 1)
        for place, token in enumerate(tokens):
            context = torch.tensor([before[len(before) - network.block_size :]], dtype=torch.int64)
            logits = network(context).detach().double()
            examples.append((place, before[-1], token, torch.softmax(logits, -1)[0].numpy()))
            before = [*before[1:], token]
    return examples


def check(found: Diagnosis, examples: list[tuple[int, int, int, np.ndarray]], vocabulary: Vocabulary) -> None:
    """Compare with sums over examples, none of which leaves a token out."""
    size = vocabulary.size
    counted, expected, confusion = (np.zeros((size, size)) for _ in range(3))
    by_place, by_token = defaultdict(list), defaultdict(list)
    for place, before, token, probs in examples:
        counted[before, token] += 1
        expected[before] += probs
        confusion[token] += probs
        by_place[place].append(-math.log(probs[token]) if probs[token] else math.inf)
        by_token[token].append(by_place[place][-1])
    shown = sorted({vocabulary.start, *by_token})
    assert found.tokens == shown
    assert (found.counted == counted[np.ix_(shown, shown)]).all()
    np.testing.assert_allclose(found.expected, expected[np.ix_(shown, shown)], rtol=1e-5, atol=1e-7)
    often = np.array([[max(len(by_token.get(token, [])), 1)] for token in shown])
    np.testing.assert_allclose(found.confusion, confusion[np.ix_(shown, shown)] / often, rtol=1e-5, atol=1e-7)
    assert [nll.characters for nll in found.nll_by_place] == [len(by_place[place]) for place in sorted(by_place)]
    assert [nll.nats for nll in found.nll_by_place] == pytest.approx(
        [np.mean(by_place[place]) for place in sorted(by_place)], rel=1e-5, abs=1e-7
    )
    assert {token: nll.characters for token, nll in found.nll_by_token.items()} == {
        token: len(nlls) for token, nlls in sorted(by_token.items())
    }
    assert {token: nll.nats for token, nll in found.nll_by_token.items()} == pytest.approx(
        {token: np.mean(nlls) for token, nlls in by_token.items()}, rel=1e-5, abs=1e-7
    )
    calibration = found.calibration
    filled = calibration.weight > 0
    assert calibration.weight.sum() == len(examples)
    assert (calibration.predicted * calibration.weight)[filled].sum() == pytest.approx(
        sum(float(probs.max()) for *_, probs in examples), rel=1e-5
    )


def test_by_hand(tmp_path: Path) -> None:
    # ab, aa: after `.` a twice; after a: b, a and the end once each; after b the end once
    corpus = corpus_of(tmp_path, ["ab", "aa"])
    found = diagnose(ngram(corpus, 2), corpus, "train")
    assert corpus.vocabulary.labels == [".", "a", "b"]
    assert found.tokens == [0, 1, 2]
    assert found.counted.tolist() == [[0, 2, 0], [1, 1, 1], [1, 0, 0]]
    assert found.expected == pytest.approx(found.counted)
    third = math.log(3)
    assert [nll.nats for nll in found.nll_by_place] == pytest.approx([0, third, third / 2])
    assert {token: nll.nats for token, nll in found.nll_by_token.items()} == pytest.approx(
        {0: third / 2, 1: third / 3, 2: third}
    )
    # where the end is right, it was given 1 once and 1/3 once
    assert found.confusion[0] == pytest.approx([2 / 3, 1 / 6, 1 / 6])
    assert found.confusion[2] == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    # of the likeliest: three thirds after a, of which one was right, and three certainties
    calibration = found.calibration
    assert {place: weight for place, weight in enumerate(calibration.weight) if weight} == {6: 3, 19: 3}
    assert calibration.predicted[[6, 19]] == pytest.approx([1 / 3, 1])
    assert calibration.observed[[6, 19]] == pytest.approx([1 / 3, 1])


@pytest.mark.parametrize(("boundary", "boundary_at"), BOUNDARIES)
@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_an_ngram_is_as_a_loop_over_examples_finds_it(
    tmp_path: Path, boundary: str, boundary_at: str, order: int
) -> None:
    lines = ["ab", "abc", "b", "cab", "ab"]
    corpus = corpus_of(tmp_path, lines, boundary=boundary, boundary_at=boundary_at)
    network = ngram(corpus, order, fake_count=0.5)
    check(diagnose(network, corpus, "train"), one_by_one(network, corpus, lines), corpus.vocabulary)


@given(lines=LINES, block_size=st.sampled_from([1, 3]), boundaries=st.sampled_from(BOUNDARIES), seed=st.integers(0, 5))
@example(["a"], 1, ("shared", "first"), 0)
@settings(max_examples=30)
def test_a_network_is_as_a_loop_over_examples_finds_it(
    lines: list[str], block_size: int, boundaries: tuple[str, str], seed: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        corpus = corpus_of(Path(directory), lines, boundary=boundaries[0], boundary_at=boundaries[1])
        network = mlp(corpus, block_size, seed)
        found = diagnose(network, corpus, "train")
    check(found, one_by_one(network, corpus, lines), corpus.vocabulary)
    # the model expects as many tokens after each as there are
    assert found.expected.sum() <= len(corpus.tokens) * (1 + 1e-6)
    if len(found.tokens) == corpus.vocabulary.size:
        assert found.expected.sum(1) == pytest.approx(found.counted.sum(1))


@given(lines=LINES, by=st.sampled_from(["line", "example"]), split_seed=st.integers(0, 20))
@settings(max_examples=30)
def test_nlls_by_place_and_by_token_sum_to_that_of_the_split(lines: list[str], by: str, split_seed: int) -> None:
    lines = [*lines, "abc", "ca", "ab", "bca", "cb", "ac"]
    with tempfile.TemporaryDirectory() as directory:
        corpus = corpus_of(Path(directory), lines, splits=(0.5, 0.3, 0.2), by=by, split_seed=split_seed)
        for split in ("train", "val", "test"):
            if not corpus.size(split):
                continue
            for network in (mlp(corpus), ngram(corpus, 3)):
                found = diagnose(network, corpus, split)
                whole = exact_nll(network, corpus.windows(split, network.block_size).counted())
                for parts in (found.nll_by_place, found.nll_by_token.values()):
                    assert sum(nll.characters for nll in parts) == whole.characters
                    # inf for pairs that training has not seen
                    assert sum(nll.total for nll in parts) == pytest.approx(whole.total, rel=1e-5)


def test_the_counts_of_the_lessons_text_are_the_lessons_cell_for_cell(
    lesson_text: Path, bigram_pairs: list[tuple[str, str, int]]
) -> None:
    corpus = read_corpus(CorpusOptions(str(lesson_text), splits=(1, 0, 0)))
    found = diagnose(ngram(corpus, 2), corpus, "train")
    # as in the lesson: `.` is 0, then the alphabet
    labels = ".abcdefghijklmnopqrstuvwxyz"
    assert "".join(corpus.vocabulary.labels[token] for token in found.tokens) == labels
    counts = {(first, second): count for first, second, count in bigram_pairs}
    assert found.counted.tolist() == [[counts.get((first, second), 0) for second in labels] for first in labels]
    assert found.counted.sum() == 228_146
    np.testing.assert_allclose(found.expected, found.counted, rtol=1e-9, atol=1e-9)


def test_with_two_boundary_tokens_the_lessons_counts_have_an_empty_column_and_an_empty_row(lesson_text: Path) -> None:
    corpus = read_corpus(CorpusOptions(str(lesson_text), splits=(1, 0, 0), boundary="separate", boundary_at="last"))
    found = diagnose(ngram(corpus, 2), corpus, "train")
    assert [corpus.vocabulary.labels[token] for token in found.tokens] == [*"abcdefghijklmnopqrstuvwxyz", "<S>", "<E>"]
    assert not found.counted[:, 26].any()
    assert not found.counted[27].any()
    # the most common bigram of L0: n then <E>
    assert found.counted[13, 27] == found.counted.max() == 6763


def test_a_counted_bigram_is_calibrated_on_its_own_text(lesson_text: Path) -> None:
    corpus = read_corpus(CorpusOptions(str(lesson_text), splits=(1, 0, 0)))
    found = diagnose(ngram(corpus, 2), corpus, "train").calibration
    assert found.error == pytest.approx(0, abs=1e-12)
    filled = found.weight > 0
    assert found.predicted[filled] == pytest.approx(found.observed[filled])
    assert found.weight.sum() == 228_146


def test_the_error_of_calibration_is_the_mean_gap_over_predictions() -> None:
    nothing = math.nan
    found = Calibration(np.array([0.1, nothing, 0.9]), np.array([0.2, nothing, 0.5]), np.array([3.0, 0.0, 1.0]))
    assert found.error == pytest.approx((3 * 0.1 + 1 * 0.4) / 4)


def test_probabilities_of_almost_0_and_of_1_are_in_the_first_and_the_last_bin(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, ["abcdefghijklmnopqrstuvwxyz"])
    certain = diagnose(ngram(corpus, 2), corpus, "train").calibration
    assert certain.weight.tolist() == [*[0] * 19, 27]
    assert (certain.predicted[-1], certain.observed[-1]) == (1, 1)
    uniform = diagnose(ngram(corpus, 0), corpus, "train").calibration
    assert uniform.weight.tolist() == [27, *[0] * 19]
    assert (uniform.predicted[0], uniform.observed[0]) == pytest.approx((1 / 27, 1 / 27))


def test_a_model_that_is_sure_and_wrong_has_a_large_error_however_many_characters_there_are(tmp_path: Path) -> None:
    characters = "abcdefghijklmnopqrstuvwxyz"
    corpus = corpus_of(tmp_path, [characters, characters[::-1]])
    # after each character it expects the one that follows in the alphabet, which comes in one line of two
    network = ngram(corpus_of(tmp_path, [characters]), 2)
    found = diagnose(network, corpus, "train").calibration
    assert found.error == pytest.approx(0.5, abs=0.02)


def test_what_was_never_seen_has_an_infinite_nll_and_no_more(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, ["ab", "ba"])
    seen = corpus_of(tmp_path, ["ab"])
    network = ngram(seen, 2)
    found = diagnose(network, corpus, "train")
    # `.b` and `ba` and `a.` were not
    assert [nll.nats for nll in found.nll_by_place] == [math.inf, math.inf, math.inf]
    assert {token: nll.nats for token, nll in found.nll_by_token.items()} == {0: math.inf, 1: math.inf, 2: math.inf}
    assert np.isfinite(found.expected).all()
    assert np.isfinite(found.confusion).all()
    assert found.calibration.error > 0.1


def test_places_beyond_the_last_are_told_together(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, ["ab" * 30, "a"])
    found = diagnose(ngram(corpus, 1), corpus, "train")
    assert [nll.characters for nll in found.nll_by_place] == [2, 2, *[1] * (PLACES - 3), 61 - PLACES + 1]


def test_the_characters_shown_are_the_most_common_in_the_vocabularys_order(tmp_path: Path) -> None:
    # the later a character the more of it; the end of a line is more common than any
    lines = [chr(ord("A") + number) * (number + 1) for number in range(50)]
    corpus = corpus_of(tmp_path, lines, boundary="separate")
    found = diagnose(ngram(corpus, 2), corpus, "train")
    counts = Counter(corpus.tokens.tolist())
    start, *shown = found.tokens
    assert start == corpus.vocabulary.start
    assert shown == sorted(token for token, _ in counts.most_common(TOKENS))
    assert found.counted.shape == (TOKENS + 1, TOKENS + 1)
    for row, first in enumerate(found.tokens[2:], 2):
        assert found.counted[row, row] == counts[first] - 1


def test_parts_make_the_same_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["ab", "abc", "b", "cab", "bbc"]
    corpus = corpus_of(tmp_path, lines)
    network = mlp(corpus)
    monkeypatch.setattr(diagnosis, "_CELLS", 1)
    check(diagnose(network, corpus, "train"), one_by_one(network, corpus, lines), corpus.vocabulary)


@pytest.mark.full
def test_thousands_of_characters_take_little_memory(tmp_path: Path) -> None:
    alphabet = [chr(0x4E00 + number) for number in range(5000)]
    corpus = corpus_of(tmp_path, ["".join(alphabet[first : first + 5]) for first in range(0, 5000, 5)])
    network = ngram(corpus, 2)
    tracemalloc.start()
    found = diagnose(network, corpus, "train")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # all probabilities of all contexts are 200 MB
    assert peak < 100e6
    assert len(found.nll_by_token) == 5001
    assert found.calibration.weight.sum() == 6000


def test_weights_that_are_no_numbers_are_said(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, ["ab"])
    network = build("bigram", corpus.vocabulary.size, {}, 0)
    with torch.no_grad():
        next(network.parameters()).fill_(math.nan)
    with pytest.raises(DivergedError, match="the model gives no probabilities"):
        diagnose(network, corpus, "train")
