"""Checks the live line of a sweep, made of the records of its jobs."""

import json
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from makemore.sweeps.progress import (
    GroupProgress,
    SweepProgress,
    _group_line,
    live_line,
    show_group,
)
from makemore.sweeps.records import Status, write_job


def put(sweep_dir: Path, name: str, status: Status, nll: float | None = None, message: str = "") -> Path:
    run_dir = sweep_dir / name
    run_dir.mkdir(parents=True, exist_ok=True)
    if nll is not None:
        metrics = {"train/nll": nll, "val/nll": nll, "steps": 3, "seconds": 1.0}
        (run_dir / "metrics.json").write_text(json.dumps(metrics))
    write_job(run_dir, [f"optimizer.lr={name}"], {"optimizer.lr": float(name)}, status, message)
    return run_dir


def test_the_line_counts_jobs_and_names_the_best(tmp_path: Path) -> None:
    progress = SweepProgress(tmp_path, 6)
    progress.update()
    assert progress.line() == "0 complete, 0 running, 0 failed, 6 left"
    put(tmp_path, "0.1", "finished", 2.5)
    put(tmp_path, "0.25", "finished", 2.25)
    put(tmp_path, "1", "failed", message="no")
    put(tmp_path, "2", "running")
    put(tmp_path, "3", "stopped")
    progress.update()
    assert progress.line() == "2 complete, 1 running, 1 failed, 2 left; best validation NLL 2.2500 (lr=0.25)"


def test_the_line_counts_pruned_jobs_as_complete_and_never_as_the_best(tmp_path: Path) -> None:
    progress = SweepProgress(tmp_path, 3)
    put(tmp_path, "0.1", "finished", 2.5)
    put(tmp_path, "0.2", "pruned", 2.25)
    progress.update()
    best = "best validation NLL 2.5000 (lr=0.1)"
    assert progress.line() == f"2 complete (1 pruned), 0 running, 0 failed, 1 left; {best}"


def test_a_search_of_unknown_length_says_nothing_of_what_is_left(tmp_path: Path) -> None:
    assert SweepProgress(tmp_path, None).line() == "0 complete, 0 running, 0 failed"


def test_only_what_has_changed_is_read_again(tmp_path: Path) -> None:
    put(tmp_path, "1", "finished", 2.0)
    put(tmp_path, "2", "running")
    progress = SweepProgress(tmp_path, 2)
    assert [job.name for job in progress.update()] == ["1", "2"]
    assert progress.update() == []
    time.sleep(0.01)
    put(tmp_path, "2", "failed", message="no")
    assert [job.status for job in progress.update()] == ["failed"]


def test_a_job_whose_process_is_gone_is_not_running(tmp_path: Path) -> None:
    path = put(tmp_path, "1", "running") / "job.json"
    content = json.loads(path.read_text())
    assert content["pid"] == os.getpid()
    # beyond what Linux gives to a process
    path.write_text(json.dumps(content | {"pid": 2**22 + 1}))
    progress = SweepProgress(tmp_path, 1)
    progress.update()
    assert progress.line() == "0 complete, 0 running, 0 failed, 1 left"
    path.write_text(json.dumps(content | {"pid": 2**22 + 1, "host": "elsewhere"}))
    os.utime(path, ns=(0, 0))
    progress.update()
    assert progress.line() == "0 complete, 1 running, 0 failed, 0 left"


def test_without_a_terminal_a_line_is_written_at_each_change_and_a_failure_with_its_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "1", "failed", message="of the time before")
    with live_line(tmp_path, 2):
        put(tmp_path, "1", "finished", 2.0)
        put(tmp_path, "2", "failed", message="the loss [red]is nan")
    assert capsys.readouterr().err.splitlines() == [
        "failed: 2: the loss [red]is nan",
        "1 complete, 0 running, 1 failed, 0 left; best validation NLL 2.0000 (lr=1)",
    ]


def test_what_differs_is_said_in_short(tmp_path: Path) -> None:
    run_dir = put(tmp_path, "1", "finished", 2.0)
    write_job(run_dir, ["x"], {"optimizer.lr": 0.1234567, "model": "mlp"}, "finished")
    progress = SweepProgress(tmp_path, None)
    progress.update()
    assert progress.line().endswith("; best validation NLL 2.0000 (lr=0.123457, model=mlp)")


def test_groups_that_are_trained_at_once_are_shown_as_one() -> None:
    first = GroupProgress(30, 120, 3000, 100.0, 2.5, lasting=True)
    show_group(first, sender=1)
    # in a pipe, only what is worth a line
    show_group(replace(first, step=130, lasting=False), sender=1)
    show_group(replace(first, members=10, step=110, speed=80.0, best=2.25), sender=2)
    try:
        assert _group_line() == "; 40 members at step 110 of 3,000, 95 steps/s each, best validation NLL 2.2500"
        show_group(None, sender=2)
        show_group(replace(first, best=math.inf), sender=1)
        assert _group_line() == "; 30 members at step 120 of 3,000, 100 steps/s each"
    finally:
        for sender in (1, 2):
            show_group(None, sender)
    assert _group_line() == ""
