"""Checks files: replaced whole or not at all, and sealed: read back as written, refused when altered."""

import errno
import os
import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from makemore.errors import UserError
from makemore.system.files import clear_temporaries, read_sealed, replacing, write_sealed, writing

CONTENT = {"weights": torch.arange(300.0), "plain": [1, None, "x", {"y": 2.5}]}


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


def test_what_cannot_be_written_is_a_user_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "a.txt"
    says = r"a\.txt: cannot be written: (File exists|Not a directory)$"
    with pytest.raises(UserError, match=says), writing(path), replacing(path):
        pass
    with pytest.raises(UserError, match=r"^somewhere: cannot be written: no reason given$"), writing("somewhere"):
        raise OSError("no reason given")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.pt"
    write_sealed(CONTENT, path)
    return path


@pytest.mark.parametrize("mapped", [False, True])
def test_what_is_written_is_read(path: Path, mapped: bool) -> None:
    content, has_seal = read_sealed(path, mapped)
    assert has_seal
    assert torch.equal(content["weights"], CONTENT["weights"])  # type: ignore[arg-type]
    assert content["plain"] == CONTENT["plain"]


def test_torch_reads_it_without_knowing_of_seals(path: Path) -> None:
    assert torch.load(path, weights_only=True)["plain"] == CONTENT["plain"]


def test_a_file_of_torch_has_no_seal(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "plain.pt")
    assert read_sealed(tmp_path / "plain.pt") == ([1], False)


@given(st.data())
def test_an_altered_file_is_refused_or_has_no_seal(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.mktemp("sealed") / "a.pt"
    write_sealed(CONTENT, path)
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start, min(start + 100, len(whole))))
    altered = whole[:start] + data.draw(st.binary(max_size=100)) + whole[end:]
    path.write_bytes(altered)
    try:
        _, has_seal = read_sealed(path)
    except Exception:
        assert altered != whole
    else:
        assert has_seal == (altered == whole)


def test_code_in_a_sealed_file_is_not_executed(tmp_path: Path) -> None:
    target = tmp_path / "executed"

    class Payload:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(target),)

    write_sealed({"state": Payload()}, tmp_path / "evil.pt")
    for mapped in (False, True):
        with pytest.raises(Exception, match="Weights only"):
            read_sealed(tmp_path / "evil.pt", mapped)
    assert not target.exists()


@pytest.mark.parametrize("limit", [0, 100, 4096, 300_000])
def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "a.pt"
    write_sealed({"old": 1}, path)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
    try:
        with pytest.raises(OSError, match="too large") as raised:
            write_sealed({"new": torch.zeros(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert raised.value.errno == errno.EFBIG
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]
    assert read_sealed(path) == ({"old": 1}, True)
