"""Sweeps by each launcher and by Optuna, as a user starts them: the same results, also when stopped or killed."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from trials import (
    Child,
    Outcome,
    endings,
    records,
    sample_as_users_do,
    start,
    statuses,
    table,
    trials_of,
    with_status,
)

TIMEOUT = 240

SMALL = ("data.max_lines=300", "model=mlp", "model.hidden_dim=8", "num_samples=2", "threads=1")
SHORT = (*SMALL, "trainer.max_steps=40", "val_every=20", "log_every=5")
# some seconds a job
LONG = (*SMALL, "trainer.max_steps=5000", "val_every=2500", "log_every=500", "optimizer.lr=0.003", "seed=0,1")


class Sweep:
    """A sweep in a process of its own, with a session and a process group as a terminal's."""

    def __init__(self, cwd: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.dir = cwd / "sweep"
        line = ("-m", f"hydra.sweep.dir={self.dir}", *arguments)
        self.child: Child = start("train", *line, cwd=cwd, prepare=_lead_session, env=env)
        assert self.child.process.pid is not None
        self.pid: int = self.child.process.pid

    def wait(self) -> Outcome:
        """Wait until it ends, and all processes that it started have."""
        outcome = self.child.wait()
        until = time.monotonic() + TIMEOUT
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.1)
        assert not left, left
        return outcome

    def processes(self) -> list[int]:
        """Return its processes and those that it started, those of Ray, which leave its group, too."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = status.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.pid and fields[0] != "Z":
                found.append(int(status.parent.name))
        return found

    def wait_until_training(self) -> None:
        """Wait until a job has taken a thousand steps or so."""
        until = time.monotonic() + TIMEOUT
        while not any(len(path.read_text().splitlines()) > 3 for path in self.dir.glob("*/metrics.csv")):
            assert self.child.process.is_alive(), self.child.err.read_text()
            assert time.monotonic() < until, self.child.err.read_text()
            time.sleep(0.02)


def _lead_session() -> None:
    # workers take no shortcuts
    sample_as_users_do()
    os.setsid()


@pytest.fixture
def sweeps() -> Iterator[list[Sweep]]:
    """Sweeps whose processes are gone when the test is over, however it went."""
    started: list[Sweep] = []
    yield started
    for sweep in started:
        for pid in sweep.processes():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short jobs by the basic launcher."""
    sweep = Sweep(tmp_path_factory.mktemp("short"), *SHORT, "optimizer.lr=0.003,0.01")
    assert sweep.wait().code == 0
    return sweep.dir


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two longer jobs end with, by the basic launcher."""
    sweep = Sweep(tmp_path_factory.mktemp("long"), *LONG)
    assert sweep.wait().code == 0
    return endings(sweep.dir)


FULL, SLOW = pytest.mark.full, pytest.mark.slow


@pytest.mark.parametrize(
    "launcher",
    [pytest.param("joblib", marks=FULL), *(pytest.param(name, marks=SLOW) for name in ("ray", "submitit_local"))],
)
def test_a_launcher_gives_what_basic_gives_and_a_failing_job_stops_no_other(
    launcher: str, short: Path, tmp_path: Path, sweeps: list[Sweep]
) -> None:
    sweep = Sweep(tmp_path, *SHORT, "optimizer.lr=0.003,1e30,0.01", f"hydra/launcher={launcher}")
    sweeps.append(sweep)
    outcome = sweep.wait()
    assert outcome.code == 1
    assert "Traceback" not in outcome.err + outcome.out
    finished = set(records(short))
    assert len(finished) == 2
    assert {path.name for path in with_status(sweep.dir, "finished")} == finished
    failed = {name: job for name, job in records(sweep.dir).items() if job["status"] == "failed"}
    assert failed.keys() == records(sweep.dir).keys() - finished
    assert len(failed) == 1
    assert {row["job"]: row for row in table(sweep.dir) if row["job"] in finished} == {
        row["job"]: row for row in table(short)
    }
    ended = endings(sweep.dir, finished)
    assert ended == endings(short)
    for name, job in failed.items():
        assert "the loss is nan" in job["message"]
        assert job["message"] in (sweep.dir / name / "train.log").read_text()


@pytest.mark.parametrize(
    ("launcher", "signum"),
    [
        pytest.param("joblib", signal.SIGINT, marks=SLOW),
        pytest.param("joblib", signal.SIGTERM, marks=SLOW),
        pytest.param("ray", signal.SIGINT, marks=SLOW),
        pytest.param("ray", signal.SIGTERM, marks=SLOW),
        pytest.param("submitit_local", signal.SIGINT, marks=SLOW),
        pytest.param("submitit_local", signal.SIGTERM, marks=SLOW),
    ],
)
def test_a_signal_saves_the_running_jobs_and_the_same_command_resumes_them(
    launcher: str, signum: int, long: dict[str, Any], tmp_path: Path, sweeps: list[Sweep]
) -> None:
    arguments = (*LONG, f"hydra/launcher={launcher}")
    stopped = Sweep(tmp_path, *arguments)
    sweeps.append(stopped)
    stopped.wait_until_training()
    if signum == signal.SIGINT:
        # as a terminal sends Ctrl-C
        os.killpg(stopped.pid, signum)
    else:
        os.kill(stopped.pid, signum)
    outcome = stopped.wait()
    assert outcome.code == 128 + signum, outcome.err
    assert "Traceback" not in outcome.err + outcome.out
    assert "hydra.sweep.dir=" in outcome.out
    # how far the other job has come is the machine's to say
    half_done = with_status(stopped.dir, "stopped")
    assert half_done
    assert set(statuses(stopped.dir).values()) <= {"stopped", "finished"}
    for job in half_done:
        assert (job / "train.log").read_text().count("stopped by") <= 1
    assert [path for job in half_done for path in (job / "checkpoints").glob("step-*.ckpt")]
    resumed = Sweep(tmp_path, *arguments)
    sweeps.append(resumed)
    assert resumed.wait().code == 0
    assert endings(resumed.dir) == long
    logs = [(job / "train.log").read_text() for job in half_done]
    assert any("resuming from step" in log for log in logs)


# in short: test_sweeps.py has kills, and a worker that is left
@SLOW
def test_after_a_kill_no_job_that_had_finished_runs_again(short: Path, tmp_path: Path, sweeps: list[Sweep]) -> None:
    arguments = (*SHORT, "optimizer.lr=0.003,0.01", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1")
    killed = Sweep(tmp_path, *arguments)
    sweeps.append(killed)
    while not with_status(killed.dir, "finished"):
        assert killed.child.process.is_alive()
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.child.process.join()
    # its worker goes on for a while
    logs = [job / "train.log" for job in with_status(killed.dir, "finished")]
    written = [log.stat().st_mtime_ns for log in logs]
    resumed = Sweep(tmp_path, *arguments)
    sweeps.append(resumed)
    assert resumed.wait().code == 0
    assert endings(resumed.dir) == endings(short)
    assert [log.stat().st_mtime_ns for log in logs] == written


@SLOW  # the short form is in tests/system/test_signals.py
def test_a_job_of_submitit_whose_time_is_up_is_queued_again_and_resumed(
    long: dict[str, Any], tmp_path: Path, sweeps: list[Sweep]
) -> None:
    sweep = Sweep(tmp_path, *LONG, "hydra/launcher=submitit_local")
    sweeps.append(sweep)
    sweep.wait_until_training()
    told = with_status(sweep.dir, "running")
    for job in told:
        # what SLURM sends for submitit, here and there
        os.kill(records(sweep.dir)[job.name]["pid"], signal.SIGUSR2)
    assert sweep.wait().code == 0
    assert endings(sweep.dir) == long
    assert told
    for job in told:
        log = (job / "train.log").read_text()
        assert log.index("stopped by SIGUSR2") < log.index("Requeued job") < log.index("resuming from step")


# in short: test_vectorized.py has a search, test_sweeps.py one that is stopped
@pytest.mark.slow
def test_a_search_survives_failing_trials_in_a_storage_of_ones_own(tmp_path: Path, sweeps: list[Sweep]) -> None:
    storage = tmp_path / "elsewhere.db"
    search = Sweep(
        tmp_path,
        *SHORT,
        "hydra/sweeper=optuna",
        "hydra/launcher=joblib",
        "hydra.sweeper.n_trials=5",
        "hydra.sweeper.n_jobs=2",
        "hydra.sweeper.study_name=mine",
        f"hydra.sweeper.storage=sqlite:///{storage}",
        "optimizer.lr=choice(0.003, 0.01, 1e30)",
        "callbacks=early_stopping",
        "callbacks.early_stopping.patience=1",
        "callbacks.early_stopping.min_delta=10",
        "trainer.max_steps=100",
    )
    sweeps.append(search)
    outcome = search.wait()
    assert outcome.code == 1
    assert "Traceback" not in outcome.err + outcome.out
    assert not (search.dir / "study.db").exists()
    found = trials_of(storage, "mine")
    assert len(found) == 5
    assert {state for *_, state in found} == {"COMPLETE", "FAIL"}
    for params, value, state in found:
        (job,) = [
            search.dir / name
            for name, record in records(search.dir).items()
            if record["differs"]["optimizer.lr"] == params["optimizer.lr"]
        ]
        assert (state == "FAIL") == (params["optimizer.lr"] == 1e30)
        if state == "COMPLETE":
            metrics = json.loads((job / "metrics.json").read_text())
            # two validations without enough of a gain, of five
            assert metrics["steps"] == 40
            assert value == metrics["val/nll"]


def test_slurm_is_asked_for_the_resources_of_the_config(tmp_path: Path, sweeps: list[Sweep]) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, content in {"srun": "", "sbatch": f"cp $1 {tmp_path}/submitted; echo no slurm here >&2; exit 1"}.items():
        (commands / name).write_text(f"#!/bin/sh\n{content}\n")
        (commands / name).chmod(0o755)
    sweep = Sweep(
        tmp_path,
        *SMALL,
        "sweep=slurm",
        "hydra.launcher.partition=cpu",
        "hydra.launcher.timeout_min=90",
        "threads=3",
        env={"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
    )
    sweeps.append(sweep)
    outcome = sweep.wait()
    assert outcome.code == 1
    assert "no slurm here" in outcome.err
    submitted = (tmp_path / "submitted").read_text()
    for line in ("partition=cpu", "time=90", "mem=4GB", "cpus-per-task=3", "signal=USR2@120", "array=0-7%8"):
        assert f"#SBATCH --{line}\n" in submitted


@SLOW
def test_no_cluster_at_the_address_is_one_line(tmp_path: Path, sweeps: list[Sweep]) -> None:
    sweep = Sweep(tmp_path, *SHORT, "hydra/launcher=ray", "hydra.launcher.ray.init.address=auto", "seed=0,1")
    sweeps.append(sweep)
    outcome = sweep.wait()
    if any(process.name() == "raylet" for process in psutil.process_iter()):
        pytest.skip("a Ray runs on this machine, perhaps that of tests/cluster")
    assert outcome.code == 2
    assert "error: hydra.launcher.ray.init: Could not find any running Ray instance" in outcome.err
    assert not sweep.dir.exists()
