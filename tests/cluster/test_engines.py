"""Sweeps on real engines whose processes and machines die: they end as those that were never disturbed, to the bit."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from ray_here import Ray
from slurm_here import Slurm, wait_until
from trials import (
    Child,
    assert_same,
    contents,
    endings,
    records,
    run,
    sample_as_users_do,
    start,
    statuses,
    table,
    with_status,
)

FULL, SLOW = pytest.mark.full, pytest.mark.slow
BOTH = ("ray", "slurm")
on_both = pytest.mark.parametrize("engine", BOTH, indirect=True)

SMALL = ("data.max_lines=300", "model=mlp", "model.hidden_dim=8", "num_samples=2", "optimizer.lr=0.003")
# some seconds a job, or a group
LONG = (*SMALL, "trainer.max_steps=3000", "val_every=1500", "log_every=300", "checkpoint_every=300")
GROUPS = ("hydra/launcher=vectorized", "hydra.launcher.members_per_group=2")
SIX = "seed=range(6)"
# of sixteen configurations
SEARCH = ("sweep=halving", "data.max_lines=2000", "seed=range(2)", "optimizer.lr=0.0003,0.001,0.003,0.01")
SEARCH += ("model.l2=0,0.01", "trainer.max_steps=480", "val_every=48")


def plain(engine: Ray | Slurm) -> tuple[str, ...]:
    """Return the launcher that runs a job a task."""
    return ("hydra/launcher=submitit_slurm" if isinstance(engine, Slurm) else "hydra/launcher=ray",)


def grouped(engine: Ray | Slurm) -> tuple[str, ...]:
    """Return the launcher that runs two members a task."""
    return (*GROUPS, f"hydra.launcher.engine={'slurm' if isinstance(engine, Slurm) else 'ray'}")


Launcher = Callable[[Ray | Slurm], tuple[str, ...]]
on_either = pytest.mark.parametrize("launcher", [plain, grouped])


class Sweep:
    """A sweep on an engine, being run."""

    started: ClassVar[list["Sweep"]] = []

    def __init__(self, cwd: Path, engine: Ray | Slurm, *arguments: str) -> None:
        self.dir = cwd / "sweep"
        self.engine = engine
        self.child: Child = start("train", "-m", f"hydra.sweep.dir={self.dir}", *arguments, cwd=cwd, env=engine.env)
        self.started.append(self)

    def wait(self) -> str:
        """Wait for its end, which is without an error; return what it said."""
        # a job that is queued again waits
        outcome = self.child.wait(timeout=1800)
        assert outcome.code == 0, outcome.err + outcome.out
        return outcome.err

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, of a sweep that has not ended."""
        wait_until(lambda: condition() or not self.child.process.is_alive(), self.child.err)
        assert self.child.process.is_alive(), self.child.err.read_text() + self.child.out.read_text()

    def wait_until_saved(self) -> None:
        """Wait until jobs run on both nodes, and one of them has saved."""
        self.wait_for(lambda: len(self.pids("running")) == 2)
        self.wait_for(lambda: any(any(path.glob("checkpoints/*")) for path in with_status(self.dir, "running")))

    def pids(self, *of_status: str) -> set[int]:
        """Return the processes of jobs with one of some statuses."""
        return {record["pid"] for record in records(self.dir).values() if record["status"] in of_status}


def quickest(sweep_dir: Path) -> float:
    """Return the shortest training of a sweep's jobs, in seconds."""
    return min(json.loads(path.read_text())["seconds"] for path in sweep_dir.glob("*/metrics.json"))


def assert_among(sweep_dir: Path, undisturbed: Path) -> None:
    """Check that the finished jobs of a sweep ended as those of another that has them among others, to the bit."""
    ended = endings(sweep_dir, [path.name for path in with_status(sweep_dir, "finished")])
    assert ended.items() <= endings(undisturbed).items()


def losses(sweep_dir: Path) -> list[int]:
    return [record["losses"] for record in records(sweep_dir).values()]


@pytest.fixture(autouse=True)
def _none_is_left() -> Iterator[None]:
    """End the sweep of a test that has failed, for which pytest would wait."""
    yield
    while Sweep.started:
        if (process := Sweep.started.pop().child.process).is_alive():
            process.kill()


def swept_here(cwd: Path, *arguments: str, name: str = "sweep") -> Path:
    """Run a sweep on this machine, which ends without an error, and return its directory."""
    line = ("-m", f"hydra.sweep.dir={cwd / name}", *arguments)
    assert run("train", *line, cwd=cwd, prepare=sample_as_users_do).code == 0
    return cwd / name


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six members by the vectorised launcher, here."""
    arguments = (*LONG, SIX, "hydra/launcher=vectorized", "hydra.launcher.n_jobs=1")
    return swept_here(tmp_path_factory.mktemp("whole"), *arguments)


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four jobs by the basic launcher."""
    return swept_here(tmp_path_factory.mktemp("alone"), *LONG, "seed=range(4)")


@pytest.fixture
def undisturbed(launcher: Launcher, request: pytest.FixtureRequest) -> Path:
    """The sweep here whose jobs end as those of a launcher that is disturbed, to the bit."""
    found: Path = request.getfixturevalue("alone" if launcher is plain else "whole")
    return found


@pytest.mark.parametrize(
    ("engine", "launcher"),
    [
        pytest.param("ray", grouped, marks=FULL),
        # SLURM lets what it queues again wait
        pytest.param("slurm", grouped, marks=SLOW),
        pytest.param("ray", plain, marks=SLOW),
        pytest.param("slurm", plain, marks=SLOW),
    ],
    indirect=["engine"],
)
def test_what_a_dead_node_ran_resumes_on_another(
    engine: Ray | Slurm, launcher: Launcher, undisturbed: Path, tmp_path: Path
) -> None:
    seeds = SIX if launcher is grouped else "seed=range(4)"
    sweep = Sweep(tmp_path, engine, *LONG, seeds, *launcher(engine))
    sweep.wait_until_saved()
    engine.kill_node("n1")
    sweep.wait()
    assert_same(sweep.dir, undisturbed)
    assert any(losses(sweep.dir))


@SLOW
@on_both
def test_of_64_members_in_groups_none_is_lost_with_a_node(engine: Ray | Slurm, tmp_path: Path) -> None:
    arguments = (*LONG, "seed=range(64)", "hydra/launcher=vectorized")
    here = swept_here(tmp_path, *arguments, name="here")
    sweep = Sweep(tmp_path, engine, *arguments, "hydra.launcher.members_per_group=16", grouped(engine)[-1])
    # half-way: of four groups two have ended, and the others run
    sweep.wait_for(lambda: len(with_status(sweep.dir, "finished")) >= 32)
    sweep.wait_until_saved()
    engine.kill_node("n1")
    sweep.wait()
    assert_same(sweep.dir, here)
    assert any(losses(sweep.dir))


@SLOW
@on_both
def test_a_process_that_is_killed_is_started_again(engine: Ray | Slurm, whole: Path, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, engine, *LONG, SIX, *grouped(engine))
    sweep.wait_until_saved()
    for pid in sweep.pids("running"):
        os.kill(pid, signal.SIGKILL)
    sweep.wait()
    assert_same(sweep.dir, whole)
    assert any(losses(sweep.dir))


@SLOW
@on_both
@on_either
def test_a_job_that_kills_its_process_three_times_has_failed_and_the_others_finish(
    engine: Ray | Slurm, launcher: Launcher, undisturbed: Path, tmp_path: Path
) -> None:
    sweep = Sweep(tmp_path, engine, *LONG, "seed=range(4)", *launcher(engine))
    killed = list[int]()
    while sweep.child.process.is_alive():
        for record in records(sweep.dir).values():
            if "seed=2" in record["overrides"] and record["status"] == "running" and record["pid"] not in killed:
                killed.append(record["pid"])
                os.kill(record["pid"], signal.SIGKILL)
        time.sleep(0.1)
    outcome = sweep.child.wait()
    assert outcome.code == 1, outcome.err
    assert len(killed) == 3
    assert sorted(statuses(sweep.dir).values()) == ["failed", "finished", "finished", "finished"]
    assert_among(sweep.dir, undisturbed)
    (failed,) = [row for row in table(sweep.dir) if row["status"] == "failed"]
    assert failed["seed"] == "2"
    assert "its process was killed 3 times" in failed["message"]
    assert "Traceback" not in outcome.err + outcome.out


@SLOW
@on_both
def test_after_a_kill_of_the_command_the_same_command_finishes(
    engine: Ray | Slurm, whole: Path, tmp_path: Path
) -> None:
    arguments = (*LONG, SIX, *grouped(engine))
    killed = Sweep(tmp_path, engine, *arguments)
    killed.wait_until_saved()
    killed.child.send(signal.SIGKILL)
    killed.child.process.join()
    again = Sweep(tmp_path, engine, *arguments)
    again.wait()
    assert_same(again.dir, whole)


@SLOW
@on_both
def test_a_node_that_joins_late_takes_groups(engine: Ray | Slurm, whole: Path, tmp_path: Path) -> None:
    engine.kill_node("n2")
    sweep = Sweep(tmp_path, engine, *LONG, SIX, *grouped(engine))
    sweep.wait_for(lambda: bool(sweep.pids("running")))
    engine.start("n3")
    # SLURM may have lost the group that it gave to the dead node by then, so that no two run at once
    sweep.wait_for(lambda: bool({process.pid for process in engine.tasks("n3")} & sweep.pids("running")))
    sweep.wait()
    assert_same(sweep.dir, whole)


@pytest.mark.parametrize(
    ("engine", "members"),
    [
        pytest.param("slurm", 10, marks=FULL),
        pytest.param("ray", 200, marks=SLOW),
        pytest.param("slurm", 200, marks=SLOW),
    ],
    indirect=["engine"],
)
def test_members_are_those_of_this_machine(engine: Ray | Slurm, members: int, tmp_path: Path) -> None:
    arguments = ("sweep=bigram_seeds", f"seed=range({members})", "data.max_lines=2000")
    here = swept_here(tmp_path, *arguments, name="here")
    sweep = Sweep(tmp_path, engine, *arguments, grouped(engine)[-1])
    sweep.wait()
    assert_same(sweep.dir, here)


@SLOW
@on_either
def test_a_time_limit_of_slurm_is_outlasted(launcher: Launcher, slurm: Slurm, tmp_path: Path) -> None:
    def run_here(name: str, steps: int) -> Path:
        # a process each, as there
        launched = "hydra/launcher=vectorized" if launcher is grouped else "hydra/launcher=joblib"
        return swept_here(tmp_path, *given, f"trainer.max_steps={steps}", launched, name=name)

    given = (*SMALL, "patience=null", "val_every=5000", "log_every=500", "seed=0,1")
    # four minutes; of one a job trains for 40 seconds or less, as SLURM looks at its clock every 30 seconds
    steps = int(5000 * 240 / quickest(run_here("tried", 5000)))
    expected = run_here("expected", steps)
    options = "hydra.launcher" if launcher is plain else "hydra.launcher.slurm"
    limit = [f"{options}.{option}" for option in ("timeout_min=1", "signal_delay_s=10", "max_num_timeout=40")]
    sweep = Sweep(tmp_path, slurm, *given, f"trainer.max_steps={steps}", *launcher(slurm), *limit)
    sweep.wait()
    assert_same(sweep.dir, expected)
    for log in sweep.dir.glob("*/train.log"):
        assert log.read_text().count("resuming from step") >= 3


@SLOW
@on_either
def test_jobs_that_slurm_cancels_are_saved_and_the_same_command_resumes_them(
    launcher: Launcher, slurm: Slurm, undisturbed: Path, tmp_path: Path
) -> None:
    arguments = (*LONG, "seed=range(4)", *launcher(slurm))
    sweep = Sweep(tmp_path, slurm, *arguments)
    sweep.wait_until_saved()
    subprocess.run(["scancel", "--me", "--state=RUNNING"], env=os.environ | slurm.env, check=True)
    outcome = sweep.child.wait()
    assert outcome.code == 1, outcome.err
    assert "stopped" in statuses(sweep.dir).values()
    assert set(losses(sweep.dir)) == {0}
    again = Sweep(tmp_path, slurm, *arguments)
    again.wait()
    assert_among(again.dir, undisturbed)


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of sixteen configurations in which none is pruned."""
    return swept_here(tmp_path_factory.mktemp("searched"), *SEARCH, "hydra.launcher.halving.first=null")


@SLOW
@on_both
def test_halving_compares_the_groups_of_an_engine(engine: Ray | Slurm, searched: Path, tmp_path: Path) -> None:
    arguments = (*SEARCH, "hydra.launcher.halving.first=48", "hydra.launcher.members_per_group=4", grouped(engine)[-1])
    sweep = Sweep(tmp_path, engine, *arguments)
    sweep.wait()
    assert set(statuses(sweep.dir).values()) == {"finished", "pruned"}
    assert_among(sweep.dir, searched)
    for path in with_status(sweep.dir, "pruned"):
        assert (searched / path.name / "metrics.csv").read_text().startswith((path / "metrics.csv").read_text())
    # each group leaves what it decided, having seen those before
    decided = [path.read_text().splitlines()[1:] for path in (sweep.dir / "rungs").glob("00000048-*.csv")]
    assert sorted(map(len, decided)) == [4, 4, 4, 4]
    before = [contents(sweep.dir / name) for name in records(sweep.dir)]
    again = Sweep(tmp_path, engine, *arguments)
    assert "16 complete" in again.wait()
    assert [contents(again.dir / name) for name in records(again.dir)] == before
