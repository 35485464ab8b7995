"""Checks which checkpoint is meant by a path, a run, a sweep, a pattern and `latest`."""

import logging
import os
from pathlib import Path

import fabricated
import pytest

from makemore.checkpoints import FORMAT_VERSION, RECORD_KEY, path_of
from makemore.cli.finding import find_checkpoint
from makemore.errors import UserError
from makemore.system import files


@pytest.fixture(autouse=True)
def _from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(run_dir: Path | str, step: int, best: bool = False, written: int = 0) -> Path:
    """Write a checkpoint, at a time in seconds."""
    path = path_of(run_dir, step, best)
    files.write_sealed({RECORD_KEY: {"format_version": FORMAT_VERSION, "step": step}}, path)
    os.utime(path, (written, written))
    return path


def refusal(path: Path | str, which: str = "last") -> str:
    with pytest.raises(UserError) as caught:
        find_checkpoint(path, which)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_taken_as_it_is_whichever_is_asked_for() -> None:
    path = write("run", 5)
    write("run", 9, best=True)
    for which in ("last", "best"):
        assert find_checkpoint(path, which) == find_checkpoint(str(path), which) == path


def test_a_run_has_its_last_and_its_best() -> None:
    best, last = write("run", 5, best=True), write("run", 9)
    for path in ("run", "run/", "run/checkpoints", Path("run")):
        assert find_checkpoint(path) == last
        assert find_checkpoint(path, "best") == best


def test_a_run_without_a_best_is_one_line_with_the_mend() -> None:
    write("run", 9)
    message = refusal("run", "best")
    assert message.startswith("run: has no checkpoint that is the best by validation")
    assert "which=last" in message


@pytest.mark.parametrize("which", ["first", "", 1])
def test_which_is_what_the_run_hands_on_or_last_or_best(which: str) -> None:
    write("run", 9)
    assert "which must be one of null, last, best" in refusal("run", which)


def test_latest_is_the_run_with_the_newest_checkpoint_sweep_jobs_too(caplog: pytest.LogCaptureFixture) -> None:
    write("logs/train/runs/a", 900, written=10)
    job, run = Path("logs/lessons/mlp/multiruns/s/lr=0.1"), Path("logs/train/runs/b")
    newest, best = write(job, 5, written=30), write(job, 3, best=True, written=5)
    last = write(run, 7, written=20)
    write("elsewhere/runs/c", 1, written=99)
    with caplog.at_level(logging.WARNING):
        assert find_checkpoint("latest") == newest
    assert caplog.messages == [f"latest: {job} is the newest of 3"]
    assert find_checkpoint("latest", "best") == best
    # of which it is the newest checkpoint that counts
    os.utime(last, (40, 40))
    assert find_checkpoint("latest") == last


def test_no_latest_is_one_line() -> None:
    assert refusal("latest").startswith(f"latest: there is no run with a checkpoint below {Path.cwd() / 'logs'}")


def test_a_file_or_a_run_named_latest_wins() -> None:
    write("logs/train/runs/a", 900)
    named = write("latest", 5)
    assert find_checkpoint("latest") == named
    named.rename("file")
    named.parent.rmdir()
    named.parent.parent.rmdir()
    Path("file").rename("latest")
    assert find_checkpoint("latest") == Path("latest")


def test_a_sweep_is_its_best_job_by_the_objective(caplog: pytest.LogCaptureFixture) -> None:
    jobs = [
        fabricated.job({"lr": 0.1}, 2.5),
        fabricated.job({"lr": 0.2}, 2.25),
        fabricated.job({"lr": 0.3}, float("inf")),
        fabricated.job({"lr": 0.4}, 2.0, "pruned"),
        fabricated.job({"lr": 9.0}, status="failed"),
    ]
    sweep_dir = fabricated.write(Path("S"), jobs)
    paths = {each.name: write(sweep_dir / each.name, 5) for each in jobs}
    best = write(sweep_dir / "lr=0.2", 3, best=True)
    with caplog.at_level(logging.WARNING):
        assert find_checkpoint("S") == paths["lr=0.2"]
    assert caplog.messages == ["S: lr=0.2 is the best of 4, NLL 2.2500"]
    assert find_checkpoint("S", "best") == best


def test_a_sweep_of_which_no_job_has_finished_is_one_line() -> None:
    sweep_dir = fabricated.write(Path("S"), [fabricated.job({"lr": 9.0}, status="failed")])
    write(sweep_dir / "lr=9.0", 5)
    assert refusal("S") == "S: no job of this sweep has finished; wait for one, or name the directory of a job"


def test_a_pattern_is_its_one_match_or_the_newest_of_several(caplog: pytest.LogCaptureFixture) -> None:
    a, b = write("runs/a", 5, best=True, written=20), write("runs/b", 900, best=True, written=10)
    with caplog.at_level(logging.WARNING):
        assert find_checkpoint("runs/b/checkpoints/best-*.ckpt") == b
        assert caplog.messages == []
        assert find_checkpoint("runs/*/checkpoints/best-*.ckpt") == a
    assert caplog.messages == [f"runs/*/checkpoints/best-*.ckpt: {a} is the newest of 2"]


def test_a_pattern_may_match_runs() -> None:
    write("runs/a", 5, written=20)
    last = write("runs/b", 9, written=30)
    best = write("runs/b", 3, best=True, written=1)
    Path("runs/empty").mkdir()
    Path("runs/notes").mkdir()
    assert find_checkpoint("runs/?") == find_checkpoint("run*/*") == last
    assert find_checkpoint("runs/*", "best") == best


def test_a_pattern_without_a_match_is_one_line() -> None:
    Path("runs/empty").mkdir(parents=True)
    for pattern in ("runs/*", "runs/*/checkpoints/best-*.ckpt"):
        assert refusal(pattern).startswith(f"{pattern}: matches no checkpoint and no run (from {Path.cwd()})")


def test_a_directory_that_is_named_like_a_pattern_is_itself() -> None:
    write("lr=[0.1,0.2]", 5)
    assert find_checkpoint("lr=[0.1,0.2]") == path_of("lr=[0.1,0.2]", 5)
