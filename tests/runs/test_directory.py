"""Checks the directory of a run: one writer at a time, cleared of what killed ones left, refused where of no use."""

import multiprocessing
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from makemore.errors import UserError
from makemore.runs.directory import check_writable, sole_writer


def hold(run_dir: Path, held: Any, done: Any) -> None:
    with sole_writer(run_dir):
        held.set()
        done.wait()


def test_a_directory_has_one_writer_at_a_time_and_is_free_when_that_one_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path, held, done))
    other.start()
    assert held.wait(60)
    with pytest.raises(UserError, match="another process trains there"), sole_writer(tmp_path):
        pass
    other.kill()
    other.join()
    with sole_writer(tmp_path):
        pass


def test_what_killed_writers_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in (".metrics.json.1.tmp", "checkpoints/.step-00000001.ckpt.2.tmp"):
        (tmp_path / name).touch()
    with sole_writer(tmp_path):
        assert sorted(path.name for path in tmp_path.rglob("*")) == [".lock", "checkpoints"]


def test_nothing_is_written_there_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with sole_writer(tmp_path):
        assert [path.name for path in tmp_path.rglob("*")] == [".lock"]


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for run_dir in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="cannot be written: Not a directory; mend that or"):
            check_writable(run_dir, 100)
    check_writable(tmp_path / "new" / "run", 100)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_without_room_for_the_checkpoints_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=12_000_000))
    check_writable(tmp_path, 1_000_000)
    with pytest.raises(UserError, match=r"12.0 MB are free, its checkpoints may take 12.1"):
        check_writable(tmp_path, 1_005_000)
