"""Checks atomic files: whole or not at all, and nothing left behind for long."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from makemore.files import clear_temporaries, replacing


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    for content in (b"old", b"new"):
        with replacing(path) as file:
            file.write(content)
            file.flush()
            assert not path.exists() or path.read_bytes() == b"old"
        assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_what_raises_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with suppress(KeyboardInterrupt), replacing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a.txt": b"old"}


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as one, replacing(path) as other:
        one.write(b"one")
        other.write(b"other")
    assert path.read_bytes() == b"one"  # the outer block ends last


def test_content_is_flushed_before_the_file_takes_its_place_and_the_place_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "a.txt", []
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append(path.exists()), flush(descriptor)))
    with replacing(path) as file:
        file.write(b"new")
    assert seen == [False, True]


def test_temporaries_of_killed_writers_go_when_they_are_old_enough(tmp_path: Path) -> None:
    for name, age in ((".a.ckpt.1.tmp", 7200), (".b.ckpt.2.tmp", 0), ("c.tmp", 7200), (".d", 7200)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    clear_temporaries(tmp_path, older_than=3600)
    assert {path.name for path in tmp_path.iterdir()} == {".b.ckpt.2.tmp", "c.tmp", ".d"}
    clear_temporaries(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"c.tmp", ".d"}
    clear_temporaries(tmp_path / "nowhere")
