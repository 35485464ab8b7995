"""Checks signals: raised at once, held back, answered, and quitting on the second."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from makemore.system import signals
from makemore.system.signals import Stopped


@pytest.fixture
def _handling() -> Iterator[None]:
    with signals.answering():
        yield


def send(signum: int) -> None:
    os.kill(os.getpid(), signum)


@pytest.mark.usefixtures("_handling")
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_raises_at_once_where_nothing_is_held(signum: int, code: int) -> None:
    with pytest.raises(Stopped) as stopped:
        send(signum)
    assert 128 + stopped.value.signum == code
    assert not isinstance(stopped.value, Exception)


@pytest.mark.usefixtures("_handling")
def test_a_held_signal_waits_until_it_is_answered() -> None:
    signals.answer()
    signals.hold()
    assert not signals.requested()
    send(signal.SIGTERM)
    assert signals.requested()
    with pytest.raises(Stopped, match="SIGTERM"):
        signals.answer()


@pytest.mark.usefixtures("_handling")
def test_a_held_signal_raises_where_at_once_is_marked_before_and_within() -> None:
    signals.hold()
    reached = []
    for signum in (signal.SIGINT, 0):  # the second finds the first still waiting
        with pytest.raises(Stopped), signals.at_once():
            reached.append((signum, send(signum)))
    assert not reached


@pytest.mark.usefixtures("_handling")
def test_after_at_once_signals_are_held_as_before() -> None:
    signals.hold()
    with signals.at_once():
        pass
    send(signal.SIGTERM)
    assert signals.requested()


def test_handlers_and_state_are_as_before_after_the_block() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)]
    for _ in range(2):
        with signals.answering():
            # a block within does not end it
            with signals.handling():
                pass
            signals.hold()
            send(signal.SIGTERM)
            assert signals.requested()
        assert not signals.requested()
    assert [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)] == before


def test_another_thread_leaves_the_handlers_alone() -> None:
    seen = []

    def work() -> None:
        with signals.handling():
            signals.install()
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


TWICE = """
import os, signal, time
from makemore.system import signals
with signals.answering():
    signals.hold()
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.requested()
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    finally:
        print("not at once")
"""


ECHO = """
import os, signal
from makemore.system import signals
try:
    with signals.answering():
        signals.hold()
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        signals.answer()
except signals.Stopped as stopped:
    print(stopped)
"""


def test_the_same_signal_again_at_once_is_one_request() -> None:
    ended = subprocess.run([sys.executable, "-c", ECHO], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "SIGTERM\n", "")


BEFORE = """
import os, signal, sys
from makemore.system import signals
with signals.handling():
    print("so far", end="")
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
    finally:
        print("not at once")
"""


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_before_there_is_a_run_a_signal_quits_on_the_spot(signum: int, code: int) -> None:
    line = [sys.executable, "-c", BEFORE, str(int(signum))]
    ended = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "so far", "")


def test_a_second_signal_quits_on_the_spot() -> None:
    ended = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_sigusr1_is_ours_only_where_slurm_runs_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with signals.handling():
        assert signal.getsignal(signal.SIGUSR1) == before
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with pytest.raises(Stopped) as stopped, signals.answering():
        send(signal.SIGUSR1)
    assert stopped.value.signum == signals.REQUEUE
    assert signal.getsignal(signal.SIGUSR1) == before


def test_what_submitit_sends_goes_on_to_submitit_once_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    before = signal.signal(signal.SIGUSR2, lambda *_: seen.append("submitit"))
    try:
        with suppress(Stopped), signals.answering(for_another=True):
            try:
                send(signal.SIGUSR2)
            finally:
                seen.append("saved")
        assert seen == ["saved", "submitit"]
        with signals.answering(for_another=True):
            pass
        assert seen == ["saved", "submitit"]
    finally:
        signal.signal(signal.SIGUSR2, before)


@pytest.mark.parametrize(
    ("variables", "job"),
    [({}, "123"), ({"SLURM_ARRAY_JOB_ID": "120", "SLURM_ARRAY_TASK_ID": "4"}, "120_4")],
)
def test_a_job_is_queued_again_by_its_number(
    variables: dict[str, str], job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name, value in ({"SLURM_JOB_ID": "123"} | variables).items():
        monkeypatch.setenv(name, value)
    signals.requeue()
    assert (tmp_path / "asked").read_text() == f"requeue {job}\n"


def test_without_scontrol_one_line_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    with caplog.at_level(logging.WARNING):
        signals.requeue()
    (message,) = caplog.messages
    assert message.startswith("scontrol requeue 123: ")
