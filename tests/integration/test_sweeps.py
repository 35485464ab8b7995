"""Checks sweeps as a user runs them: tables, failures, signals, kills, and going on."""

import csv
import json
import os
import random
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from trials import (
    ROOT,
    SHORT,
    Outcome,
    at_call,
    ending,
    in_parallel,
    run,
    send_myself,
    signal_at,
    signal_at_step,
    start,
    trials_of,
)

from makemore.checkpoints import checkpoints_of, step_of

GRID = ("optimizer.lr=0.01,0.02", "model.l2=0,0.1")
# the moments of a job, by what it calls next
MOMENTS = (
    "makemore.sweeps.job:run_job",
    "makemore.sweeps.job:write_job",
    "makemore.sweeps.job:train_alone",
    "makemore.signals:requested",
    "makemore.files:write_sealed",
    "makemore.runs.outcome:load",
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "names.txt"
    path.write_text("".join(f"{a}{b}{a}\n" for a in "abcdefg" for b in "hijklmno"))
    return path


@pytest.fixture(scope="module")
def sweep(text: Path) -> Callable[..., Outcome]:
    """Run a sweep of the small model below a directory, in DIR/S."""

    def run_sweep(cwd: Path, *arguments: str, **options: Any) -> Outcome:
        line = ["-m", "data=text", f"data.path={text}", *SHORT, "hydra.sweep.dir=S", *arguments]
        return run("train", *line, cwd=cwd, **options)

    return run_sweep


@pytest.fixture(scope="module")
def whole(sweep: Callable[..., Outcome], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a sweep of four jobs that nothing interrupted."""
    cwd = tmp_path_factory.mktemp("whole")
    outcome = sweep(cwd, *GRID)
    assert outcome.code == 0, outcome.err
    return cwd / "S"


def records(sweep_dir: Path) -> dict[str, dict[str, Any]]:
    """Return the record of each job that has begun, by its directory."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(sweep_dir.glob("*/job.json"))}


def statuses(sweep_dir: Path) -> list[str]:
    return [record["status"] for record in records(sweep_dir).values()]


def table(sweep_dir: Path) -> list[dict[str, str]]:
    """Return the rows of a sweep's table, without what no two sweeps share."""
    with (sweep_dir / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    return rows


def contents(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return when each file below a directory was written, and what is in it."""
    paths = [path for path in directory.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def finished(sweep_dir: Path) -> list[Path]:
    return [sweep_dir / name for name, record in records(sweep_dir).items() if record["status"] == "finished"]


def assert_same(sweep_dir: Path, whole: Path) -> None:
    """Every job ended as that of the uninterrupted sweep, and so did the table."""
    assert records(sweep_dir).keys() == records(whole).keys()
    for name in records(whole):
        assert ending(sweep_dir / name) == ending(whole / name), name
    assert table(sweep_dir) == table(whole)


def test_a_sweep_ends_with_a_table_and_the_commands_for_its_best(whole: Path, tmp_path: Path) -> None:
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


def test_where_slurm_is_installed_nothing_but_the_live_line_is_shown(
    sweep: Callable[..., Outcome], tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "srun").chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    outcome = sweep(tmp_path, "seed=0,1", env={"PATH": path})
    assert outcome.code == 0, outcome.err
    assert [line for line in outcome.err.splitlines() if not re.match(r"\d+ done, \d+ running", line)] == []


def test_a_job_is_a_run_like_any_other(whole: Path, sweep: Callable[..., Outcome], text: Path, tmp_path: Path) -> None:
    record = next(
        record for record in records(whole).values() if record["differs"] == {"optimizer.lr": 0.02, "model.l2": 0.1}
    )
    outcome = run("train", *record["overrides"], "hydra.run.dir=R", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    job = next(whole / name for name, other in records(whole).items() if other == record)
    assert ending(job) == ending(tmp_path / "R")
    # and can be trained on by itself
    assert run("train", f"resume={job}", cwd=tmp_path).code == 0


def test_jobs_that_raise_stop_no_others(sweep: Callable[..., Outcome], tmp_path: Path) -> None:
    """One diverges, one has a wrong value, one meets a bug; the sweep goes on to the same table."""
    rates = ["0.001", "0.002", "0.003", "1e30", "-1", "0.004"]
    arguments = [f"optimizer.lr={','.join(rates)}", "trainer.max_steps=12"]
    outcome = sweep(tmp_path, *arguments, prepare=partial(at_call, "makemore.sweeps.job:train_alone", 3, _bug))
    assert outcome.code == 1
    assert statuses(tmp_path / "S").count("finished") == 3
    failed = {
        record["differs"]["optimizer.lr"]: record
        for record in records(tmp_path / "S").values()
        if record["status"] == "failed"
    }
    assert failed.keys() == {0.003, 1e30, -1}
    assert failed[0.003]["message"] == "KeyError: 'a bug of ours'"
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
    assert len(table(tmp_path / "S")) == 6
    before = table(tmp_path / "S")
    untouched = [contents(path) for path in finished(tmp_path / "S")]
    assert "hydra.sweep.dir=S" in outcome.out
    # going on retries what failed; the bug is mended
    again = sweep(tmp_path, *arguments)
    assert again.code == 1
    assert statuses(tmp_path / "S").count("finished") == 4
    assert all(content.items() <= contents(tmp_path / "S").items() for content in untouched)
    assert [row for row in before if row["status"] == "failed" and row["optimizer.lr"] != "0.003"] == [
        row for row in table(tmp_path / "S") if row["status"] == "failed"
    ]


def _bug() -> None:
    raise KeyError("a bug of ours")


def test_a_job_that_leaves_python_leaves_the_sweep(sweep: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = sweep(tmp_path, "seed=0,1", prepare=partial(at_call, "makemore.sweeps.job:train_alone", 1, _leave))
    assert outcome.code == 1
    assert sorted((job["status"], job["message"]) for job in records(tmp_path / "S").values()) == [
        ("failed", "SystemExit: 0"),
        ("finished", ""),
    ]


def _leave() -> None:
    raise SystemExit(0)


def test_twenty_jobs_of_which_three_fail_end_with_one_table_killed_half_way_or_not(
    sweep: Callable[..., Outcome], tmp_path: Path
) -> None:
    rates = [f"{0.001 * number:.3f}" for number in range(1, 18)]
    arguments = [f"optimizer.lr={','.join(['nan', *rates[:5], '1e30', '-1', *rates[5:]])}", "trainer.max_steps=12"]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = sweep(tmp_path / "whole", *arguments)
    assert whole.code == 1
    assert [row["status"] for row in table(tmp_path / "whole" / "S")].count("finished") == 17
    kill = partial(at_call, "makemore.files:write_sealed", 22, partial(send_myself, signal.SIGKILL))
    assert sweep(tmp_path / "killed", *arguments, prepare=kill).code == -signal.SIGKILL
    done = finished(tmp_path / "killed" / "S")
    assert 5 < len(done) < 15
    untouched = [contents(path) for path in done]
    again = sweep(tmp_path / "killed", *arguments)
    assert again.code == 1
    assert all(content.items() <= contents(tmp_path / "killed" / "S").items() for content in untouched)
    assert table(tmp_path / "killed" / "S") == table(tmp_path / "whole" / "S")
    # from the table on, but for the seconds, what they print is the same
    assert _without_times(again.out) == _without_times(whole.out)


def _without_times(printed: str) -> list[str]:
    # the table has the seconds
    return [line for line in printed.splitlines() if line.count("  ") < 3]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("where", ["in a job", "between jobs"])
def test_a_signal_saves_the_job_names_the_others_and_the_sweep_goes_on(
    signum: int, code: int, where: str, sweep: Callable[..., Outcome], whole: Path, tmp_path: Path
) -> None:
    # 40 steps of a job, in blocks of 5, and each is asked for once more
    prepare = (
        signal_at_step(55, signum) if where == "in a job" else signal_at("makemore.sweeps.job:run_job", 2, signum)
    )
    outcome = sweep(tmp_path, *GRID, prepare=prepare)
    assert outcome.code == code
    assert "Traceback" not in outcome.err
    begun = ["finished", "stopped"] if where == "in a job" else ["finished"]
    assert sorted(statuses(tmp_path / "S")) == begun
    assert [row["status"] for row in table(tmp_path / "S")].count("not run") == 4 - len(begun)
    assert outcome.out.count("not run") >= 4 - len(begun)
    stopped = [name for name, record in records(tmp_path / "S").items() if record["status"] == "stopped"]
    for name in stopped:
        assert 0 < step_of(checkpoints_of(tmp_path / "S" / name)[-1]) < 40
    untouched = [contents(path) for path in finished(tmp_path / "S")]
    assert sweep(tmp_path, *GRID).code == 0
    assert all(content.items() <= contents(tmp_path / "S").items() for content in untouched)
    assert_same(tmp_path / "S", whole)


def killed_and_gone_on_with(cwd: Path, moment: tuple[str, int], sweep: Callable[..., Outcome], whole: Path) -> None:
    target, number = moment
    outcome = sweep(cwd, *GRID, prepare=partial(at_call, target, number, partial(send_myself, signal.SIGKILL)))
    assert outcome.code == -signal.SIGKILL, moment
    sweep_dir = cwd / "S"
    done = finished(sweep_dir)
    untouched = [contents(path) for path in done]
    again = sweep(cwd, *GRID)
    assert again.code == 0, again.err
    assert all(content.items() <= contents(sweep_dir).items() for content in untouched), moment
    assert_same(sweep_dir, whole)


@pytest.mark.parametrize("moment", [(MOMENTS[0], 3), (MOMENTS[1], 4), (MOMENTS[3], 75)], ids=str)
def test_a_sweep_that_was_killed_goes_on(
    moment: tuple[str, int], sweep: Callable[..., Outcome], whole: Path, tmp_path: Path
) -> None:
    killed_and_gone_on_with(tmp_path, moment, sweep, whole)


@pytest.mark.slow
def test_a_sweep_that_was_killed_anywhere_goes_on(sweep: Callable[..., Outcome], whole: Path, tmp_path: Path) -> None:
    draw = random.Random(0)
    moments = [(target, number) for target in MOMENTS for number in draw.sample(range(1, 5), 3)]
    moments += [(MOMENTS[3], draw.randint(5, 160)) for _ in range(20)]
    in_parallel(
        lambda item: killed_and_gone_on_with(tmp_path / str(item[0]), item[1], sweep, whole), enumerate(moments)
    )


def test_a_job_that_another_process_is_at_is_waited_for(
    sweep: Callable[..., Outcome], whole: Path, text: Path, tmp_path: Path
) -> None:
    """As when the process that launched it was killed, and its workers were not."""
    # stopped in its third job, so that the first of those that are left has a directory
    assert sweep(tmp_path, *GRID, prepare=signal_at_step(55)).code == 143
    (name,) = [name for name, record in records(tmp_path / "S").items() if record["status"] == "stopped"]
    orphan = start(
        "train", f"resume={tmp_path / 'S' / name}", cwd=tmp_path, prepare=signal_at_step(10, signal.SIGSTOP)
    )
    orphan.wait_for("going on from step")
    child = start("train", "-m", "data=text", f"data.path={text}", *SHORT, "hydra.sweep.dir=S", *GRID, cwd=tmp_path)
    child.wait_for("1 done, 0 running")
    assert child.process.is_alive()
    orphan.send(signal.SIGCONT)
    assert orphan.wait().code == 0
    outcome = child.wait()
    assert outcome.code == 0, outcome.err
    assert_same(tmp_path / "S", whole)


def test_two_sweeps_do_not_run_in_one_directory(sweep: Callable[..., Outcome], text: Path, tmp_path: Path) -> None:
    child = start(
        "train",
        "-m",
        "data=text",
        f"data.path={text}",
        *SHORT,
        "hydra.sweep.dir=S",
        "seed=0,1",
        cwd=tmp_path,
        prepare=signal_at_step(10, signal.SIGSTOP),
    )
    while not records(tmp_path / "S"):
        assert child.process.is_alive()
        time.sleep(0.01)
    outcome = sweep(tmp_path, "seed=0,1")
    assert "S: another process runs a sweep there" in outcome.error
    child.send(signal.SIGCONT)
    assert child.wait().code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["optimizer.lrr=1,2"], "did you mean optimizer.lr?"),
        (["model=mlp,gru"], "gru"),
        (
            ["seed=1,2", "data.path=nowhere.txt"],
            "none of the sweep's jobs could run; the first: nowhere.txt: no such file",
        ),
        (["model.hidden_dim=0,-1"], "none of the sweep's jobs could run; the first: model.hidden_dim"),
        (["optimizer.lr=interval(0,1)"], "does not support"),
        (["seed=range(0)"], "seed=range(0): there is no such value"),
        (["seed=1,2", "threads=0", "hydra/launcher=joblib"], "threads must be at least 1"),
        (["seed=1,2", "resume=x"], "take out -m"),
        (["seed=1,2", "hydra.sweep.subdir=a/${hydra:job.num}"], "take out the /"),
        (["seed=1,2", "threads=two"], "threads must be a whole number"),
        (["seed=1,2", "hydra/launcher=joblub"], "joblub"),
        (["seed=1,2", "hydra.sweep.dir=/proc/nowhere"], "/proc/nowhere"),
    ],
)
def test_what_no_job_could_run_with_is_one_line_and_leaves_nothing(
    arguments: list[str], said: str, sweep: Callable[..., Outcome], tmp_path: Path
) -> None:
    outcome = sweep(tmp_path, *arguments)
    assert said in outcome.error
    assert not (tmp_path / "S").exists()


def test_a_directory_whose_jobs_began_otherwise_is_left_alone(
    sweep: Callable[..., Outcome], whole: Path, tmp_path: Path
) -> None:
    """As after an edit of conf/: the same overrides compose something else."""
    assert sweep(tmp_path, "seed=0,1").code == 0
    before = contents(tmp_path / "S")
    config = next((tmp_path / "S").glob("seed_0-*")) / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("weight_decay: 0.01", "weight_decay: 0.02"))
    before |= {str(config): (config.stat().st_mtime_ns, config.read_bytes())}
    outcome = sweep(tmp_path, "seed=0,1")
    assert outcome.code == 2
    assert "its job began with optimizer.weight_decay=0.02, which is 0.01 now" in outcome.err
    jobs = {path: content for path, content in before.items() if "seed_" in path}
    assert jobs.items() <= contents(tmp_path / "S").items()


def test_a_job_with_a_symbolic_link_is_not_written_to(sweep: Callable[..., Outcome], tmp_path: Path) -> None:
    assert sweep(tmp_path, "seed=0,1", prepare=signal_at_step(55)).code == 143
    (stopped,) = (tmp_path / "S" / name for name, job in records(tmp_path / "S").items() if job["status"] == "stopped")
    (tmp_path / "mine").write_text("mine")
    (stopped / "metrics.csv").unlink()
    (stopped / "metrics.csv").symlink_to(tmp_path / "mine")
    outcome = sweep(tmp_path, "seed=0,1")
    assert outcome.code == 2
    assert "metrics.csv: is a symbolic link" in outcome.err
    assert (tmp_path / "mine").read_text() == "mine"


SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "optimizer.lr=tag(log, interval(0.001, 0.1))")


def test_a_search_that_was_stopped_goes_on_to_what_it_would_have_found(
    sweep: Callable[..., Outcome], tmp_path: Path
) -> None:
    search = (
        *SEARCH,
        "hydra.sweeper.n_trials=6",
        "hydra.sweeper.sampler.n_startup_trials=2",
        "model.l2=interval(0, 1)",
    )
    whole, stopped = (tmp_path / name / "S" for name in ("whole", "stopped"))
    assert sweep(whole.parent, *search).code == 0
    # 40 steps of a trial, and each is asked for once more or so
    assert sweep(stopped.parent, *search, prepare=signal_at_step(150)).code == 143
    assert 2 <= statuses(stopped).count("finished") < 6
    assert "stopped" in statuses(stopped)
    assert sweep(stopped.parent, *search).code == 0
    found = trials_of(stopped / "study.db")
    assert found == trials_of(whole / "study.db")
    assert [state for *_, state in found] == ["COMPLETE"] * 6
    assert len(records(whole)) == 6
    assert_same(stopped, whole)
    assert 2 <= len(trials_of(stopped / "study.before.db")) <= 6


def test_a_search_whose_jobs_began_otherwise_is_refused(sweep: Callable[..., Outcome], tmp_path: Path) -> None:
    assert sweep(tmp_path, *SEARCH, "hydra.sweeper.n_trials=2").code == 0
    config = next((tmp_path / "S").glob("lr_*/.hydra/config.yaml"))
    config.write_text(config.read_text().replace("weight_decay: 0.01", "weight_decay: 0.02"))
    for trials in (2, 4):
        outcome = sweep(tmp_path, *SEARCH, f"hydra.sweeper.n_trials={trials}")
        assert outcome.code == 2
        assert "its job began with optimizer.weight_decay=0.02, which is 0.01 now" in outcome.err.splitlines()[-1]
        assert len(records(tmp_path / "S")) == 2


def test_a_search_that_draws_a_trial_again_has_nothing_left(sweep: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = sweep(tmp_path, *SEARCH[:2], "hydra.sweeper.n_trials=5", "seed=choice(0,1)", "optimizer.lr=0.01")
    assert outcome.code == 0
    assert "not run" not in outcome.out
    assert sorted(row["seed"] for row in table(tmp_path / "S")) == ["0", "1"]
    assert "not run" not in run("report", "S", cwd=tmp_path).out


def test_a_search_stops_at_a_failure_rate_that_one_asks_for(sweep: Callable[..., Outcome], tmp_path: Path) -> None:
    search = (
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.n_trials=3",
        "optimizer.lr=choice(-1,-2)",
    )
    assert "none of the sweep's jobs could run" in sweep(tmp_path, *search).error
    failing = (*search[:3], "optimizer.lr=choice(1e30,1e31)")
    outcome = sweep(tmp_path, *failing, "hydra.sweeper.max_failure_rate=0.0")
    assert outcome.code == 1
    assert statuses(tmp_path / "S") == ["failed"]
    assert sweep(tmp_path, *failing).code == 1
    assert statuses(tmp_path / "S") == ["failed", "failed"]


def test_a_sweep_can_be_given_more_values(sweep: Callable[..., Outcome], tmp_path: Path) -> None:
    assert sweep(tmp_path, "seed=0,1").code == 0
    untouched = [contents(path) for path in finished(tmp_path / "S")]
    assert sweep(tmp_path, "seed=1,2").code == 0
    assert sorted(row["seed"] for row in table(tmp_path / "S")) == ["0", "1", "2"]
    assert all(content.items() <= contents(tmp_path / "S").items() for content in untouched)


def test_a_sweep_can_sweep_over_what_was_the_same(sweep: Callable[..., Outcome], tmp_path: Path) -> None:
    assert sweep(tmp_path, "seed=0", "optimizer.lr=0.01,0.02").code == 0
    untouched = [contents(path) for path in finished(tmp_path / "S")]
    assert sweep(tmp_path, "seed=0,1", "optimizer.lr=0.01,0.02").code == 0
    # and narrow it again
    assert sweep(tmp_path, "seed=0", "optimizer.lr=0.01").code == 0
    assert all(content.items() <= contents(tmp_path / "S").items() for content in untouched)
    assert sorted((row["seed"], row["optimizer.lr"]) for row in table(tmp_path / "S")) == [
        (seed, lr) for seed in "01" for lr in ("0.01", "0.02")
    ]
    # another value of what is the same in this sweep is told apart too
    assert sweep(tmp_path, "seed=0", "optimizer.lr=0.01", "trainer.max_steps=20").code == 0
    assert sorted(row["trainer.max_steps"] for row in table(tmp_path / "S")) == ["20", *["40"] * 4]


@pytest.mark.parametrize("content", [": : [", "", "a: 1\n", "trainer: {}"])
def test_a_damaged_config_of_a_job_is_named(content: str, sweep: Callable[..., Outcome], tmp_path: Path) -> None:
    assert sweep(tmp_path, "seed=0,1").code == 0
    (config,) = (tmp_path / "S").glob("seed_1-*/.hydra/config.yaml")
    config.write_text(content)
    outcome = sweep(tmp_path, "seed=0,1")
    assert outcome.code == 2
    assert f"{config.relative_to(tmp_path)}: " in outcome.err.splitlines()[-1]
    assert "Traceback" not in outcome.err


def test_a_finished_job_that_has_lost_its_result_makes_it_anew(
    sweep: Callable[..., Outcome], whole: Path, tmp_path: Path
) -> None:
    assert sweep(tmp_path, *GRID).code == 0
    for content, path in zip(
        ("{}", '{"steps": 1, "seconds": 1}', "{"), (tmp_path / "S").glob("*/metrics.json"), strict=False
    ):
        path.write_text(content)
    assert sweep(tmp_path, *GRID).code == 0
    assert_same(tmp_path / "S", whole)


def test_what_reads_standard_error_may_have_had_enough(text: Path, tmp_path: Path) -> None:
    line = [
        sys.executable,
        str(ROOT / "scripts" / "train.py"),
        "-m",
        "data=text",
        f"data.path={text}",
        *SHORT,
        "seed=0,1",
    ]
    ended = subprocess.run(
        f"{shlex.join(line)} 2> >(head -c 1 > /dev/null)",
        shell=True,
        executable="/bin/bash",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0
    assert "best of 2" in ended.stdout


def test_a_stop_before_the_first_job_lists_them_all(sweep: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = sweep(tmp_path, *GRID, prepare=signal_at("makemore.sweeps.job:run_job", 1))
    assert outcome.code == 143
    assert [row["status"] for row in table(tmp_path / "S")] == ["not run"] * 4
    assert sweep(tmp_path, *GRID).code == 0


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


def test_batches_of_the_basic_sweeper_go_on_after_a_failure(sweep: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = sweep(tmp_path, "model.hidden_dim=0,4,8", "hydra.sweeper.max_batch_size=1")
    assert outcome.code == 1
    assert sorted(statuses(tmp_path / "S")) == ["failed", "finished", "finished"]


def test_a_sweep_that_slurm_queues_again_is_found(
    sweep: Callable[..., Outcome], text: Path, whole: Path, tmp_path: Path
) -> None:
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (tmp_path / "scontrol").chmod(0o755)
    env = {"SLURM_JOB_ID": "41", "PATH": f"{tmp_path}:/usr/bin:/bin"}
    line = ["-m", "data=text", f"data.path={text}", *SHORT, *GRID]
    first = run("train", *line, cwd=tmp_path, env=env, prepare=signal_at_step(55, signal.SIGUSR1))
    assert first.code == 128 + signal.SIGUSR1
    assert (tmp_path / "asked").read_text() == "requeue 41\n"
    second = run("train", *line, cwd=tmp_path, env=env | {"SLURM_RESTART_COUNT": "1"})
    assert second.code == 0, second.err
    (sweep_dir,) = (tmp_path / "logs" / "train" / "multiruns").iterdir()
    assert_same(sweep_dir, whole)
