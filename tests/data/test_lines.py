"""Checks lines as sequences: the pieces of long ones, masks, and that packed and padded minibatches hold the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.batches import PackedBatches
from makemore.data.corpus import Corpus, read_corpus
from makemore.data.lines import IGNORED, Lines
from makemore.data.options import SPLITS, CorpusOptions

WORDS = ["abc", "b", "cabcabca", "bb"]


def corpus_of(directory: Path, words: list[str], **options: Any) -> Corpus:
    path = directory / "words.txt"
    path.write_text("".join(f"{word}\n" for word in words))
    return read_corpus(CorpusOptions(str(path), **({"splits": (1, 0, 0)} | options)))


def padded(lines: Lines, rows: list[int]) -> tuple[list[list[int]], list[list[int]]]:
    batch = lines.padded(0, np.array([rows]))
    return batch.contexts[0].tolist(), batch.targets[0].tolist()


def test_a_line_is_its_start_and_characters_and_its_targets_their_ends(tmp_path: Path) -> None:
    lines = corpus_of(tmp_path, WORDS).lines("train", 20)
    assert len(lines) == 4
    # a 1, b 2, c 3; the longest first
    inputs, targets = padded(lines, [0, 1, 2])
    assert [line[:9] for line in inputs] == [[0, 3, 1, 2, 3, 1, 2, 3, 1], [0, 1, 2, 3, *[0] * 5], [0, 2, *[0] * 7]]
    assert [line[:9] for line in targets] == [[3, 1, 2, 3, 1, 2, 3, 1, 0], [1, 2, 3, 0, *[-1] * 5], [2, 0, *[-1] * 7]]


def test_a_long_line_is_cut_into_pieces_that_have_each_target_once(tmp_path: Path) -> None:
    lines = corpus_of(tmp_path, WORDS).lines("train", 4)
    # abc, b, three pieces of cabcabca, bb
    assert lines.lengths.tolist() == [4, 2, 4, 4, 1, 3]
    inputs, targets = padded(lines, [2, 3, 4])
    assert inputs == [[0, 3, 1, 2], [3, 1, 2, 3], [1, 0, 0, 0]]
    assert targets == [[3, 1, 2, 3], [1, 2, 3, 1], [0, -1, -1, -1]]


@pytest.mark.parametrize("boundary", ["shared", "separate"])
@pytest.mark.parametrize("by", ["line", "example"])
@settings(max_examples=20)
@given(
    words=st.lists(st.text("abcd", min_size=1, max_size=12), min_size=8, max_size=30, unique=True),
    block_size=st.integers(1, 14),
)
def test_the_pieces_of_a_split_have_its_targets_and_what_is_before_them(
    words: list[str], block_size: int, by: str, boundary: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("words")
    splits = (1, 0, 0) if by == "line" else (0.6, 0.2, 0.2)
    corpus = corpus_of(directory, words, by=by, splits=splits, boundary=boundary)
    for split in SPLITS:
        if not corpus.size(split):
            continue
        lines, windows = corpus.lines(split, block_size), corpus.windows(split, 1)
        assert lines.lengths.max() <= block_size
        inputs, targets = map(np.array, padded(lines, list(range(len(lines)))))
        contexts, wanted = windows.batch(torch.arange(len(windows)))
        pairs = sorted(zip(contexts.flatten().tolist(), wanted.tolist(), strict=True))
        is_target = targets != IGNORED
        assert sorted(zip(inputs[is_target].tolist(), targets[is_target].tolist(), strict=True)) == pairs
        # a piece without a target of the split is left out
        assert is_target.any(1).all()


@settings(max_examples=20)
@given(rows=st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=4))
def test_packed_and_padded_minibatches_hold_the_same(
    rows: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = corpus_of(tmp_path_factory.mktemp("words"), WORDS).lines("train", 4)
    keys = torch.arange(len(rows))
    packed, padded = (make(5, np.array(rows), keys) for make in (lines.packed, lines.padded))
    assert isinstance(packed, PackedBatches)
    assert len(packed) == len(padded) == len(rows)
    for step in range(len(rows)):
        ((sequence, targets, key),) = packed.steps(step, step + 1).batches()
        ((contexts, wanted, of_padded),) = padded.steps(step, step + 1).batches()
        assert key == of_padded == step
        # position by position, of the lines that are long enough
        lengths = [int(lines.lengths[row]) for row in rows[step]]
        assert sequence.batch_sizes.tolist() == [
            sum(length > place for length in lengths) for place in range(max(lengths))
        ]
        assert sorted(lengths, reverse=True) == (wanted != IGNORED).sum(1).tolist()
        inside = (wanted != IGNORED).T
        assert sequence.data.tolist() == contexts.T[inside].tolist()
        assert targets.tolist() == wanted.T[inside].tolist()
    assert packed.steps(1, len(rows)).first_step == 6


def test_steps_of_packed_minibatches_are_cut_where_they_begin(tmp_path: Path) -> None:
    lines = corpus_of(tmp_path, WORDS).lines("train", 9)
    rows = np.array([[0, 1], [2, 3], [1, 1], [3, 2]])
    whole = list(lines.packed(0, rows).batches())
    for first, last in ((0, 4), (0, 1), (1, 3), (3, 4), (2, 2)):
        part = lines.packed(0, rows).steps(first, last)
        assert (part.first_step, len(part)) == (first, last - first)
        found = list(part.batches())
        assert len(found) == last - first
        for (tokens, targets), (of_all, wanted) in zip(found, whole[first:last], strict=True):
            assert torch.equal(tokens.data, of_all.data)
            assert torch.equal(tokens.batch_sizes, of_all.batch_sizes)
            assert torch.equal(targets, wanted)


def test_some_lines_are_without_padding(tmp_path: Path) -> None:
    lines = corpus_of(tmp_path, WORDS).lines("train", 9)
    some = lines.some(torch.tensor([0, 1]))
    assert some.data.tolist() == [0, 0, 1, 2, 2, 3]
    assert some.batch_sizes.tolist() == [2, 2, 1, 1]
