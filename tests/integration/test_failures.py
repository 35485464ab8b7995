"""Trials of failures: a loss that diverges, a disk that is full, a directory that cannot be written."""

import atexit
import os
import re
import resource
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from trials import ending, resume, run, run_in, train

from makemore.checkpoints import checkpoints_of, find_newest, read, step_of
from makemore.data.datamodule import TextDataModule
from makemore.inference.trained_model import load
from makemore.training.module import DivergedError, NeuralLanguageModel

SHORT = (
    "trainer.max_steps=40",
    "val_every=10",
    "log_every=1",
    "checkpoint_every=4",
    "model=mlp",
    "model.hidden_dim=8",
    "data.max_lines=1000",
    "num_samples=3",
)
# of some seconds, so that it can fail under way
LONG = (*SHORT, "trainer.max_steps=1000", "checkpoint_every=100", "val_every=300")
# the rate rises from 1e-3 to 1e40
RAMP = ("scheduler=exponential_ramp", "scheduler.end_exponent=40", "optimizer=sgd", "optimizer.lr=1")


@pytest.mark.parametrize("steps", [7, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (1, 250))])
def test_a_run_that_diverges_names_step_rate_and_the_last_good_checkpoint(steps: int, tmp_path: Path) -> None:
    outcome = run("train", *SHORT, *RAMP, f"steps_per_execution={steps}", cwd=tmp_path)
    run_dir = run_in(tmp_path)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    last = outcome.err.splitlines()[-1]
    assert last.startswith("error: the loss is ")
    said = re.search(
        r" at step (\d+), learning rate [0-9.e+]+; lower optimizer.lr; the last good checkpoint is (.*)", last
    )
    assert said is not None, last
    assert said[2] == str(find_newest(run_dir))
    # the weights of that step gave the loss
    assert step_of(Path(said[2])) < int(said[1])
    kept = [*checkpoints_of(run_dir), *checkpoints_of(run_dir, best=True)]
    assert kept
    for path in kept:
        assert all(tensor.isfinite().all() for tensor in read(path)["state_dict"].values())
    # what diverges, diverges again, to the same end
    again = resume(run_dir)
    assert again.code == 2
    assert again.err.splitlines()[-1] == last


def test_a_model_that_diverged_has_the_weights_of_its_last_finite_loss(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("anna\nbob\neve\ndan\n")

    def trained(max_steps: int, steps_per_execution: int) -> NeuralLanguageModel:
        data = TextDataModule(
            str(path), splits=(1, 0, 0), batch_size=4, steps_per_execution=steps_per_execution, val_every=100
        )
        optimizer = partial(torch.optim.SGD, lr=1.0)
        rates = [0.1] * 6 + [1e38] * 100
        model = NeuralLanguageModel(
            "mlp", data.corpus.vocabulary, optimizer, rates.__getitem__, block_size=2, embedding_dim=2, hidden_dim=4
        )
        trainer = L.Trainer(
            accelerator="cpu",
            max_steps=max_steps,
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            limit_val_batches=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(model, datamodule=data)
        except DivergedError:
            assert max_steps == 50
            assert trainer.global_step == 7
        return model

    # the update with the great rate is that of step 6, so the loss of step 7 is the first that is not finite
    whole = trained(7, 1).network.state_dict()
    for steps in (1, 5, 50):
        diverged = trained(50, steps).network.state_dict()
        assert all(torch.equal(diverged[name], whole[name]) for name in whole)


def refused(cwd: Path, run_dir: Path) -> str:
    """Return the one line with which a run is refused whose directory cannot be used."""
    outcome = run("train", *SHORT, f"hydra.run.dir={run_dir}", cwd=cwd)
    assert outcome.code == 2, outcome.err
    (line,) = outcome.err.splitlines()
    assert str(run_dir) in line
    return line


def test_a_directory_that_cannot_be_is_refused_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be written" in refused(tmp_path, tmp_path / "file" / "run")
    assert "cannot be written" in refused(tmp_path, tmp_path / "file")
    assert "cannot be written" in refused(tmp_path, Path("/proc/run"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return what mounts a disk of a size in memory."""
    path = tmp_path / "disk"

    def mounted(options: str) -> Path:
        path.mkdir()
        line = ["mount", "-t", "tmpfs", "-o", options, "none", str(path)]
        try:
            subprocess.run(line, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"nothing can be mounted here: {error}")
        return path

    yield mounted
    if path.is_mount():
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize(("options", "says"), [("ro", "cannot be written"), ("size=20k", "MB are free")])
def test_a_disk_that_cannot_hold_a_run_is_refused(options: str, says: str, disk: Any, tmp_path: Path) -> None:
    assert says in refused(tmp_path, disk(options) / "run")


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing hindered."""
    return train(tmp_path_factory.mktemp("long") / "cwd", *LONG)


def check_full(outcome: Any, run_dir: Path) -> None:
    """Check that a run whose disk is full says so in one line at the end, and keeps its checkpoints."""
    assert outcome.code == 2, outcome.err
    assert "Traceback" not in outcome.err
    assert "Exception" not in outcome.err
    last = outcome.err.splitlines()[-1]
    assert "cannot be written: " in last
    assert f"mend that and resume with resume={run_dir}" in last
    newest = find_newest(run_dir)
    assert last.endswith("there is no checkpoint yet" if newest is None else f"the last good checkpoint is {newest}")
    if newest is not None:
        load(newest)


@pytest.mark.full
@pytest.mark.parametrize(
    "left", [60_000, *(pytest.param(n, marks=pytest.mark.slow) for n in range(0, 200_000, 7_000))]
)
def test_a_run_whose_disk_is_full_goes_on_when_there_is_room(left: int, disk: Any, long: Path, tmp_path: Path) -> None:
    path = disk("size=4m")
    run_dir = path / "run"
    run_dir.mkdir()
    ballast = path / "ballast"
    # the check at the start asks for room for four checkpoints, which others may take later
    prepare = partial(fill_at_start, ballast, left)
    outcome = run("train", *LONG, f"hydra.run.dir={run_dir}", cwd=tmp_path / "a", prepare=prepare)
    check_full(outcome, run_dir)
    ballast.unlink()
    outcome = run("train", f"resume={run_dir}", cwd=tmp_path / "a")
    assert outcome.code == 0, outcome.err
    assert ending(run_dir) == ending(long)


def fill_at_start(ballast: Path, left: int) -> None:
    """Have the disk filled when training begins, but for so many bytes."""
    from trials import at_call

    at_call("makemore.runs.saving:Checkpoints.on_train_start", 1, partial(fill, ballast, left))


def fill(ballast: Path, left: int) -> None:
    free = os.statvfs(ballast.parent).f_bavail * os.statvfs(ballast.parent).f_frsize
    with ballast.open("wb") as file:
        file.write(bytes(max(free - left, 0)))


def limit(size: int) -> None:
    """Let no file grow beyond a size, until this process ends: what measures coverage writes then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    atexit.register(resource.setrlimit, resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.full
@pytest.mark.parametrize(
    "size",
    [
        60_000,
        *(pytest.param(n, marks=pytest.mark.slow) for n in range(7_000, 100_000, 7_000)),
    ],
)
def test_a_run_whose_files_may_not_grow_goes_on_when_they_may(size: int, long: Path, tmp_path: Path) -> None:
    outcome = run("train", *LONG, cwd=tmp_path / "a", prepare=partial(limit, size))
    run_dir = run_in(tmp_path / "a")
    check_full(outcome, run_dir)
    outcome = resume(run_dir)
    assert outcome.code == 0, outcome.err
    assert ending(run_dir) == ending(long)


def to_a_full_disk() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("sample", []),
        *(
            pytest.param(*case, marks=pytest.mark.full)
            for case in (("evaluate", []), ("score", ["words=[anna]"]), ("train", []))
        ),
    ],
)
def test_standard_output_that_is_full_is_one_line(
    script: str, arguments: list[str], trained: Path, tmp_path: Path
) -> None:
    arguments = [*SHORT] if script == "train" else [f"ckpt_path={trained}", *arguments]
    outcome = run(script, *arguments, cwd=tmp_path, prepare=to_a_full_disk)
    assert outcome.code == 2, outcome.err
    assert outcome.err.splitlines()[-1] == "error: standard output: No space left on device"
    assert script == "train" or len(outcome.err.splitlines()) == 1


@pytest.mark.full
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_output_that_is_full_is_one_line(trained: Path, tmp_path: Path) -> None:
    outcome = run("evaluate", f"ckpt_path={trained}", "output=/dev/full", cwd=tmp_path)
    assert outcome.code == 2
    assert outcome.err.splitlines() == ["error: /dev/full: cannot be written: No space left on device"]
