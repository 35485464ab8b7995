"""Checks sealed files: read back as they were written, refused when altered, and no riddle to torch."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from makemore import files

CONTENT = {"weights": torch.arange(300.0), "plain": [1, None, "x", {"y": 2.5}]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.pt"
    files.write_sealed(CONTENT, path)
    return path


@pytest.mark.parametrize("mapped", [False, True])
def test_what_is_written_is_read(path: Path, mapped: bool) -> None:
    content, has_seal = files.read_sealed(path, mapped)
    assert has_seal
    assert torch.equal(content["weights"], CONTENT["weights"])  # type: ignore[arg-type]
    assert content["plain"] == CONTENT["plain"]


def test_torch_reads_it_without_knowing_of_seals(path: Path) -> None:
    assert torch.load(path, weights_only=True)["plain"] == CONTENT["plain"]


def test_a_file_of_torch_has_no_seal(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "plain.pt")
    assert files.read_sealed(tmp_path / "plain.pt") == ([1], False)


@given(st.data())
def test_an_altered_file_is_refused_or_has_no_seal(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.mktemp("sealed") / "a.pt"
    files.write_sealed(CONTENT, path)
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start, min(start + 100, len(whole))))
    altered = whole[:start] + data.draw(st.binary(max_size=100)) + whole[end:]
    path.write_bytes(altered)
    try:
        _, has_seal = files.read_sealed(path)
    except Exception:
        assert altered != whole
    else:
        assert has_seal == (altered == whole)


def test_code_in_a_sealed_file_is_not_executed(tmp_path: Path) -> None:
    target = tmp_path / "executed"

    class Payload:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(target),)

    files.write_sealed({"state": Payload()}, tmp_path / "evil.pt")
    for mapped in (False, True):
        with pytest.raises(Exception, match="Weights only"):
            files.read_sealed(tmp_path / "evil.pt", mapped)
    assert not target.exists()


LIMITED = """
import resource, signal, sys
from pathlib import Path
import torch
from makemore import files

path = Path(sys.argv[1])
files.write_sealed({"old": 1}, path)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    files.write_sealed({"new": torch.zeros(100_000)}, path)
except OSError as error:
    print(error.errno)
"""


@pytest.mark.parametrize("limit", [0, 100, 4096, 300_000])
def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "a.pt"
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), str(limit)], check=True, capture_output=True, text=True
    )
    assert int(ended.stdout) == errno.EFBIG
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]
    assert files.read_sealed(path) == ({"old": 1}, True)
