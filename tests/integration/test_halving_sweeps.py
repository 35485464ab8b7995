"""Sweeps in which members are pruned: who goes on is as without, to the bit, and a resume ends in the same table."""

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from trials import (
    SHORT,
    Outcome,
    at_call,
    checkpoint,
    contents,
    ending,
    records,
    run,
    signal_at_step,
    statuses,
    table,
    trials_of,
    with_status,
)

# sizes that no processor likes, see test_vectorized.py; watching would take most of the time
SMALL = ("model.hidden_dim=11", "model.embedding_dim=3", "val_every=10", "patience=null", "watch=none")
GRID = ("optimizer.lr=0.0003,0.001,0.003,0.01", "seed=0,1")
INSIDE = ("hydra/launcher=vectorized", "hydra.launcher.n_jobs=1")
FORKED = ("hydra/launcher=vectorized", "hydra.launcher.n_jobs=2")
# of eight members four take more than 10 of 40 steps, and two more than 20
HALVING = ("hydra.launcher.halving.first=10", "hydra.launcher.halving.eta=2")
RUNGS = {10: 4, 20: 2}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Outcome]:
    """Run a sweep of eight small models in DIR/S."""
    text = tmp_path_factory.mktemp("text") / "names.txt"
    text.write_text("".join(f"{a}{b}{a}\n" for a in "abcdefg" for b in "hijklmno"))

    def sweep(cwd: Path, *arguments: str, **options: Any) -> Outcome:
        given = ("-m", "data=text", f"data.path={text}", *SHORT, *SMALL, "hydra.sweep.dir=S")
        return run("train", *given, *arguments, cwd=cwd, **options)

    return sweep


@pytest.fixture(scope="module")
def whole(sweep: Callable[..., Outcome], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the sweep without halving."""
    cwd = tmp_path_factory.mktemp("whole")
    outcome = sweep(cwd, *GRID, *INSIDE)
    assert outcome.code == 0, outcome.err
    return cwd / "S"


@pytest.fixture(scope="module")
def halved(sweep: Callable[..., Outcome], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The directory of the sweep with halving, which nothing interrupted, and what it printed."""
    cwd = tmp_path_factory.mktemp("halved")
    outcome = sweep(cwd, *GRID, *INSIDE, *HALVING)
    assert outcome.code == 0, outcome.err
    return cwd / "S", outcome


def val_nlls(run_dir: Path) -> dict[int, float]:
    with (run_dir / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): float(row["val/nll"]) for row in csv.DictReader(file) if row["val/nll"]}


def test_those_that_are_among_the_best_at_each_rung_are_those_of_the_whole_sweep(
    whole: Path, halved: tuple[Path, Outcome]
) -> None:
    half, outcome = halved
    nlls = {name: val_nlls(whole / name) for name in records(whole)}
    left, taken = set(nlls), dict.fromkeys(nlls, 40)
    for rung, number in RUNGS.items():
        best = set(sorted(left, key=lambda name: nlls[name][rung])[:number])
        taken |= dict.fromkeys(left - best, rung)
        left = best
    rows = {row["job"]: row for row in table(half)}
    assert {name: int(rows[name]["steps"]) for name in taken} == taken
    assert statuses(half) == {name: "finished" if name in left else "pruned" for name in taken}
    assert {name: row["status"] for name, row in rows.items()} == statuses(half)
    for name, steps in taken.items():
        if name in left:
            assert ending(half / name) == ending(whole / name)
            assert b"pruned" not in b"".join(path.read_bytes() for path in (half / name / "values").iterdir())
            continue
        assert val_nlls(half / name) == {step: nll for step, nll in nlls[name].items() if step <= steps}
        assert (half / name / "checkpoints" / f"step-{steps:08}.ckpt").exists()
        metrics = json.loads((half / name / "metrics.json").read_text())
        assert metrics["val/nll"] == float(rows[name]["val/nll"])
        assert "test/nll" not in metrics
        assert not (half / name / "samples.txt").exists()
        # its curves up to there, and a session of HPARAMS with its status
        of_hparams = b"".join(path.read_bytes() for path in (half / name / "values").iterdir())
        assert b"hparam/val_nll" in of_hparams
        assert b"pruned" in of_hparams
    # the finished ones come first, whatever the others had
    assert [row["status"] for row in table(half)] == ["finished"] * 2 + ["pruned"] * 6
    assert "2 finished, 6 pruned" in outcome.out
    assert "8 complete (6 pruned), 0 running, 0 failed, 0 left" in outcome.err


@pytest.mark.full
def test_the_same_command_again_trains_nothing_and_shows_the_same(
    sweep: Callable[..., Outcome], halved: tuple[Path, Outcome], tmp_path: Path
) -> None:
    half, _ = halved
    shutil.copytree(half, tmp_path / "S")
    jobs = [tmp_path / "S" / name for name in records(half)]
    before = [contents(job) for job in jobs]
    again = sweep(tmp_path, *GRID, *INSIDE, *HALVING)
    assert again.code == 0, again.err
    assert [contents(job) for job in jobs] == before
    assert (tmp_path / "S" / "sweep.csv").read_text() == (half / "sweep.csv").read_text()


def kept(run_dir: Path) -> dict[str, Any]:
    """Return what is in the newest and the best checkpoint of a run."""
    newest = max((run_dir / "checkpoints").glob("step-*.ckpt"))
    return {path.name: checkpoint(path) for path in (newest, *(run_dir / "checkpoints").glob("best-*.ckpt"))}


def assert_same_sweeps(sweep_dir: Path, other: Path) -> None:
    """Check that every job ended as that of the other sweep, to the bit, and so did the table."""
    assert table(sweep_dir) == table(other)
    assert statuses(sweep_dir) == statuses(other)
    for name, status in statuses(other).items():
        ours, theirs = sweep_dir / name, other / name
        if status == "finished":
            assert ending(ours) == ending(theirs)
        else:
            assert (ours / "metrics.csv").read_text() == (theirs / "metrics.csv").read_text()
            assert kept(ours) == kept(theirs)


def kill_at(target: str, number: int) -> Callable[[], None]:
    return partial(at_call, target, number, partial(os._exit, 9))


SHORT_FORMS = ("as one is pruned", "stopped after the second")
DECIDE, SEALED = "makemore.sweeps.vectorized.halving:Halving.decide", "makemore.system.files:write_sealed"


@pytest.mark.parametrize(
    ("interruption", "some_wait"),
    [
        # between two members' checkpoints after a rung: those that are behind wait at the next for the others
        pytest.param(kill_at(SEALED, 6), True, id="behind at 10"),
        *(
            pytest.param(how, False, id=name, marks=pytest.mark.full if name in SHORT_FORMS else pytest.mark.slow)
            for name, how in {
                "before the first rung": kill_at(DECIDE, 1),
                "before the second": kill_at(DECIDE, 2),
                # there is no next rung
                "behind at 20": kill_at(SEALED, 25),
                "as one is pruned": kill_at("makemore.runs.outcome:Outcome.write", 2),
                "as others are recorded": kill_at("makemore.sweeps.job:write_job", 11),
                "stopped before the first": signal_at_step(8),
                "stopped after the first": signal_at_step(14, signal.SIGINT),
                "stopped after the second": signal_at_step(33),
            }.items()
        ),
    ],
)
def test_an_interrupted_sweep_ends_in_the_same_table(
    interruption: Callable[[], None],
    some_wait: bool,
    sweep: Callable[..., Outcome],
    halved: tuple[Path, Outcome],
    tmp_path: Path,
) -> None:
    assert sweep(tmp_path, *GRID, *INSIDE, *HALVING, prepare=interruption).code != 0
    noting = partial(at_call, "makemore.sweeps.vectorized.member:Member.wait", 1, (tmp_path / "waited").touch)
    outcome = sweep(tmp_path, *GRID, *INSIDE, *HALVING, prepare=noting)
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "waited").exists() == some_wait
    assert_same_sweeps(tmp_path / "S", halved[0])


@pytest.mark.full
def test_parts_in_other_processes_are_compared_too(sweep: Callable[..., Outcome], whole: Path, tmp_path: Path) -> None:
    outcome = sweep(tmp_path, *GRID, *FORKED, *HALVING, "hydra.launcher.max_members=2")
    assert outcome.code == 0, outcome.err
    by_status = statuses(tmp_path / "S")
    assert set(by_status.values()) == {"finished", "pruned"}
    for path in with_status(tmp_path / "S", "finished"):
        assert val_nlls(path) == val_nlls(whole / path.name)
    rows: dict[int, dict[str, tuple[float, str]]] = {rung: {} for rung in RUNGS}
    for path in sorted((tmp_path / "S" / "rungs").iterdir()):
        with path.open(newline="") as file:
            found = {row["job"]: (float(row["val/nll"]), row["goes_on"]) for row in csv.DictReader(file)}
        assert len(found) <= 2
        rows[int(path.name.partition("-")[0])] |= found
    assert rows[10].keys() == by_status.keys()
    assert rows[20].keys() == {name for name, (_, goes_on) in rows[10].items() if goes_on == "1"}
    # nobody was pruned who is among the best of all
    assert min(rows[10].values())[1] == "1"
    # in waves of two, each wave alone would have let half of it go on
    assert [goes_on for _, goes_on in rows[10].values()].count("0") >= 3


@pytest.mark.full
def test_a_pruned_job_is_trained_to_its_end_by_itself(
    sweep: Callable[..., Outcome], halved: tuple[Path, Outcome], whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(halved[0], tmp_path / "S")
    job = with_status(tmp_path / "S", "pruned")[0]
    outcome = run("report", job, "--output", "R", cwd=tmp_path)
    assert "steps and was pruned: resume it before it is judged" in (tmp_path / "R" / "report.html").read_text()
    outcome = run("train", f"resume={job}", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    ours, theirs = (json.loads((path / "metrics.json").read_text()) for path in (job, whole / job.name))
    assert ours["steps"] == theirs["steps"] == 40
    assert ours["val/nll"] == pytest.approx(theirs["val/nll"], abs=1e-4)
    # which the table of the sweep knows
    assert sweep(tmp_path, *GRID, *INSIDE, *HALVING).code == 0
    (row,) = [row for row in table(tmp_path / "S") if row["job"] == job.name]
    assert (row["status"], row["steps"]) == ("finished", "40")


@pytest.mark.full
def test_a_search_gets_what_a_pruned_trial_had(sweep: Callable[..., Outcome], tmp_path: Path) -> None:
    search = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=3")
    outcome = sweep(tmp_path, *search, "optimizer.lr=tag(log,interval(0.0003,0.01))", *INSIDE, *HALVING)
    assert outcome.code == 0, outcome.err
    by_rate = {float(row["optimizer.lr"]): row for row in table(tmp_path / "S")}
    assert {row["status"] for row in by_rate.values()} == {"finished", "pruned"}
    trials = trials_of(tmp_path / "S" / "study.db")
    assert len(trials) == 6
    for parameters, value, state in trials:
        assert state == "COMPLETE"
        assert value == float(by_rate[parameters["optimizer.lr"]]["val/nll"])


@pytest.mark.full
def test_the_stack_without_those_that_stop_early_gives_the_same_to_the_bit(
    sweep: Callable[..., Outcome], tmp_path: Path
) -> None:
    found = []
    for patience in ("1", "null"):
        # the first two do not learn
        grid = ("optimizer.lr=0,0.01,0.003", "seed=0,1", f"patience={patience}")
        assert sweep(tmp_path / patience, *grid, *INSIDE).code == 0
        jobs = {
            name.rpartition("-")[0]: tmp_path / patience / "S" / name for name in records(tmp_path / patience / "S")
        }
        found.append({name: val_nlls(job) for name, job in jobs.items()})
    stopped = {name for name in found[0] if found[0][name] != found[1][name]}
    assert stopped == {"lr_0-seed_0", "lr_0-seed_1"}


@pytest.mark.full
def test_a_report_has_the_pruned_jobs(halved: tuple[Path, Outcome], tmp_path: Path) -> None:
    outcome = run("report", halved[0], "--output", "R", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    page = (tmp_path / "R" / "report.html").read_text()
    assert "jobs, of which 6 pruned" in page
    assert "jobs and 6 pruned." in page
    best = run("evaluate", f"ckpt_path={halved[0]}", cwd=tmp_path)
    assert table(halved[0])[0]["job"] in best.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("hydra.launcher.halving.metric=train/nll", "halving.metric must be one of val/nll"),
        pytest.param("hydra.launcher.halving.eta=1", "halving.eta must be at least 2", marks=pytest.mark.full),
        pytest.param("hydra.launcher.halving.first=0", "halving.first must be at least 1", marks=pytest.mark.full),
        pytest.param("hydra.launcher.halving.furst=1", "furst", marks=pytest.mark.full),
        ("data.splits=[0.9,0,0.1]", "hydra.launcher.halving needs a validation split"),
        pytest.param("hydra/launcher=basic", "halving", marks=pytest.mark.full),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    given: str, said: str, sweep: Callable[..., Outcome], tmp_path: Path
) -> None:
    outcome = sweep(tmp_path, "seed=0,1", *INSIDE[:1], "hydra.launcher.halving.first=10", given)
    assert said in outcome.error
    assert not (tmp_path / "S").exists()
