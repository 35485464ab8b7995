"""Sweeps by the vectorised launcher as a user runs them: what they leave is what the basic launcher leaves."""

import csv
import json
import os
import random
import re
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trials import (
    SHORT,
    Outcome,
    assert_same,
    at_call,
    ending,
    points,
    records,
    run,
    send_myself,
    signal_at_step,
    start,
    statuses,
    table,
)
from wandb_files import offline_runs

GRID = ("optimizer.lr=0.003,0.01", "seed=0,1", "model.l2=0.1")
# all in the launching process, where signals can be aimed at a step
INSIDE = ("hydra/launcher=vectorized", "hydra.launcher.n_jobs=1")
FORKED = ("hydra/launcher=vectorized", "hydra.launcher.n_jobs=2")
# what takes most of the time of a small job
QUIET = ("logger.tensorboard=null", "num_samples=0", "val_every=40", "checkpoint_every=40")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "names.txt"
    path.write_text("".join(f"{a}{b}{a}\n" for a in "abcdefg" for b in "hijklmno"))
    return path


class Sweeps:
    """Starts sweeps of a small model below a directory, each in DIR/S."""

    def __init__(self, text: Path) -> None:
        self.given = ["-m", "data=text", f"data.path={text}", *SHORT, "hydra.sweep.dir=S"]

    def run(self, cwd: Path, *arguments: str, **options: Any) -> Outcome:
        return run("train", *self.given, *arguments, cwd=cwd, **options)

    def start(self, cwd: Path, *arguments: str) -> Any:
        return start("train", *self.given, *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def sweeps(text: Path) -> Sweeps:
    return Sweeps(text)


@pytest.fixture(scope="module")
def whole(sweeps: Sweeps, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a sweep of four jobs in two processes that nothing interrupted."""
    cwd = tmp_path_factory.mktemp("whole")
    outcome = sweeps.run(cwd, *GRID, *FORKED)
    assert outcome.code == 0, outcome.err
    return cwd / "S"


# sizes that no processor likes: the last bits of a product depend on where its factors are in memory
ODD = ("model=mlp", "model.hidden_dim=11", "model.embedding_dim=3")


@pytest.fixture(scope="module")
def odd(sweeps: Sweeps, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a network of odd sizes."""
    cwd = tmp_path_factory.mktemp("odd")
    outcome = sweeps.run(cwd, *GRID, *FORKED, *ODD)
    assert outcome.code == 0, outcome.err
    return cwd / "S"


def logged(run_dir: Path) -> list[dict[str, float]]:
    """Return the rows of a run's log."""
    lines = (run_dir / "metrics.csv").read_text().splitlines()
    return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(lines)]


def job_dirs(sweep_dir: Path) -> dict[str, Path]:
    return {name: sweep_dir / name for name in records(sweep_dir)}


def shape(content: Any) -> Any:
    """Return what is in a checkpoint without its numbers: names, types, and how tensors are stored."""
    if isinstance(content, dict):
        return type(content), [(name, shape(value)) for name, value in content.items() if "tfevents" not in str(name)]
    if isinstance(content, list | tuple):
        return type(content), [shape(value) for value in content]
    if isinstance(content, torch.Tensor):
        return content.shape, content.dtype, content.stride(), content.untyped_storage().nbytes(), content.device
    return type(content)


def assert_watched_alike(run_dir: Path, other: Path) -> None:
    """TensorBoard has the same of two runs at the same steps, but for wall times and last digits."""
    assert points(run_dir).keys() == points(other).keys()
    ours, theirs = (EventAccumulator(str(path)).Reload() for path in (run_dir, other))
    tags = {tag for tag in ours.Tags()["scalars"] if not tag.startswith("speed/")}
    assert {"gradient_to_weight/W1", "update_to_weight/W2", "saturated/hidden", "samples/unseen"} <= tags
    for tag in tags:
        values = [[event.value for event in each.Scalars(tag)] for each in (ours, theirs)]
        assert values[0] == pytest.approx(values[1], rel=1e-3, abs=1e-5), tag
    for tag in ("config/text_summary", "samples/text_summary"):
        texts = [[event.tensor_proto.string_val for event in each.Tensors(tag)] for each in (ours, theirs)]
        assert texts[0] == texts[1]
    assert ours.Graph() == theirs.Graph()


def test_it_leaves_what_the_basic_launcher_leaves(sweeps: Sweeps, whole: Path, tmp_path: Path) -> None:
    assert sweeps.run(tmp_path, *GRID).code == 0
    basic = tmp_path / "S"
    assert job_dirs(basic).keys() == job_dirs(whole).keys()

    def files(directory: Path) -> list[str]:
        names = [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]
        return sorted("events" if "tfevents" in name else name for name in names)

    assert files(basic) == files(whole)
    for name, job in job_dirs(basic).items():
        other = whole / name
        ours, theirs = (json.loads((path / "metrics.json").read_text()) for path in (other, job))
        assert ours.keys() == theirs.keys()
        for key in ("train/nll", "val/nll", "test/nll"):
            assert ours[key] == pytest.approx(theirs[key], abs=1e-4)
        assert (other / "samples.txt").read_text() == (job / "samples.txt").read_text()
        assert (other / ".hydra" / "config.yaml").read_text() == (job / ".hydra" / "config.yaml").read_text()
        for mine, wanted in zip(logged(other), logged(job), strict=True):
            assert mine == pytest.approx(wanted, abs=1e-4)
        assert_watched_alike(other, job)
        for path in (job / "checkpoints").iterdir():
            ours, theirs = (
                torch.load(where / path.name, weights_only=True) for where in (path.parent, other / "checkpoints")
            )
            assert shape(ours) == shape(theirs)
        messages = [(path / "train.log").read_text().splitlines() for path in (other, job)]
        assert [line.split(" ", 2)[2] for line in messages[0]] == [line.split(" ", 2)[2] for line in messages[1]]


def test_its_checkpoints_are_evaluated_and_sampled(whole: Path, tmp_path: Path) -> None:
    name, job = next(iter(job_dirs(whole).items()))
    outcome = run("evaluate", f"ckpt_path={job}", f"output={tmp_path / 'e.json'}", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    evaluated = json.loads((tmp_path / "e.json").read_text())
    assert evaluated["val/nll"] == json.loads((job / "metrics.json").read_text())["val/nll"]
    names = run("sample", f"ckpt_path={job}", "num_samples=3", f"seed={name.split('seed_')[1][0]}", cwd=tmp_path)
    assert names.out == (job / "samples.txt").read_text()


@pytest.mark.parametrize(
    "more",
    [
        ("hydra.launcher.max_members=3",),
        ("hydra.launcher.max_members=1",),
    ],
    ids=str,
)
@pytest.mark.full
def test_neither_waves_nor_processes_show_in_the_results(
    more: tuple[str, ...], sweeps: Sweeps, whole: Path, tmp_path: Path
) -> None:
    outcome = sweeps.run(tmp_path, *GRID, *INSIDE, *more)
    assert outcome.code == 0, outcome.err
    assert_same(tmp_path / "S", whole)


@pytest.mark.full
def test_members_that_fail_are_named_and_the_others_go_on_to_the_digit(sweeps: Sweeps, tmp_path: Path) -> None:
    sgd = ("optimizer=sgd", "optimizer.momentum=0.9", "model.l2=0.1", "seed=0,1", *FORKED)
    outcome = sweeps.run(tmp_path / "a", "optimizer.lr=0.1,-1,1e38,x,0.2", *sgd)
    assert outcome.code == 1, outcome.err
    assert sweeps.run(tmp_path / "b", "optimizer.lr=0.1,0.2", *sgd).code == 0
    calm, wild = tmp_path / "b" / "S", tmp_path / "a" / "S"
    for name in job_dirs(calm):
        assert ending(wild / name) == ending(calm / name)
    by_status = {name: status for name, status in statuses(wild).items() if name not in job_dirs(calm)}
    assert set(by_status.values()) == {"failed"}
    assert len(by_status) == 6
    messages = {name: json.loads((wild / name / "job.json").read_text())["message"] for name in by_status}
    assert all("optimizer.lr" in message for message in messages.values())
    exploded = [name for name in messages if name.startswith("lr_1e")]
    for name in exploded:
        assert "lower optimizer.lr; there is no checkpoint yet" in messages[name]
        assert messages[name] in (wild / name / "train.log").read_text()
        assert f"failed: {name}" in outcome.err
        # the steps before it are there
        assert logged(wild / name)[0]["step"] == 0
        assert not list((wild / name).glob("metrics.json"))


@pytest.mark.full
def test_a_member_that_explodes_late_keeps_its_last_good_checkpoint(sweeps: Sweeps, tmp_path: Path) -> None:
    # the second milestone raises the rate beyond all measure
    late = ("optimizer=sgd", "scheduler.milestones=[25]", "scheduler.gamma=0.1,1e38", "optimizer.lr=1", "seed=0,1")
    outcome = sweeps.run(tmp_path, *late, "model.l2=0.1", *INSIDE)
    assert outcome.code == 1
    failed = [path for name, path in job_dirs(tmp_path / "S").items() if statuses(tmp_path / "S")[name] == "failed"]
    assert len(failed) == 2
    for path in failed:
        assert [each.name for each in sorted((path / "checkpoints").glob("step-*"))] == [
            "step-00000010.ckpt",
            "step-00000020.ckpt",
        ]
        assert "step-00000020.ckpt" in json.loads((path / "job.json").read_text())["message"]


@pytest.mark.parametrize(
    ("step", "signum"),
    [
        pytest.param(1, signal.SIGTERM, marks=pytest.mark.full),
        (14, signal.SIGINT),
        pytest.param(21, signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_sweep_goes_on_to_the_digit(
    step: int, signum: int, sweeps: Sweeps, whole: Path, tmp_path: Path
) -> None:
    # one step is tried before the jobs begin
    outcome = sweeps.run(tmp_path, *GRID, *INSIDE, prepare=signal_at_step(step, signum))
    assert outcome.code == 128 + signum, outcome.err
    assert set(statuses(tmp_path / "S").values()) == {"stopped"}
    assert "stopped by SIG" in next((tmp_path / "S").glob("*/train.log")).read_text()
    # and by another number of processes
    outcome = sweeps.run(tmp_path, *GRID, *FORKED)
    assert outcome.code == 0, outcome.err
    assert_same(tmp_path / "S", whole)


@pytest.mark.full
def test_a_signal_is_passed_on_to_forked_processes(sweeps: Sweeps, tmp_path: Path) -> None:
    child = sweeps.start(tmp_path, *GRID, *FORKED, "trainer.max_steps=20000", "val_every=20000", "log_every=1000")
    until = time.monotonic() + 200
    while len(list((tmp_path / "S").glob("*/checkpoints/step-*"))) < 4 and time.monotonic() < until:
        time.sleep(0.02)
    child.send(signal.SIGTERM)
    outcome = child.wait()
    assert outcome.code == 143, outcome.err
    assert "Traceback" not in outcome.err
    assert list(statuses(tmp_path / "S").values()) == ["stopped"] * 4


@pytest.mark.full
def test_a_member_that_was_stopped_goes_on_as_a_run_by_itself(sweeps: Sweeps, whole: Path, tmp_path: Path) -> None:
    assert sweeps.run(tmp_path, *GRID, *INSIDE, prepare=signal_at_step(13)).code == 143
    name, job = next(iter(job_dirs(tmp_path / "S").items()))
    outcome = run("train", f"resume={job}", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    ours, theirs = (json.loads((path / "metrics.json").read_text()) for path in (job, whole / name))
    assert ours["val/nll"] == pytest.approx(theirs["val/nll"], abs=1e-4)
    assert (job / "samples.txt").read_text() == (whole / name / "samples.txt").read_text()


# the first does not learn, and stops after two validations; the second learns to the end
STOPPING = ("seed=0", "optimizer.lr=0,0.01", "val_every=10", "patience=1", "watch=none")


def test_members_that_stop_early_end_as_runs_do(sweeps: Sweeps, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    for cwd, launcher in ((whole, INSIDE), (tmp_path, ())):
        outcome = sweeps.run(cwd, *STOPPING, *launcher)
        assert outcome.code == 0, outcome.err
    vectorized, basic = whole / "S", tmp_path / "S"
    for name in job_dirs(basic):
        steps = 20 if name.startswith("lr_0-") else 40
        ours, theirs = (json.loads((each / name / "metrics.json").read_text()) for each in (vectorized, basic))
        assert ours["steps"] == theirs["steps"] == steps
        assert ours["step"] == theirs["step"]
        assert ours["val/nll"] == pytest.approx(theirs["val/nll"], abs=1e-4)
        ours, theirs = (
            sorted(path.name for path in (each / name / "checkpoints").iterdir()) for each in (vectorized, basic)
        )
        assert ours == theirs
        ours, theirs = ([row["step"] for row in logged(each / name)] for each in (vectorized, basic))
        assert ours == theirs
    # the first has ended, though its record says that it was stopped
    shutil.rmtree(basic)
    assert sweeps.run(tmp_path, *STOPPING, *INSIDE, prepare=signal_at_step(33)).code == 143
    assert sweeps.run(tmp_path, *STOPPING, *INSIDE).code == 0
    assert_same(basic, vectorized)


def kill_and_go_on(kills: int, sweeps: Sweeps, odd: Path, tmp_path: Path) -> None:
    """Kill a sweep at random moments, its processes with it or after it, until it has been killed so often."""
    moments = random.Random(kills)
    for _ in range(kills):
        child = sweeps.start(tmp_path, *GRID, *FORKED, *ODD)
        # of a command that takes some three seconds
        time.sleep(moments.uniform(0.3, 3.0))
        child.send(signal.SIGKILL)
        child.wait()
    outcome = sweeps.run(tmp_path, *GRID, *FORKED, *ODD)
    assert outcome.code == 0, outcome.err
    assert_same(tmp_path / "S", odd)


@pytest.mark.full
def test_a_killed_sweep_goes_on_to_the_digit(sweeps: Sweeps, odd: Path, tmp_path: Path) -> None:
    kill_and_go_on(2, sweeps, odd, tmp_path)


@pytest.mark.slow
def test_a_sweep_that_is_killed_again_and_again_goes_on_to_the_digit(
    sweeps: Sweeps, odd: Path, tmp_path: Path
) -> None:
    kill_and_go_on(25, sweeps, odd, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize(
    ("call", "number"), [("makemore.system.files:write_sealed", 6), ("makemore.sweeps.job:write_job", 7)]
)
def test_a_sweep_killed_between_two_members_goes_on_to_the_digit(
    call: str, number: int, sweeps: Sweeps, whole: Path, tmp_path: Path
) -> None:
    kill = partial(at_call, call, number, partial(os._exit, 9))
    assert sweeps.run(tmp_path, *GRID, *INSIDE, prepare=kill).code == 9
    assert sweeps.run(tmp_path, *GRID, *INSIDE).code == 0
    assert_same(tmp_path / "S", whole)


@pytest.mark.slow
def test_what_is_left_of_an_xla_sweep_is_trained_to_the_digit(sweeps: Sweeps, tmp_path: Path) -> None:
    # sizes at which the program of one member has other last digits than that of all
    arguments = ("compile=xla", "seed=range(34)", "model.hidden_dim=64", *QUIET, *INSIDE)
    assert sweeps.run(tmp_path, *arguments).code == 0
    whole = (tmp_path / "S").rename(tmp_path / "whole")
    shutil.copytree(whole, tmp_path / "S")
    shutil.rmtree(tmp_path / "S" / max(records(whole)))
    outcome = sweeps.run(tmp_path, *arguments)
    assert outcome.code == 0, outcome.err
    assert_same(tmp_path / "S", whole)


@pytest.mark.full
def test_a_process_of_it_that_is_killed_ends_the_sweep_with_its_table(sweeps: Sweeps, tmp_path: Path) -> None:
    kill = partial(at_call, "makemore.sweeps.vectorized.part:_train", 1, partial(send_myself, signal.SIGKILL))
    outcome = sweeps.run(tmp_path, *GRID, *FORKED, prepare=kill)
    assert outcome.code == 1
    assert "a process of the launcher was killed" in outcome.err
    assert "the same command resumes the sweep" in outcome.out
    assert sweeps.run(tmp_path, *GRID, *FORKED).code == 0


@pytest.mark.full
def test_what_fits_no_group_runs_beside_what_does(sweeps: Sweeps, tmp_path: Path) -> None:
    line = ["-m", *sweeps.given[1:3], *sweeps.given[6:], "model=ngram,bigram", "seed=0,1", *INSIDE]
    outcome = run("train", *line, cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert [row["status"] for row in table(tmp_path / "S")] == ["finished"] * 4


@pytest.mark.full
def test_the_same_job_twice_runs_once(sweeps: Sweeps, tmp_path: Path) -> None:
    outcome = sweeps.run(tmp_path, "seed=0,1,0,0", *INSIDE)
    assert outcome.code == 0, outcome.err
    assert sorted(row["seed"] for row in table(tmp_path / "S")) == ["0", "1"]


@pytest.mark.parametrize("how", [INSIDE, pytest.param(FORKED, marks=pytest.mark.full)], ids=["inside", "forked"])
def test_two_jobs_of_one_directory_are_refused(how: tuple[str, ...], sweeps: Sweeps, tmp_path: Path) -> None:
    outcome = sweeps.run(tmp_path, "seed=0,1", *how, "hydra.sweep.subdir=mine")
    assert outcome.code == 2
    assert "mine: " in outcome.err


@pytest.mark.full
def test_a_search_hands_over_its_trials_in_batches(sweeps: Sweeps, tmp_path: Path) -> None:
    search = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2")
    space = ("optimizer.lr=tag(log,interval(0.001,0.01))", "model.l2=choice(0,0.1)", "seed=range(0,5)")
    outcome = sweeps.run(tmp_path, *search, *space, *FORKED)
    assert outcome.code == 0, outcome.err
    assert [row["status"] for row in table(tmp_path / "S")] == ["finished"] * len(table(tmp_path / "S"))
    assert len(table(tmp_path / "S")) >= 3


@pytest.mark.full
@pytest.mark.parametrize("compiler", [pytest.param("true", marks=pytest.mark.slow), "xla"])
def test_jobs_of_a_group_can_be_compiled(compiler: str, sweeps: Sweeps, whole: Path, tmp_path: Path) -> None:
    # blocks of one step: what ten unrolled ones are takes several times as long to compile
    given = ("seed=0,1", "optimizer.lr=0.01", "model.l2=0.1", f"compile={compiler}", "steps_per_execution=1")
    outcome = sweeps.run(tmp_path, *given, "watch.gradients.every=20", *(FORKED if compiler == "xla" else INSIDE))
    assert outcome.code == 0, outcome.err
    assert "continues without" not in outcome.err
    by_seed = {row["seed"]: float(row["val/nll"]) for row in table(tmp_path / "S")}
    compared = [row for row in table(whole) if row["optimizer.lr"] == "0.01"]
    assert len(compared) == 2
    for row in compared:
        assert by_seed[row["seed"]] == pytest.approx(float(row["val/nll"]), abs=1e-4)


@pytest.mark.parametrize(
    "given",
    [
        "max_members=0",
        *(pytest.param(given, marks=pytest.mark.full) for given in ("max_members=x", "n_jobs=0", "max_memberz=3")),
        *(pytest.param(given, marks=pytest.mark.full) for given in ("engine=cloud", "members_per_group=0")),
    ],
)
def test_a_wrong_option_is_said_before_anything_is_written(given: str, sweeps: Sweeps, tmp_path: Path) -> None:
    outcome = sweeps.run(tmp_path, *GRID, "hydra/launcher=vectorized", f"hydra.launcher.{given}")
    assert given.partition("=")[0] in outcome.error
    assert not (tmp_path / "S").exists()


@pytest.mark.full
def test_the_live_line_says_how_far_the_members_are(sweeps: Sweeps, tmp_path: Path) -> None:
    long = ("trainer.max_steps=3000", "val_every=500", "checkpoint_every=3000", "steps_per_execution=500")
    outcome = sweeps.run(tmp_path, *GRID, *INSIDE, *long)
    assert outcome.code == 0
    assert re.search(r"4 members at step [\d,]+ of 3,000, [\d,]+ steps/s each, best validation NLL \d", outcome.err)


@pytest.mark.full
@pytest.mark.parametrize("jobs", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_many_jobs_are_as_many_runs(jobs: int, text: Path, tmp_path: Path) -> None:
    small = ("experiment=lessons/bigram", "data=text", f"data.path={text}", "trainer.max_steps=5", "val_every=5")
    outcome = run("train", "-m", *small, f"seed=range({jobs})", *FORKED, "hydra.sweep.dir=S", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    found = job_dirs(tmp_path / "S")
    assert len(found) == jobs
    assert len({(path / "samples.txt").read_text() for path in found.values()}) > 1
    assert all(list(path.glob("events.out.tfevents.*")) for path in found.values())
    assert all(list((path / "checkpoints").glob("step-00000005.ckpt")) for path in found.values())


# in short: tests/runs/test_opening_loggers.py has a run by itself
@pytest.mark.slow
def test_each_member_has_runs_of_wandb_and_mlflow_which_know_the_sweep(sweeps: Sweeps, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    outcome = sweeps.run(
        tmp_path, "seed=0,1", *INSIDE, *QUIET[1:], "logger=[wandb,mlflow]", "logger.wandb.mode=offline"
    )
    assert outcome.code == 0, outcome.err
    client = MlflowClient(f"sqlite:///{tmp_path / 'logs' / 'mlflow' / 'mlflow.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "makemore"]
    of_mlflow = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    jobs = job_dirs(tmp_path / "S")
    assert len(jobs) == len(of_mlflow) == 2
    for name, run_dir in jobs.items():
        (of_wandb,) = offline_runs(run_dir)
        assert (of_wandb.name, of_wandb.group, of_wandb.exit_code) == (name, "S", 0)
        assert of_mlflow[name].data.tags["sweep"] == "S"
        expected = json.loads((run_dir / "metrics.json").read_text())["val/nll"]
        (final,) = of_wandb.points("final/val/nll").values()
        assert final == of_mlflow[name].data.metrics["final/val/nll"] == expected
        seed = json.loads((run_dir / "job.json").read_text())["differs"]["seed"]
        assert of_wandb.config["seed"] == int(of_mlflow[name].data.params["seed"]) == seed
