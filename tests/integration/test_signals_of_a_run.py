"""Trials of signals: a run saves what it has learnt, says how to go on, and ends quickly, without a traceback."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from trials import (
    ROOT,
    TIMEOUT,
    Outcome,
    at_call,
    ending,
    in_parallel,
    resume,
    run,
    run_in,
    send_myself,
    signal_at,
    signal_at_step,
    start,
    train,
)

from makemore.checkpoints import checkpoints_of, find_newest, step_of

SHORT = (
    *("trainer.max_steps=12", "val_every=5", "log_every=2", "checkpoint_every=4", "model=mlp", "model.hidden_dim=8"),
    *("data.max_lines=1000", "num_samples=3"),
)
LONG = (
    "trainer.max_steps=3000",
    "val_every=100",
    "checkpoint_every=700",
    "model=mlp",
    "model.hidden_dim=8",
    "data.max_lines=2000",
)
SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
# the default tier has one of them
EITHER = [SIGNALS[0], pytest.param(*SIGNALS[1], marks=pytest.mark.full)]


def stopped(cwd: Path, signum: int, *arguments: object, when: str = "step 100 of", **options: Any) -> Outcome:
    """Start a training, send it a signal once it has said `when`, print how long it took to end."""
    child = start("train", *arguments, cwd=cwd, **options)
    child.wait_for(when)
    began = time.perf_counter()
    child.send(signum)
    outcome = child.wait()
    print(f"{signal.Signals(signum).name}: {time.perf_counter() - began:.2f} s to the end, code {outcome.code}")
    return outcome


def check_stopped(outcome: Outcome, code: int, run_dir: Path) -> None:
    """Check that a run says what is saved and how to go on, and nothing more."""
    assert outcome.code == code, outcome.err
    assert "Traceback" not in outcome.err
    said, how = outcome.err.splitlines()[-2:]
    newest = find_newest(run_dir)
    saved = "there is no checkpoint yet" if newest is None else f"the last good checkpoint is {newest}"
    assert said == f"stopped by {signal.Signals(code - 128).name}; {saved}"
    assert how == f"  python scripts/train.py resume={run_dir} # resumes it"


@pytest.mark.parametrize(("signum", "code"), EITHER)
def test_a_signal_in_training_saves_and_the_run_goes_on(signum: int, code: int, tmp_path: Path) -> None:
    outcome = stopped(tmp_path / "a", signum, *LONG)
    run_dir = run_in(tmp_path / "a")
    check_stopped(outcome, code, run_dir)
    assert 100 <= step_of(checkpoints_of(run_dir)[-1]) < 3000
    assert resume(run_dir).code == 0
    assert ending(run_dir) == ending(train(tmp_path / "b", *LONG))


def send_twice(signum: int) -> None:
    send_myself(signum)
    # not the echo of the first
    time.sleep(0.2)
    send_myself(signum)


@pytest.mark.parametrize(("signum", "code"), EITHER)
def test_a_second_signal_quits_at_once(signum: int, code: int, tmp_path: Path) -> None:
    twice = partial(at_call, "makemore.system.signals:requested", 7, partial(send_twice, signum))
    outcome = run("train", *SHORT, cwd=tmp_path, prepare=twice)
    assert outcome.code == code
    assert "stopped by" not in outcome.err
    assert resume(run_in(tmp_path)).code == 0


@pytest.mark.parametrize(("signum", "code"), EITHER)
def test_a_signal_in_a_sweep_ends_all_of_it(signum: int, code: int, tmp_path: Path) -> None:
    outcome = run("train", "-m", *SHORT, "seed=0,1,2", cwd=tmp_path, prepare=signal_at_step(7, signum))
    assert outcome.code == code, outcome.err
    assert "Traceback" not in outcome.err
    (sweep,) = (tmp_path / "logs" / "train" / "multiruns").iterdir()
    (job,) = (path.parent for path in sweep.glob("*/.hydra"))
    assert step_of(checkpoints_of(job)[-1]) == 7


def catches(pid: int, signum: int) -> bool:
    """Say whether a process has a handler for a signal (Linux)."""
    (mask,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(mask, 16) >> (signum - 1) & 1)


def started_and_stopped(cwd: Path, signum: int, seconds: float) -> tuple[int, str]:
    """Start a process as a user does, send it a signal so many seconds after it has set its handlers.

    Before that, in the first tenths of a second, Python answers.
    """
    cwd.mkdir(parents=True)
    line = [sys.executable, str(ROOT / "scripts" / "train.py"), *LONG, "trainer.max_steps=1000000"]
    child = subprocess.Popen(line, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not catches(child.pid, signal.SIGTERM):
        assert child.poll() is None
        time.sleep(0.001)
    time.sleep(seconds)
    child.send_signal(signum)
    _, err = child.communicate(timeout=TIMEOUT)
    return child.returncode, err


def check_starts(moments: list[float], tmp_path: Path) -> None:
    """Check a signal at each moment, in seconds after the handlers are set."""

    def trial(item: tuple[int, float]) -> tuple[float, int, int, bool]:
        number, seconds = item
        signum, _ = SIGNALS[number % 2]
        code, err = started_and_stopped(tmp_path / str(number), signum, seconds)
        return seconds, signum, code, "Traceback" in err

    ends = sorted(in_parallel(trial, enumerate(moments)))
    for seconds, signum, code, traceback in ends:
        print(f"{signal.Signals(signum).name} at {seconds:.2f} s: code {code}{', a traceback' * traceback}")
        assert code == 128 + signum
        assert not traceback


@pytest.mark.full
def test_a_signal_while_a_run_starts_leaves_no_traceback(tmp_path: Path) -> None:
    check_starts([0.0, 1.0], tmp_path)


@pytest.mark.slow
def test_nor_does_one_at_any_moment(tmp_path: Path) -> None:
    moments = random.Random(0)
    check_starts([moments.uniform(0.0, 1.5) for _ in range(40)], tmp_path / "early")
    check_starts([moments.uniform(0.0, 6.0) for _ in range(20)], tmp_path / "all")


@pytest.mark.full
def test_a_block_that_takes_long_is_left_in_the_middle(tmp_path: Path) -> None:
    # some 0.1 s a step, 250 steps a block
    big = (
        "model=mlp",
        "model.hidden_dim=2000",
        "model.block_size=16",
        "data.batch_size=2048",
        "val_every=1000",
        "num_samples=0",
    )
    child = start("train", *big, cwd=tmp_path)
    child.wait_for("examples:")
    time.sleep(2)
    began = time.perf_counter()
    child.send(signal.SIGTERM)
    outcome = child.wait()
    print(f"in the middle of a block: {time.perf_counter() - began:.2f} s to the end")
    run_dir = run_in(tmp_path)
    check_stopped(outcome, 143, run_dir)
    assert step_of(checkpoints_of(run_dir)[-1]) < 250


@pytest.mark.slow
def test_compiling_is_left_at_once(tmp_path: Path) -> None:
    arguments = (*LONG, "compile=true", "trainer.max_steps=300")
    whole = train(tmp_path / "whole", *arguments)
    for seconds in (0, 3, 8):
        cwd = tmp_path / str(seconds)
        child = start("train", *arguments, cwd=cwd, env={"XDG_CACHE_HOME": str(cwd / "cache")})
        child.wait_for("examples:")
        time.sleep(seconds)
        began = time.perf_counter()
        child.send(signal.SIGTERM)
        outcome = child.wait()
        took = time.perf_counter() - began
        print(f"{seconds} s into compiling: {took:.2f} s to the end, code {outcome.code}")
        check_stopped(outcome, 143, run_in(cwd))
        assert resume(run_in(cwd)).code == 0
        assert ending(run_in(cwd)) == ending(whole)


def scontrol(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose `scontrol` writes its arguments to `tmp_path/asked`."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "asked"}\n')
    script.chmod(0o755)
    return {"PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}"}


def check_requeued(slurm: dict[str, str], job: str, tmp_path: Path) -> Path:
    """Check that a run asks for its job to be queued again, and return its directory."""
    outcome = run("train", *SHORT, cwd=tmp_path / "a", env=slurm, prepare=signal_at_step(7, signal.SIGUSR1))
    assert outcome.code == 128 + signal.SIGUSR1
    assert outcome.err.splitlines()[-1] == f"SLURM job {job} is requeued"
    assert (tmp_path / "asked").read_text() == f"requeue {job}\n"
    return run_in(tmp_path / "a")


@pytest.mark.full
def test_slurm_queues_a_run_again_and_it_goes_on_where_it_was(tmp_path: Path) -> None:
    cwd, slurm = tmp_path / "a", {"SLURM_JOB_ID": "123"} | scontrol(tmp_path)
    run_dir = check_requeued(slurm, "123", tmp_path)
    # other commands and other jobs have runs of their own
    for arguments, env in (([*SHORT, "seed=1"], slurm), (SHORT, slurm | {"SLURM_JOB_ID": "124"})):
        before = set(run_dir.parent.iterdir())
        assert run("train", *arguments, cwd=cwd, env=env | {"SLURM_RESTART_COUNT": "1"}).code == 0
        assert len(set(run_dir.parent.iterdir()) - before) == 1
    outcome = run("train", *SHORT, cwd=cwd, env=slurm | {"SLURM_RESTART_COUNT": "1"})
    assert "resuming from step 7" in outcome.err
    assert ending(run_dir) == ending(train(tmp_path / "b", *SHORT))


@pytest.mark.full
def test_a_job_of_an_array_is_queued_by_its_number_there(tmp_path: Path) -> None:
    array = {"SLURM_JOB_ID": "123", "SLURM_ARRAY_JOB_ID": "120", "SLURM_ARRAY_TASK_ID": "7"} | scontrol(tmp_path)
    check_requeued(array, "120_7", tmp_path)
    outcome = run("train", *SHORT, cwd=tmp_path / "a", env=array | {"SLURM_RESTART_COUNT": "1"})
    assert "resuming from step 7" in outcome.err


@pytest.mark.full
def test_without_scontrol_the_run_says_so(tmp_path: Path) -> None:
    env = {"SLURM_JOB_ID": "123", "PATH": str(tmp_path)}
    outcome = run("train", *SHORT, cwd=tmp_path, env=env, prepare=signal_at_step(7, signal.SIGUSR1))
    assert outcome.code == 128 + signal.SIGUSR1
    assert outcome.err.splitlines()[-1].endswith("submit the job again")


@pytest.mark.parametrize(
    ("script", "arguments", "at"),
    [
        ("evaluate", [], "makemore.inference.evaluation:split_nlls"),
        ("sample", ["num_samples=3"], "makemore.inference.trained_model:samples"),
        ("score", ["words=[anna]"], "makemore.inference.trained_model:find"),
        ("score", ["words=[anna]"], "makemore.inference.scoring:read_words"),
    ],
)
@pytest.mark.parametrize(("signum", "code"), EITHER)
def test_the_other_commands_end_without_a_word(
    script: str, arguments: list[str], at: str, signum: int, code: int, trained: Path, tmp_path: Path
) -> None:
    outcome = run(script, f"ckpt_path={trained}", *arguments, cwd=tmp_path, prepare=signal_at(at, 1, signum))
    assert (outcome.code, outcome.out, outcome.err) == (code, "", "")


@pytest.mark.full
def test_sampling_without_end_is_left_at_once(trained: Path, tmp_path: Path) -> None:
    child = start("sample", f"ckpt_path={trained}", "num_samples=100000000", cwd=tmp_path)
    while child.process.is_alive() and not child.out.stat().st_size:
        time.sleep(0.01)
    child.send(signal.SIGINT)
    outcome = child.wait()
    assert (outcome.code, outcome.err) == (130, "")


@pytest.mark.full
def test_ten_runs_that_start_at_the_same_instant_have_ten_directories(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("anna\nbob\neve\ndan\n")
    at = time.time() + 3
    arguments = ("data=text", "data.path=names.txt", "data.splits=[1,0,0]", "model=ngram")
    children = [start("train", *arguments, cwd=tmp_path, prepare=partial(wait_until, at)) for _ in range(10)]
    assert [child.wait().code for child in children] == [0] * 10
    assert len(list((tmp_path / "logs" / "train" / "runs").glob("*/metrics.json"))) == 10


def wait_until(moment: float) -> None:
    time.sleep(max(moment - time.time(), 0))
