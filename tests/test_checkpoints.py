"""Checks checkpoints as files: which is the newest whole one of a run, and what a damaged one is told."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from makemore.checkpoints import (
    FORMAT_VERSION,
    RECORD_KEY,
    DamagedCheckpointError,
    checkpoints_of,
    find,
    find_newest,
    path_of,
    read,
    step_of,
)
from makemore.errors import UserError
from makemore.system import files


def write(run_dir: Path, step: int, best: bool = False, **own: Any) -> Path:
    path = path_of(run_dir, step, best)
    files.write_sealed({RECORD_KEY: {"format_version": FORMAT_VERSION, "step": step} | own}, path)
    return path


@pytest.mark.parametrize(
    ("steps", "newest"), [([5, 10], 10), ([900, 1000], 1000), ([99_999_999, 100_000_000], 100_000_000)]
)
def test_the_newest_checkpoint_of_a_run_has_the_highest_step(steps: list[int], newest: int, tmp_path: Path) -> None:
    for step in steps:
        write(tmp_path, step)
    write(tmp_path, newest, best=True)
    assert find(tmp_path) == find(tmp_path / "checkpoints") == path_of(tmp_path, newest)
    assert [step_of(path) for path in checkpoints_of(tmp_path)] == steps


def test_the_best_is_the_newest_where_nothing_newer_was_written(tmp_path: Path) -> None:
    write(tmp_path, 5)
    best = write(tmp_path, 7, best=True)
    assert find(tmp_path) == best


def test_other_files_are_no_checkpoints_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in ("step-00000009.ckpt.damaged", "last.ckpt", ".step-00000009.ckpt.1.tmp", "step-x.ckpt"):
        (tmp_path / "checkpoints" / name).touch()
    assert checkpoints_of(tmp_path) == []
    assert find_newest(tmp_path) is None
    with pytest.raises(UserError, match="has no checkpoints"):
        find(tmp_path)


def flip(content: bytes) -> bytes:
    return content[:50] + bytes([content[50] ^ 1]) + content[51:]


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: bytes(len(content)),
        lambda content: content + b"\n",
    ],
    ids=["a flipped byte", "an end cut off", "half", "empty", "zeroed", "a byte more"],
)
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(
    damage: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert_passed_over("is damaged", damage, tmp_path, caplog)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: content.rindex(b"\nmakemore")],
        lambda content: content.replace(b"makemore sha256", b"makemore sha257"),
    ],
    ids=["no seal", "another mark"],
)
def test_an_unsealed_newest_checkpoint_is_named_and_the_one_before_is_used(
    damage: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert_passed_over("is unsealed", damage, tmp_path, caplog)


def assert_passed_over(state: str, damage: Any, run_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    before, newest = write(run_dir, 5), write(run_dir, 10)
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.raises(DamagedCheckpointError, match=state):
        read(newest)
    with caplog.at_level(logging.WARNING):
        assert find(run_dir) == before
    (message,) = caplog.messages
    assert message.startswith(f"{newest}: {state} (")
    assert message.endswith("the one before is used")


def test_each_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, 5)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        with pytest.raises(UserError):
            read(path)


def test_a_flipped_bit_of_the_first_format_does_not_make_it_foreign(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({RECORD_KEY: {"format_version": 1}, "state_dict": {"w": torch.zeros(3)}}, path)
    content = path.read_bytes()
    # an opcode that is none
    path.write_bytes(content.replace(b"\x80\x02}", b"\x80\x02\xff", 1))
    with pytest.raises(DamagedCheckpointError):
        read(path)


def test_where_none_is_whole_that_is_said(tmp_path: Path) -> None:
    write(tmp_path, 5).write_bytes(b"")
    with pytest.raises(UserError, match="none of its checkpoints is whole"):
        find(tmp_path)


def test_one_of_the_first_format_needs_no_seal_and_later_ones_do(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    for version in (1, FORMAT_VERSION):
        torch.save({RECORD_KEY: {"format_version": version}}, path)
        if version == 1:
            assert read(path)[RECORD_KEY] == {"format_version": 1}
        else:
            with pytest.raises(DamagedCheckpointError, match="is unsealed"):
                read(path)


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 0, None, "1", True, 1.0])
def test_a_format_that_is_not_known_is_no_damage(version: Any, tmp_path: Path) -> None:
    path = write(tmp_path, 5, format_version=version)
    with pytest.raises(UserError, match="has format version") as caught:
        read(path)
    assert not isinstance(caught.value, DamagedCheckpointError)
