"""Encoded texts on disk: found again, made anew when damaged, safe for two at once, bounded."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from makemore.data import cache, corpus
from makemore.data.corpus import Corpus, read_corpus
from makemore.data.options import CorpusOptions
from makemore.data.text import read_text
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError
from makemore.system import files

LINES = [f"{first}{second}{third}" for first in "abcde" for second in "fghij" for third in "klmno"]


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where entries go, for texts of any size."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(corpus, "_WORTH_KEEPING", 0)
    return cache.directory("texts")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(" emma\r\n\n" + "".join(f"{line}\n" for line in LINES))
    return path


def anew(options: CorpusOptions, vocabulary: Vocabulary | None = None) -> Corpus:
    """Read as a process that has read nothing yet."""
    corpus._read_corpus.cache_clear()
    return read_corpus(options, vocabulary)


def assert_same(first: Corpus, second: Corpus) -> None:
    for name in ("tokens", "lengths", "membership"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), strict=True)
    assert first.vocabulary == second.vocabulary
    assert (first.overlaps, first.sha256, first.options) == (second.overlaps, second.sha256, second.options)
    assert first.report() == second.report()


def no_reading(*_: object) -> None:
    raise AssertionError("the text was encoded again")


@pytest.mark.parametrize("by", ["line", "shuffle", "randperm", "example"])
def test_the_second_load_is_the_first_without_encoding(
    entries: Path, text: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = anew(CorpusOptions(str(text), by=by))
    (entry,) = entries.iterdir()
    monkeypatch.setattr(corpus, "_encode", no_reading)
    second = anew(CorpusOptions(str(text), by=by))
    assert_same(first, second)
    assert list(entries.iterdir()) == [entry]
    windows = [made.windows("train", 3) for made in (first, second)]
    torch.testing.assert_close(windows[0].batch(torch.arange(50)), windows[1].batch(torch.arange(50)))


def test_three_files_come_back_with_what_was_dropped_from_each(
    entries: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("val", "test"):
        text.with_name(f"{name}.txt").write_text(f"  {name.translate({118: 97, 115: 97, 116: 98})}\nafk\n")
    options = CorpusOptions(str(text), str(text.with_name("val.txt")), str(text.with_name("test.txt")), max_length=3)
    first = anew(options)
    monkeypatch.setattr(corpus, "_encode", no_reading)
    assert_same(first, anew(options))


def test_the_same_text_at_another_place_is_known(entries: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anew(CorpusOptions(str(text)))
    moved = text.rename(text.with_name("moved.txt"))
    monkeypatch.setattr(corpus, "_encode", no_reading)
    again = anew(CorpusOptions(str(moved)))
    assert again.texts["train"].path == moved


@pytest.mark.parametrize(
    "change",
    [
        {"splits": (0.6, 0.2, 0.2)},
        {"split_seed": 1},
        {"by": "example"},
        {"boundary": "separate"},
        {"boundary_at": "last"},
        {"normalize": None},
        {"max_lines": 60},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_option_is_another_entry(entries: Path, text: Path, change: dict[str, object]) -> None:
    anew(CorpusOptions(str(text)))
    options = CorpusOptions(str(text), **change)  # type: ignore[arg-type]
    cached = anew(options)
    assert len(list(entries.iterdir())) == 2
    assert_same(cached, corpus._encode(options, None))


def test_a_changed_text_and_a_given_vocabulary_are_other_entries(entries: Path, text: Path) -> None:
    first = anew(CorpusOptions(str(text)))
    wider = Vocabulary(first.vocabulary.characters + "z")
    assert anew(CorpusOptions(str(text)), wider).vocabulary == wider
    text.write_text(text.read_text() + "zoe\n")
    assert anew(CorpusOptions(str(text))).vocabulary.characters.endswith("z")
    assert len(list(entries.iterdir())) == 3


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "flipped", "unsealed"])
def test_a_damaged_entry_is_made_anew(entries: Path, text: Path, damage: str) -> None:
    first = anew(CorpusOptions(str(text)))
    (entry,) = entries.iterdir()
    whole = entry.read_bytes()
    # among the tokens, where nothing but the seal would notice
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    damaged = {"truncated": whole[:middle], "empty": b"", "foreign": b"cos\nsystem\n", "flipped": flipped}
    entry.write_bytes((damaged | {"unsealed": whole[: whole.rindex(b"\nmakemore")]})[damage])
    assert_same(first, anew(CorpusOptions(str(text))))
    assert torch.load(entry, weights_only=True)["vocabulary"] == vars(first.vocabulary)


@pytest.mark.parametrize("entry", [[1], torch.ones(3), {}, {"cleaning": {"train": {}}, "tokens": 1}], ids=repr)
def test_an_entry_that_is_no_corpus_is_made_anew(entries: Path, text: Path, entry: object) -> None:
    first = anew(CorpusOptions(str(text)))
    (path,) = entries.iterdir()
    files.write_sealed(entry, path)
    assert_same(first, anew(CorpusOptions(str(text))))


def test_an_entry_that_cannot_be_touched_is_used(entries: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    first = anew(CorpusOptions(str(text)))
    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(corpus, "_encode", no_reading)
    assert_same(first, anew(CorpusOptions(str(text))))


def test_an_unusable_text_leaves_no_entry(entries: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"a\x00b\n")
    with pytest.raises(UserError, match="control character"):
        anew(CorpusOptions(str(tmp_path / "bad.txt")))
    assert not entries.exists()


def test_the_eight_last_used_are_kept(entries: Path) -> None:
    paths = [cache.path_of({"number": number}) for number in range(9)]
    for number, path in enumerate(paths[:8]):
        cache.keep(path, {"number": number})
        os.utime(path, (number, number))
    assert cache.recall(paths[0]) == {"number": 0}  # used now, so the second is the oldest
    cache.keep(paths[8], {"number": 8})
    assert set(entries.iterdir()) == {paths[0], *paths[2:]}
    assert cache.recall(paths[1]) is None


def test_a_cache_that_cannot_be_written_costs_one_line(
    entries: Path, text: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries.parent.parent.mkdir(parents=True)
    entries.parent.write_text("a file where the directory should be")
    assert_same(anew(CorpusOptions(str(text))), corpus._encode(CorpusOptions(str(text)), None))
    (message,) = caplog.messages
    assert "cannot be written" in message
    assert "read anew each time" in message


def test_a_small_text_is_not_kept(tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    anew(CorpusOptions(str(text)))
    assert not (tmp_path / "cache").exists()


_READ = """
import sys
import numpy as np
from makemore.data import corpus
corpus._WORTH_KEEPING = 0
made = corpus.read_corpus(corpus.CorpusOptions(sys.argv[1]))
print(int(made.tokens.sum(dtype=np.int64)), made.size("train"), made.size("val"), made.sha256["train"])
"""


@pytest.mark.full
def test_runs_that_start_at_once_read_the_same_and_leave_one_entry(entries: Path, text: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", _READ, str(text)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    answers = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert len(set(answers)) == 1
    assert answers[0].split()[-1] == read_text(text).sha256
    assert len(list(entries.iterdir())) == 1
