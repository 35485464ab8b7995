"""Checks sweeps as a user runs them: tables, failures, signals, kills, and resuming."""

import json
import os
import random
import re
import shutil
import signal
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from trials import (
    SHORT,
    Outcome,
    assert_same,
    at_call,
    contents,
    ending,
    endings,
    in_parallel,
    records,
    run,
    send_myself,
    signal_at,
    signal_at_step,
    start,
    statuses,
    table,
    trials_of,
    with_status,
)

from makemore.checkpoints import checkpoints_of, step_of
from makemore.sweeps import job, lifecycle
from makemore.sweeps.records import read_jobs, read_sweep, write_job
from makemore.sweeps.table import Sweep, table_of
from makemore.system.files import held

# two jobs, and the four that have these among them
PAIR = ("seed=0", "optimizer.lr=0.01,0.02", "model.l2=0")
GRID = ("seed=0", "optimizer.lr=0.01,0.02", "model.l2=0,0.1")
# the moments of a job, by what it calls next
MOMENTS = (
    "makemore.sweeps.job:run_job",
    "makemore.sweeps.job:write_job",
    "makemore.sweeps.job:resource_errors",
    "makemore.system.signals:requested",
    "makemore.system.files:write_sealed",
    "makemore.runs.outcome:load",
)
FULL = pytest.mark.full

Command = Callable[..., Outcome]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The arguments of every sweep here: a small model and text, and the directory S."""
    path = tmp_path_factory.mktemp("text") / "names.txt"
    path.write_text("".join(f"{a}{b}{a}\n" for a in "abcdefg" for b in "hijklmno"))
    # what watches a run takes most of its time; test_vectorized.py has sweeps with it
    return ["-m", "data=text", f"data.path={path}", *SHORT, "watch=none", "hydra.sweep.dir=S"]


@pytest.fixture(scope="module")
def forked(given: list[str]) -> Command:
    """Run a sweep in a process of its own, below a directory."""
    return lambda cwd, *arguments, **options: run("train", *given, *arguments, cwd=cwd, **options)


@pytest.fixture
def sweep(given: list[str], command: Command) -> Command:
    """Run a sweep in this process, below `tmp_path`."""
    return lambda *arguments: command("train", *given, *arguments)


@pytest.fixture(scope="module")
def whole(forked: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a sweep of four jobs that nothing interrupted."""
    cwd = tmp_path_factory.mktemp("whole")
    outcome = forked(cwd, *GRID)
    assert outcome.code == 0, outcome.err
    return cwd / "S"


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, S in `tmp_path`, to be resumed."""
    return Path(shutil.copytree(whole, tmp_path / "S"))


def assert_untouched(before: list[dict[str, tuple[int, bytes]]], sweep_dir: Path) -> None:
    """No file of these jobs was written since."""
    now = contents(sweep_dir)
    assert all(content.items() <= now.items() for content in before)


def assert_ended_as(sweep_dir: Path, whole: Path) -> None:
    """Every job ended as that of the sweep that nothing interrupted, which may have more of them."""
    assert set(statuses(sweep_dir).values()) == {"finished"}
    assert endings(sweep_dir).items() <= endings(whole).items()


def test_a_sweep_ends_with_a_table_and_the_commands_for_its_best(whole: Path) -> None:
    rows = table(whole)
    assert [row["status"] for row in rows] == ["finished"] * 4
    nlls = [float(row["val/nll"]) for row in rows]
    assert nlls == sorted(nlls)
    assert {(row["optimizer.lr"], row["model.l2"]) for row in rows} == {
        (lr, l2) for lr in ("0.01", "0.02") for l2 in ("0", "0.1")
    }
    best = whole / rows[0]["job"]
    assert json.loads((best / "metrics.json").read_text())["val/nll"] == nlls[0]
    assert sorted(path.name for path in whole.iterdir() if path.is_file()) == [
        ".lock",
        "multirun.yaml",
        "sweep.csv",
        "sweep.json",
    ]
    assert sorted(path.name for path in (best / ".hydra").iterdir()) == ["config.yaml", "hydra.yaml", "overrides.yaml"]


def test_where_slurm_is_installed_nothing_but_the_live_line_is_shown(forked: Command, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "srun").chmod(0o755)
    outcome = forked(tmp_path, "seed=0,1", env={"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"})
    assert outcome.code == 0, outcome.err
    assert [line for line in outcome.err.splitlines() if not re.match(r"\d+ complete, \d+ running", line)] == []


def test_a_job_is_a_run_like_any_other(copied: Path, command: Command, tmp_path: Path) -> None:
    name, record = next(
        item for item in records(copied).items() if item[1]["differs"] == {"optimizer.lr": 0.02, "model.l2": 0.1}
    )
    outcome = command("train", *record["overrides"], "hydra.run.dir=R")
    assert outcome.code == 0, outcome.err
    run = ending(tmp_path / "R")
    # which a job does not end with
    run["metrics.json"] = {key: value for key, value in run["metrics.json"].items() if not key.startswith("mixture/")}
    job = ending(copied / name)
    for ended in (run, job):
        # in TensorBoard a colour is a split of a run, but a job of a sweep
        ended["points"] = {key: each for key, each in ended["points"].items() if "nll/" not in key[0]}
    assert job == run
    # and can be resumed by itself
    assert command("train", f"resume={copied / name}").code == 0


def test_jobs_that_raise_stop_no_others(forked: Command, sweep: Command, tmp_path: Path) -> None:
    """One meets a bug, one diverges, one has a wrong value; the sweep is completed but for them."""
    arguments = ["optimizer.lr=0.001,0.002,1e30,-1,0.004", "trainer.max_steps=12"]
    outcome = forked(tmp_path, *arguments, prepare=partial(at_call, MOMENTS[2], 2, _bug))
    assert outcome.code == 1
    assert len(with_status(tmp_path / "S", "finished")) == 2
    failed = {
        record["differs"]["optimizer.lr"]: record
        for record in records(tmp_path / "S").values()
        if record["status"] == "failed"
    }
    assert failed.keys() == {0.002, 1e30, -1}
    assert failed[0.002]["message"] == "KeyError: 'a bug of ours'"
    assert "lower optimizer.lr" in failed[1e30]["message"]
    assert failed[-1]["message"] == "optimizer.lr must be at least 0, not -1"
    for name, record in records(tmp_path / "S").items():
        if record["status"] == "failed":
            said = (tmp_path / "S" / name / "train.log").read_text()
            assert record["message"].removeprefix("KeyError: ") in said
            assert ("Traceback" in said) == ("bug" in said)
            assert record["message"] in outcome.out
            assert f"failed: {name}: {record['message']}" in outcome.err
    assert "Traceback" not in outcome.out + outcome.err
    before = table(tmp_path / "S")
    assert len(before) == 5
    untouched = [contents(path) for path in with_status(tmp_path / "S", "finished")]
    assert "2 of 5 jobs are complete; the same command resumes the sweep:" in outcome.out
    assert "hydra.sweep.dir=S" in outcome.out
    # what failed is tried again; the bug is mended
    again = sweep(*arguments)
    assert again.code == 1
    assert len(with_status(tmp_path / "S", "finished")) == 3
    assert_untouched(untouched, tmp_path / "S")
    assert [row for row in before if row["status"] == "failed" and row["optimizer.lr"] != "0.002"] == [
        row for row in table(tmp_path / "S") if row["status"] == "failed"
    ]


def _bug() -> None:
    raise KeyError("a bug of ours")


@pytest.mark.full
def test_a_job_that_leaves_python_leaves_the_sweep(forked: Command, tmp_path: Path) -> None:
    outcome = forked(tmp_path, "seed=0,1", prepare=partial(at_call, MOMENTS[2], 2, _leave))
    assert outcome.code == 1
    assert sorted((job["status"], job["message"]) for job in records(tmp_path / "S").values()) == [
        ("failed", "SystemExit: 0"),
        ("finished", ""),
    ]


def _leave() -> None:
    raise SystemExit(0)


@pytest.mark.slow
def test_seven_jobs_of_which_three_fail_end_with_one_table_killed_half_way_or_not(
    forked: Command, tmp_path: Path
) -> None:
    rates = [f"{0.001 * number:.3f}" for number in range(1, 5)]
    arguments = [f"optimizer.lr={','.join(['nan', *rates[:2], '1e30', '-1', *rates[2:]])}", "trainer.max_steps=12"]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = forked(tmp_path / "whole", *arguments)
    assert whole.code == 1
    assert [row["status"] for row in table(tmp_path / "whole" / "S")].count("finished") == 4
    kill = partial(at_call, "makemore.system.files:write_sealed", 8, partial(send_myself, signal.SIGKILL))
    assert forked(tmp_path / "killed", *arguments, prepare=kill).code == -signal.SIGKILL
    finished = with_status(tmp_path / "killed" / "S", "finished")
    assert 0 < len(finished) < 4
    untouched = [contents(path) for path in finished]
    again = forked(tmp_path / "killed", *arguments)
    assert again.code == 1
    assert_untouched(untouched, tmp_path / "killed" / "S")
    assert table(tmp_path / "killed" / "S") == table(tmp_path / "whole" / "S")
    # from the table on, but for the seconds, what they print is the same
    assert _without_times(again.out) == _without_times(whole.out)


def _without_times(printed: str) -> list[str]:
    # the table has the seconds
    return [line for line in printed.splitlines() if line.count("  ") < 3]


@pytest.mark.parametrize(
    ("where", "signum", "code"),
    [
        pytest.param("in a job", signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param("between jobs", signal.SIGTERM, 143, marks=FULL),
        pytest.param("in a job", signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param("between jobs", signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_the_job_names_the_others_and_the_sweep_is_resumed(
    where: str, signum: int, code: int, forked: Command, sweep: Command, whole: Path, tmp_path: Path
) -> None:
    # 40 steps of a job, in blocks of 5, and each is asked for once more
    prepare = signal_at_step(55, signum) if where == "in a job" else signal_at(MOMENTS[0], 2, signum)
    outcome = forked(tmp_path, *GRID, prepare=prepare)
    assert outcome.code == code
    assert "Traceback" not in outcome.err
    begun = ["finished", "stopped"] if where == "in a job" else ["finished"]
    assert sorted(statuses(tmp_path / "S").values()) == begun
    assert [row["status"] for row in table(tmp_path / "S")].count("not run") == 4 - len(begun)
    assert outcome.out.count("not run") >= 4 - len(begun)
    for stopped in with_status(tmp_path / "S", "stopped"):
        assert 0 < step_of(checkpoints_of(stopped)[-1]) < 40
    untouched = [contents(path) for path in with_status(tmp_path / "S", "finished")]
    assert sweep(*GRID).code == 0
    assert_untouched(untouched, tmp_path / "S")
    assert_same(tmp_path / "S", whole)


def killed_and_resumed(
    cwd: Path, moment: tuple[str, int], grid: tuple[str, ...], forked: Command, whole: Path
) -> None:
    target, number = moment
    outcome = forked(cwd, *grid, prepare=partial(at_call, target, number, partial(send_myself, signal.SIGKILL)))
    assert outcome.code == -signal.SIGKILL, moment
    untouched = [contents(path) for path in with_status(cwd / "S", "finished")]
    again = forked(cwd, *grid)
    assert again.code == 0, again.err
    assert_untouched(untouched, cwd / "S")
    assert_ended_as(cwd / "S", whole)


@pytest.mark.parametrize(
    ("moment", "grid"),
    [
        ((MOMENTS[3], 55), PAIR),
        *(pytest.param(moment, GRID, marks=FULL) for moment in [(MOMENTS[1], 4), (MOMENTS[3], 75)]),
    ],
    ids=str,
)
def test_a_sweep_that_was_killed_is_resumed(
    moment: tuple[str, int], grid: tuple[str, ...], forked: Command, whole: Path, tmp_path: Path
) -> None:
    killed_and_resumed(tmp_path, moment, grid, forked, whole)
    if grid == GRID:
        assert_same(tmp_path / "S", whole)


@pytest.mark.slow
def test_a_sweep_that_was_killed_anywhere_is_resumed(forked: Command, whole: Path, tmp_path: Path) -> None:
    draw = random.Random(0)
    moments = [(target, number) for target in MOMENTS for number in draw.sample(range(1, 5), 3)]
    moments += [(MOMENTS[3], draw.randint(5, 160)) for _ in range(20)]

    def trial(item: tuple[int, tuple[str, int]]) -> None:
        cwd = tmp_path / str(item[0])
        killed_and_resumed(cwd, item[1], GRID, forked, whole)
        assert_same(cwd / "S", whole)

    in_parallel(trial, enumerate(moments))


def test_a_job_whose_process_died_three_times_in_a_sweep_has_failed_until_the_next(
    sweep: Command, whole: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written = job.read_job

    def as_an_engine_runs_it_again(run_dir: Path) -> Any:
        record = written(run_dir)
        if "lr_0.01-" in run_dir.name and record is None:
            # two of its processes have died before, and a third now
            write_job(run_dir, [], {}, "running", losses=2)
        return written(run_dir)

    with monkeypatch.context() as patch:
        patch.setattr(job, "read_job", as_an_engine_runs_it_again)
        outcome = sweep(*PAIR)
    assert outcome.code == 1
    (failed,) = [row for row in table(tmp_path / "S") if row["status"] == "failed"]
    assert failed["message"] == "its process was killed 3 times; out of memory, perhaps"
    assert failed["optimizer.lr"] == "0.01"
    # the next command tries it again, also where its own process was killed before
    (run_dir,) = with_status(tmp_path / "S", "failed")
    write_job(run_dir, records(tmp_path / "S")[run_dir.name]["overrides"], {}, "running", losses=2)
    assert sweep(*PAIR).code == 0
    assert_ended_as(tmp_path / "S", whole)


def test_a_job_whose_directory_another_process_holds_is_waited_for(
    given: list[str], copied: Path, whole: Path, tmp_path: Path
) -> None:
    last = sorted(records(copied))[-1]
    job = copied / last / "job.json"
    job.write_text(job.read_text().replace("finished", "stopped"))
    with held(copied / last, "trains"):
        child = start("train", *given, *GRID, cwd=tmp_path)
        child.wait_for("3 complete, 0 running")
        assert child.process.is_alive()
    outcome = child.wait()
    assert outcome.code == 0, outcome.err
    assert_same(copied, whole)


@FULL
def test_a_job_that_another_process_trains_is_waited_for(
    given: list[str], forked: Command, whole: Path, tmp_path: Path
) -> None:
    """As when the process that launched it was killed, and its workers were not."""
    # stopped in its second job, so that the first of those that are left has a directory
    assert forked(tmp_path, *GRID, prepare=signal_at_step(55)).code == 143
    (stopped,) = with_status(tmp_path / "S", "stopped")
    orphan = start("train", f"resume={stopped}", cwd=tmp_path, prepare=signal_at_step(10, signal.SIGSTOP))
    orphan.wait_for("resuming from step")
    child = start("train", *given, *GRID, cwd=tmp_path)
    child.wait_for("1 complete, 0 running")
    assert child.process.is_alive()
    orphan.send(signal.SIGCONT)
    assert orphan.wait().code == 0
    outcome = child.wait()
    assert outcome.code == 0, outcome.err
    assert_same(tmp_path / "S", whole)


@FULL
def test_two_sweeps_do_not_run_in_one_directory(sweep: Command, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_ORPHANS_GRACE", 0.0)
    before = contents(copied)
    with held(copied, "runs a sweep"):
        assert "S: another process runs a sweep there" in sweep(*GRID).error
    assert contents(copied) == before
    assert sweep(*GRID).code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["optimizer.lrr=1,2"], "did you mean optimizer.lr?"),
        (["model=mlp,gpt"], "gpt"),
        (
            ["seed=1,2", "data.path=nowhere.txt"],
            "none of the sweep's jobs could run; the first: nowhere.txt: no such file",
        ),
        pytest.param(
            ["model.hidden_dim=0,-1"], "none of the sweep's jobs could run; the first: model.hidden_dim", marks=FULL
        ),
        pytest.param(["optimizer.lr=interval(0,1)"], "does not support", marks=FULL),
        pytest.param(["seed=range(0)"], "seed=range(0): has no values", marks=FULL),
        (["seed=1,2", "threads=0", "hydra/launcher=joblib"], "threads must be at least 1"),
        (["seed=1,2", "resume=x"], "take out -m"),
        (["seed=1,2", "hydra.sweep.subdir=a/${hydra:job.num}"], "take out the /"),
        (["seed=1,2", "threads=two"], "threads must be a whole number"),
        pytest.param(["seed=1,2", "hydra/launcher=joblub"], "joblub", marks=FULL),
        (["seed=1,2", "hydra.sweep.dir=/proc/nowhere"], "/proc/nowhere"),
    ],
)
def test_what_no_job_could_run_with_is_one_line_and_leaves_nothing(
    arguments: list[str], said: str, sweep: Command, tmp_path: Path
) -> None:
    assert said in sweep(*arguments).error
    assert not (tmp_path / "S").exists()


def test_a_directory_whose_jobs_began_otherwise_is_left_alone(sweep: Command, copied: Path) -> None:
    """As after an edit of conf/: the same overrides compose something else."""
    config = next(copied.glob("*/.hydra/config.yaml"))
    config.write_text(config.read_text().replace("weight_decay: 0.01", "weight_decay: 0.02"))
    before = contents(copied)
    outcome = sweep(*GRID)
    assert outcome.code == 2
    assert "its job began with optimizer.weight_decay=0.02, which is 0.01 now" in outcome.err
    jobs = {path: content for path, content in before.items() if Path(path).parent != copied}
    assert jobs.items() <= contents(copied).items()


@pytest.mark.full
def test_a_job_with_a_symbolic_link_is_not_written_to(sweep: Command, copied: Path, tmp_path: Path) -> None:
    job = next(copied.glob("*/job.json"))
    job.write_text(job.read_text().replace("finished", "stopped"))
    (tmp_path / "mine").write_text("mine")
    job.with_name("metrics.csv").unlink()
    job.with_name("metrics.csv").symlink_to(tmp_path / "mine")
    outcome = sweep(*GRID)
    assert outcome.code == 2
    assert "metrics.csv: is a symbolic link" in outcome.err
    assert (tmp_path / "mine").read_text() == "mine"


SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "optimizer.lr=tag(log, interval(0.001, 0.1))")


@pytest.mark.parametrize(
    ("trials", "step"), [pytest.param(2, 55, marks=FULL), pytest.param(6, 150, marks=pytest.mark.slow)]
)
def test_a_search_that_was_stopped_is_resumed_to_what_it_would_have_found(
    trials: int, step: int, forked: Command, tmp_path: Path
) -> None:
    search = (
        *SEARCH,
        f"hydra.sweeper.n_trials={trials}",
        "hydra.sweeper.sampler.n_startup_trials=2",
        "model.l2=interval(0, 1)",
    )
    whole, stopped = (tmp_path / name / "S" for name in ("whole", "stopped"))
    assert forked(whole.parent, *search).code == 0
    # 40 steps of a trial, and each is asked for once more or so
    assert forked(stopped.parent, *search, prepare=signal_at_step(step)).code == 143
    finished = len(with_status(stopped, "finished"))
    assert trials // 3 < finished + 1 <= trials
    assert "stopped" in statuses(stopped).values()
    assert forked(stopped.parent, *search).code == 0
    found = trials_of(stopped / "study.db")
    assert found == trials_of(whole / "study.db")
    assert [state for *_, state in found] == ["COMPLETE"] * trials
    assert len(records(whole)) == trials
    assert_same(stopped, whole)
    assert finished <= len(trials_of(stopped / "study.before.db")) <= trials


@pytest.mark.full
def test_a_search_whose_jobs_began_otherwise_is_refused(forked: Command, tmp_path: Path) -> None:
    assert forked(tmp_path, *SEARCH, "hydra.sweeper.n_trials=1").code == 0
    config = next((tmp_path / "S").glob("lr_*/.hydra/config.yaml"))
    config.write_text(config.read_text().replace("weight_decay: 0.01", "weight_decay: 0.02"))
    for trials in (1, 2):
        outcome = forked(tmp_path, *SEARCH, f"hydra.sweeper.n_trials={trials}")
        assert outcome.code == 2
        assert "its job began with optimizer.weight_decay=0.02, which is 0.01 now" in outcome.err.splitlines()[-1]
        assert len(records(tmp_path / "S")) == 1


@pytest.mark.full
def test_a_search_that_draws_a_trial_again_has_nothing_left(forked: Command, tmp_path: Path) -> None:
    outcome = forked(tmp_path, *SEARCH[:2], "hydra.sweeper.n_trials=5", "seed=choice(0,1)", "optimizer.lr=0.01")
    assert outcome.code == 0
    assert "not run" not in outcome.out
    assert sorted(row["seed"] for row in table(tmp_path / "S")) == ["0", "1"]
    read = Sweep(tmp_path / "S", read_sweep(tmp_path / "S"), read_jobs(tmp_path / "S"))
    assert not any("not run" in note for note in table_of([read]).notes())


@pytest.mark.full
def test_a_search_stops_at_a_failure_rate_that_one_asks_for(forked: Command, tmp_path: Path) -> None:
    search = (*SEARCH[:2], "hydra.sweeper.n_trials=3", "optimizer.lr=choice(-1,-2)")
    assert "none of the sweep's jobs could run" in forked(tmp_path, *search).error
    failing = (*search[:3], "optimizer.lr=choice(1e30,1e31)")
    outcome = forked(tmp_path, *failing, "hydra.sweeper.max_failure_rate=0.0")
    assert outcome.code == 1
    assert list(statuses(tmp_path / "S").values()) == ["failed"]
    assert forked(tmp_path, *failing).code == 1
    assert list(statuses(tmp_path / "S").values()) == ["failed", "failed"]


@pytest.mark.full
def test_a_sweep_can_be_given_more_values_also_of_what_was_fixed(sweep: Command, copied: Path) -> None:
    untouched = [contents(path) for path in with_status(copied, "finished")]
    assert sweep("seed=0", "optimizer.lr=0.02,0.03", "model.l2=0").code == 0
    assert sorted(row["optimizer.lr"] for row in table(copied)) == ["0.01", "0.01", "0.02", "0.02", "0.03"]
    assert sweep("seed=0,1", "optimizer.lr=0.01", "model.l2=0").code == 0
    # and fewer of them
    assert sweep("seed=0", "optimizer.lr=0.01", "model.l2=0").code == 0
    assert_untouched(untouched, copied)
    given = [(row["seed"], row["optimizer.lr"], row["model.l2"]) for row in table(copied)]
    grid = [("0", lr, l2) for lr in ("0.01", "0.02") for l2 in ("0", "0.1")]
    assert sorted(given) == sorted([*grid, ("0", "0.03", "0"), ("1", "0.01", "0")])
    # another value of what all jobs share is in the table too
    assert sweep("seed=0", "optimizer.lr=0.01", "model.l2=0", "trainer.max_steps=20").code == 0
    assert sorted(row["trainer.max_steps"] for row in table(copied)) == ["20", *["40"] * 6]


@pytest.mark.parametrize(
    "content", [": : [", *(pytest.param(content, marks=FULL) for content in ("", "a: 1\n", "trainer: {}"))]
)
def test_a_damaged_config_of_a_job_is_named(content: str, sweep: Command, copied: Path, tmp_path: Path) -> None:
    config = next(copied.glob("*/.hydra/config.yaml"))
    config.write_text(content)
    outcome = sweep(*GRID)
    assert outcome.code == 2
    assert f"{config.relative_to(tmp_path)}: " in outcome.err.splitlines()[-1]
    assert "Traceback" not in outcome.err


@pytest.mark.full
def test_a_finished_job_that_has_lost_its_result_makes_it_anew(sweep: Command, copied: Path, whole: Path) -> None:
    damaged = ("{}", '{"steps": 1, "seconds": 1}', "{")
    for content, path in zip(damaged, copied.glob("*/metrics.json"), strict=False):
        path.write_text(content)
    assert sweep(*GRID).code == 0
    assert_same(copied, whole)


@pytest.mark.full
def test_what_reads_standard_error_may_have_had_enough(forked: Command, tmp_path: Path) -> None:
    outcome = forked(tmp_path, "seed=0,1", prepare=_close_standard_error)
    assert outcome.code == 0
    assert "best of 2" in outcome.out


def _close_standard_error() -> None:
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(reading)


@pytest.mark.full
def test_a_stop_before_the_first_job_lists_them_all(
    forked: Command, sweep: Command, whole: Path, tmp_path: Path
) -> None:
    outcome = forked(tmp_path, *PAIR, prepare=signal_at(MOMENTS[0], 1))
    assert outcome.code == 143
    assert [row["status"] for row in table(tmp_path / "S")] == ["not run"] * 2
    assert sweep(*PAIR).code == 0
    assert_ended_as(tmp_path / "S", whole)


@FULL
def test_the_sweep_of_l2_shows_the_lessons_figures_beside_its_own(lesson_text: Path, tmp_path: Path) -> None:
    line = ["-m", "sweep=l2", "data=text", f"data.path={os.environ.get('MAKEMORE_NAMES') or lesson_text}"]
    outcome = run("train", *line, "hydra.sweep.dir=S", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    rows = table(tmp_path / "S")
    assert {row["L0"] for row in rows} == {"2.6531", "2.8925", "2.5767", "2.5635"}
    for row in rows:
        # unseeded there
        assert abs(float(row["train/loss"]) - float(row["L0"])) < 0.03
        assert row["L0"] in outcome.out


@FULL
def test_the_sweep_of_learning_rates_shows_the_lessons_conclusion(tmp_path: Path) -> None:
    """0.1 is about as high as it goes: the median of three seeds is lowest there."""
    outcome = run(
        "train", "-m", "sweep=lr", "optimizer.lr=0.01,0.1,1,3", "seed=0,1,2", "hydra.sweep.dir=S", cwd=tmp_path
    )
    assert outcome.code == 0, outcome.err
    nlls: dict[float, list[float]] = {}
    for row in table(tmp_path / "S"):
        nlls.setdefault(float(row["optimizer.lr"]), []).append(float(row["val/nll"]))
    medians = {rate: statistics.median(values) for rate, values in nlls.items()}
    assert min(medians, key=medians.__getitem__) == 0.1
    assert medians[3] > 10


@pytest.mark.full
def test_batches_of_the_basic_sweeper_follow_a_failure(sweep: Command, tmp_path: Path) -> None:
    outcome = sweep("model.hidden_dim=0,4,8", "hydra.sweeper.max_batch_size=1")
    assert outcome.code == 1
    assert sorted(statuses(tmp_path / "S").values()) == ["failed", "finished", "finished"]


@pytest.mark.full
def test_a_sweep_that_slurm_requeues_is_found(given: list[str], whole: Path, tmp_path: Path) -> None:
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (tmp_path / "scontrol").chmod(0o755)
    env: dict[str, Any] = {"SLURM_JOB_ID": "41", "PATH": f"{tmp_path}:/usr/bin:/bin"}
    # in a directory named after the time
    line = [*given[:-1], *PAIR]
    first = run("train", *line, cwd=tmp_path, env=env, prepare=signal_at_step(55, signal.SIGUSR1))
    assert first.code == 128 + signal.SIGUSR1
    assert (tmp_path / "asked").read_text() == "requeue 41\n"
    second = run("train", *line, cwd=tmp_path, env=env | {"SLURM_RESTART_COUNT": "1"})
    assert second.code == 0, second.err
    (sweep_dir,) = (tmp_path / "logs" / "train" / "multiruns").iterdir()
    assert len(records(sweep_dir)) == 2
    assert_ended_as(sweep_dir, whole)
