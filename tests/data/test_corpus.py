"""Checks texts as tokens and splits: the lessons' figures, files of one's own, what is recorded, reported and kept."""

import json
import os
import random
import tempfile
from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.corpus import Corpus, read_corpus
from makemore.data.options import CorpusOptions
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError
from makemore.system.files import PROJECT_ROOT

NAMES = str(PROJECT_ROOT / "data" / "names.txt")
ROW_OF_THE_BOUNDARY = [
    *(0, 4410, 1306, 1542, 1690, 1531, 417, 669, 874, 591, 2422, 2963, 1572, 2538),
    *(1146, 394, 515, 92, 1639, 2055, 1308, 78, 376, 307, 134, 535, 929),
]
TOP_TEN = "n> 6763, a> 6640, an 5438, <a 4410, e> 3983, ar 3264, el 3248, ri 3033, na 2977, <k 2963"


def write(directory: Path, name: str, *lines: str) -> str:
    path = directory / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def bigram_table(corpus: Corpus, split: str = "train") -> torch.Tensor:
    """Counts (V, V) of what follows each token."""
    counted = corpus.windows(split, 1).counted()
    table = torch.zeros(corpus.vocabulary.size, corpus.vocabulary.size, dtype=torch.int64)
    table[counted.contexts[counted.pair_context, 0].long(), counted.pair_target] = counted.pair_count
    return table


def examples(corpus: Corpus, split: str, block_size: int) -> list[tuple[tuple[int, ...], int]]:
    windows = corpus.windows(split, block_size)
    contexts, targets = windows.batch(torch.arange(len(windows)))
    return list(zip(map(tuple, contexts.tolist()), targets.tolist(), strict=True))


def lesson_examples(lines: list[str], block_size: int, vocabulary: Vocabulary) -> list[tuple[tuple[int, ...], int]]:
    """The lesson's loop (L2), one example after another."""
    found = []
    for line in lines:
        context = [vocabulary.start] * block_size
        for ix in [*vocabulary.encode(line), vocabulary.end]:
            found.append((tuple(context), ix))
            context = context[1:] + [ix]  # noqa: RUF005
    return found


def lines_of(corpus: Corpus, split: str) -> list[str]:
    """The lines whose every token is in a split."""
    code = ("train", "val", "test").index(split)
    lines, first = [], 0
    for length in corpus.lengths.tolist():
        if (corpus.membership[first : first + length] == code).all():
            lines.append(corpus.vocabulary.decode(corpus.tokens[first : first + length - 1].tolist()))
        first += length
    return lines


@pytest.mark.parametrize(
    ("boundary", "boundary_at", "size"),
    [("shared", "first", 27), ("shared", "last", 27), ("separate", "first", 28), ("separate", "last", 28)],
)
def test_the_lessons_text_has_their_counts(
    lesson_text: Path,
    bigram_pairs: list[tuple[str, str, int]],
    boundary: str,
    boundary_at: str,
    size: int,
) -> None:
    options = CorpusOptions(str(lesson_text), splits=(1, 0, 0), boundary=boundary, boundary_at=boundary_at)
    corpus = read_corpus(options)
    vocabulary = corpus.vocabulary
    assert vocabulary.size == size
    assert (len(corpus.lengths), len(corpus.tokens), corpus.size("train")) == (32033, 228146, 228146)
    table = bigram_table(corpus)
    assert int(table.sum()) == 228146
    assert int((table > 0).sum()) == len(bigram_pairs) == 627
    for first, second, count in bigram_pairs:
        row = vocabulary.start if first == "." else vocabulary.encode(first)[0]
        column = vocabulary.end if second == "." else vocabulary.encode(second)[0]
        assert table[row, column] == count


def test_the_row_of_the_boundary_is_the_lessons(lesson_text: Path) -> None:
    table = bigram_table(read_corpus(CorpusOptions(str(lesson_text), splits=(1, 0, 0))))
    assert table[0].tolist() == ROW_OF_THE_BOUNDARY


def test_the_ten_most_common_bigrams_are_the_lessons(lesson_text: Path) -> None:
    corpus = read_corpus(CorpusOptions(str(lesson_text), splits=(1, 0, 0), boundary="separate"))
    counted = corpus.windows("train", 1).counted()
    labels = ["<", ">", *corpus.vocabulary.characters]
    order = counted.pair_count.argsort(descending=True)[:10]
    shown = [
        labels[counted.contexts[counted.pair_context[pair], 0]]
        + f"{labels[counted.pair_target[pair]]} {counted.pair_count[pair]}"
        for pair in order.tolist()
    ]
    assert ", ".join(shown) == TOP_TEN


def test_the_lessons_text_split_by_example_has_their_sizes(lesson_text: Path) -> None:
    corpus = read_corpus(CorpusOptions(str(lesson_text), by="example"))
    sizes = [len(corpus.windows(split, 1)) for split in ("test", "val", "train")]
    assert sizes == [22815, 22815, 182516]
    assert [corpus.size(split) for split in ("test", "val", "train")] == sizes
    together = sum(bigram_table(corpus, split) for split in ("train", "val", "test"))
    assert isinstance(together, torch.Tensor)
    assert together[0].tolist() == ROW_OF_THE_BOUNDARY


def test_the_first_five_names_give_the_lessons_examples() -> None:
    corpus = read_corpus(CorpusOptions(NAMES, splits=(1, 0, 0), max_lines=5))
    # the vocabulary is that of all names, as in L2
    assert corpus.vocabulary.size == 27
    assert corpus.size("train") == 32
    words = ["emma", "olivia", "ava", "isabella", "sophia"]
    assert examples(corpus, "train", 3) == lesson_examples(words, 3, corpus.vocabulary)


def test_the_names_of_2018_are_split_by_line_without_overlap() -> None:
    corpus = read_corpus(CorpusOptions(NAMES))
    train, val, test = (lines_of(corpus, split) for split in ("train", "val", "test"))
    assert len(train) + len(val) + len(test) == 32257
    # 2,564 of the names are given to both sexes and stand there twice
    assert len({*train}) + len({*val}) + len({*test}) == len({*train, *val, *test}) == 29693
    assert len(train) == pytest.approx(25805, abs=3)
    assert len(val) == pytest.approx(3226, abs=3)
    # not looked for, as there is none
    assert corpus.overlaps == {}


def test_the_names_of_2018_split_by_example_overlap() -> None:
    corpus = read_corpus(CorpusOptions(NAMES, by="example"))
    # every line of a few characters has some in training
    assert all(share > 0.9 for share in corpus.overlaps.values())


@given(
    lines=st.lists(st.sampled_from(["a", "b", "ab", "ba", "aab", "bab", "abba", "bb", "aaa", "aba"]), min_size=30),
    by=st.sampled_from(["line", "shuffle", "randperm", "example"]),
    seed=st.integers(0, 2**63 - 1),
    boundary=st.sampled_from(["shared", "separate"]),
)
@settings(max_examples=50)
def test_every_example_is_in_one_split_and_no_context_crosses_lines(
    lines: list[str], by: str, seed: int, boundary: str
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory), "text.txt", *lines)
        try:
            options = CorpusOptions(path, splits=(0.5, 0.25, 0.25), split_seed=seed, by=by, boundary=boundary)
            corpus = read_corpus(options)
        except UserError as error:
            # too few distinct lines for three splits
            assert "would be empty" in str(error)  # noqa: PT017
            return
    parts = {split: examples(corpus, split, 3) for split in ("train", "val", "test")}
    assert Counter(chain(*parts.values())) == Counter(lesson_examples(lines, 3, corpus.vocabulary))
    for split, part in parts.items():
        assert len(part) == corpus.size(split)
        if by != "example":
            # the lines of a split keep their order
            assert part == lesson_examples(lines_of(corpus, split), 3, corpus.vocabulary)


@pytest.mark.parametrize("by", ["line", "shuffle", "randperm", "example"])
def test_membership_changes_with_split_seed_alone(tmp_path: Path, by: str) -> None:
    path = write(tmp_path, "names.txt", *(f"name{number}" for number in range(200)))
    first, again, other = (read_corpus(CorpusOptions(path, by=by, split_seed=seed)) for seed in (0, 0, 1))
    assert first.membership.tolist() == again.membership.tolist()
    assert first.membership.tolist() != other.membership.tolist()


def test_splitting_by_example_reports_the_lines_that_are_in_both(tmp_path: Path) -> None:
    path = write(tmp_path, "names.txt", *["emma"] * 30)
    corpus = read_corpus(CorpusOptions(path, by="example"))
    assert corpus.overlaps == {"val": 1.0, "test": 1.0}
    assert "100.0% of val lines are in train too" in "\n".join(corpus.report())


def test_splitting_by_shuffle_reports_the_lines_that_are_in_both(tmp_path: Path) -> None:
    lines = ["emma", "ava", "mia", "zoe", "emma", "ida", "emma", "eve", "ann", "ivy"]
    corpus = read_corpus(CorpusOptions(write(tmp_path, "names.txt", *lines), by="shuffle", split_seed=42))
    random.Random(42).shuffle(lines)
    assert sorted(lines_of(corpus, "train")) == sorted(lines[:8])
    assert lines_of(corpus, "val") + lines_of(corpus, "test") == lines[8:]
    assert corpus.overlaps == {"val": float(lines[8] in lines[:8]), "test": float(lines[9] in lines[:8])}
    assert 1.0 in corpus.overlaps.values()
    assert "lines are in train too, as data.by=shuffle separates identical lines" in "\n".join(corpus.report())


@pytest.mark.skipif("MAKEMORE_NAMES" not in os.environ, reason="MAKEMORE_NAMES names no copy of the lessons' file")
def test_the_lectures_split_of_their_file_has_their_sizes() -> None:
    corpus = read_corpus(CorpusOptions(os.environ["MAKEMORE_NAMES"], by="shuffle", split_seed=42))
    assert [corpus.size(split) for split in ("train", "val", "test")] == [182_625, 22_655, 22_866]
    assert corpus.overlaps["val"] == pytest.approx(0.13, abs=0.005)


def test_three_files_are_three_splits_in_one_vocabulary(tmp_path: Path) -> None:
    options = CorpusOptions(
        write(tmp_path, "train.txt", "emma", "ava"),
        val_path=write(tmp_path, "val.txt", "zoe", "ava", "emma", "mia"),
        test_path=write(tmp_path, "test.txt", "ida"),
    )
    corpus = read_corpus(options)
    assert corpus.vocabulary.characters == "adeimovz"
    assert lines_of(corpus, "train") == ["emma", "ava"]
    assert lines_of(corpus, "val") == ["zoe", "ava", "emma", "mia"]
    assert lines_of(corpus, "test") == ["ida"]
    assert corpus.overlaps == {"val": 0.5, "test": 0.0}
    assert set(corpus.sha256) == {"train", "val", "test"}
    assert len(set(corpus.sha256.values())) == 3


def test_two_files_leave_the_third_split_empty(tmp_path: Path) -> None:
    options = CorpusOptions(write(tmp_path, "a.txt", "emma"), test_path=write(tmp_path, "b.txt", "ava", "mia"))
    corpus = read_corpus(options)
    assert [corpus.size(split) for split in ("train", "val", "test")] == [5, 0, 8]
    assert len(corpus.windows("val", 2)) == 0
    assert set(corpus.overlaps) == {"test"}


def test_lines_beyond_max_length_are_in_neither_the_splits_nor_the_vocabulary(tmp_path: Path) -> None:
    options = CorpusOptions(
        write(tmp_path, "a.txt", "emma", "xxxxx", "ava", "zoe"),
        val_path=write(tmp_path, "b.txt", "yyyyyy", "mia"),
        max_length=4,
        max_lines=2,
    )
    corpus = read_corpus(options)
    assert lines_of(corpus, "train") == ["emma", "ava"]
    assert lines_of(corpus, "val") == ["mia"]
    assert corpus.vocabulary.characters == "aeimovz"
    assert [line.partition("(")[2] for line in corpus.report()[:2]] == ["1 long lines dropped)"] * 2


def test_options_of_a_checkpoint_from_before_max_length_have_no_limit(tmp_path: Path) -> None:
    options = CorpusOptions(write(tmp_path, "a.txt", "a" * 5000), splits=(1, 0, 0)).as_plain()
    del options["max_length"]
    assert read_corpus(CorpusOptions(**options)).size("train") == 5001


def test_characters_that_training_never_sees_are_reported(tmp_path: Path) -> None:
    options = CorpusOptions(
        write(tmp_path, "train.txt", "emma", "ava"),
        val_path=write(tmp_path, "val.txt", "zoe", "ava"),
        test_path=write(tmp_path, "test.txt", "ida", "z"),
    )
    for boundary in ("shared", "separate"):
        corpus = read_corpus(replace(options, boundary=boundary))
        assert corpus.unseen_in_training() == "dioz"
        assert corpus.report()[-1].endswith("training never sees them: 4, 'd' 'i' 'o' 'z'")


def test_only_the_first_few_of_the_characters_that_training_never_sees_are_named(tmp_path: Path) -> None:
    test = write(tmp_path, "test.txt", "abcdefghijklmnopqrstuvwxyz")
    corpus = read_corpus(CorpusOptions(write(tmp_path, "train.txt", "emma"), test_path=test))
    assert corpus.report()[-1].endswith("23, 'b' 'c' 'd' 'f' 'g' 'h' 'i' 'j' 'k' 'l' ...")


@pytest.mark.parametrize("chunk", [1, 3, 10**6])
def test_nothing_is_reported_where_training_sees_all_characters(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("makemore.data.corpus._CHUNK", chunk)
    # the character of a line beyond max_lines is in no split
    path = write(tmp_path, "a.txt", "b", "a", "c")
    corpus = read_corpus(CorpusOptions(path, val_path=write(tmp_path, "b.txt", "ab"), max_lines=2))
    assert corpus.unseen_in_training() == ""
    assert len(corpus.report()) == 4


def test_max_lines_takes_the_first_lines_in_the_vocabulary_of_all(tmp_path: Path) -> None:
    options = CorpusOptions(
        write(tmp_path, "a.txt", "emma", "ava", "zoe"), val_path=write(tmp_path, "b.txt", "ida", "mia"), max_lines=2
    )
    corpus = read_corpus(options)
    assert lines_of(corpus, "train") == ["emma", "ava"]
    assert lines_of(corpus, "val") == ["ida", "mia"]
    assert corpus.vocabulary.characters == "adeimovz"


def test_a_dot_in_the_text_is_a_character(tmp_path: Path) -> None:
    corpus = read_corpus(CorpusOptions(write(tmp_path, "a.txt", "a.b", ".", "b"), splits=(1, 0, 0)))
    assert corpus.vocabulary.labels == ["<.>", ".", "a", "b"]
    assert lines_of(corpus, "train") == ["a.b", ".", "b"]
    assert corpus.size("train") == 8


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    corpus = read_corpus(CorpusOptions(write(tmp_path, "a.txt", "a\u2028b", "👩"), splits=(1, 0, 0)))
    assert lines_of(corpus, "train") == ["a\u2028b", "👩"]


def test_a_split_empty_by_accident_is_an_error_and_by_request_is_not(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "emma", "ava")
    with pytest.raises(UserError, match=r"validation split would be empty.*data\.splits=\[1,0,0\]"):
        read_corpus(CorpusOptions(path))
    corpus = read_corpus(CorpusOptions(path, splits=(1, 0, 0)))
    assert [corpus.size(split) for split in ("train", "val", "test")] == [9, 0, 0]
    assert corpus.overlaps == {}


@pytest.mark.parametrize("missing", ["path", "val_path", "test_path"])
def test_each_missing_file_is_an_error_naming_it(tmp_path: Path, missing: str) -> None:
    paths = {name: write(tmp_path, f"{name}.txt", "emma") for name in ("path", "val_path", "test_path")}
    paths[missing] = str(tmp_path / "absent.txt")
    with pytest.raises(UserError, match=r"absent\.txt: no such file"):
        read_corpus(CorpusOptions(**paths))


def test_plain_options_give_the_same_corpus_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "a.txt", *(f"name{number}" for number in range(50)))
    options = CorpusOptions("a.txt", split_seed=3, by="example", boundary="separate")
    corpus = read_corpus(options)
    plain = json.loads(json.dumps(options.as_plain()))
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    again = read_corpus(CorpusOptions(**plain))
    assert again.sha256 == corpus.sha256
    assert again.vocabulary == corpus.vocabulary
    assert np.array_equal(again.membership, corpus.membership)
    assert CorpusOptions(**plain).as_plain() == plain


def test_a_corpus_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    options = CorpusOptions(write(tmp_path, "a.txt", "emma"), splits=(1, 0, 0))
    first = read_corpus(options)
    assert read_corpus(options) is first
    write(tmp_path, "a.txt", "anna")
    os.utime(options.path, ns=(1, 1))
    second = read_corpus(options)
    assert lines_of(second, "train") == ["anna"]
    assert second.sha256 != first.sha256


def test_the_report_says_what_was_read_dropped_and_split(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfemma\r\n\r\n av\r\nisabella\r\n")
    report = "\n".join(read_corpus(CorpusOptions(str(path), splits=(1, 0, 0))).report())
    assert str(path) in report
    for part in ("1 byte order marks", "4 carriage returns", "1 edge spaces", "1 blank lines"):
        assert part in report
    assert "3 lines of 2 to 8 characters" in report
    assert "9 tokens, 17 examples" in report
    assert "train 17, val 0, test 0" in report


def test_a_text_is_read_in_a_given_vocabulary(tmp_path: Path) -> None:
    vocabulary = Vocabulary("abcdefgh", "separate", "last")
    corpus = read_corpus(CorpusOptions(write(tmp_path, "a.txt", "bad", "cafe"), splits=(1, 0, 0)), vocabulary)
    assert corpus.vocabulary is vocabulary
    assert corpus.tokens.tolist() == [1, 0, 3, 9, 2, 0, 5, 4, 9]
    assert examples(corpus, "train", 2) == lesson_examples(["bad", "cafe"], 2, vocabulary)


@pytest.mark.parametrize("raw", ["ab\nab\naxb\nb\n", "ab\r\n axb\r\n", "axb", "\n\nab\n\naxb\nzz"])
def test_an_unknown_character_is_named_with_its_line_and_file(tmp_path: Path, raw: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(raw.encode())
    with pytest.raises(UserError, match=r"'x' in 'axb' of .*a\.txt is not in the vocabulary"):
        read_corpus(CorpusOptions(str(path), splits=(1, 0, 0)), Vocabulary("ab"))


@settings(max_examples=40)
@given(
    lines=st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=20),
    items=st.lists(st.text("ab", max_size=4), max_size=8),
    boundary=st.sampled_from(["shared", "separate"]),
)
def test_items_that_are_lines_of_the_text_are_found(lines: list[str], items: list[str], boundary: str) -> None:
    # both letters are known
    lines = [*lines, "ab"]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "lines.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        corpus = read_corpus(CorpusOptions(path=str(path), splits=(1, 0, 0), boundary=boundary))
        assert corpus.lines_among(items) == set(items) & set(lines)
