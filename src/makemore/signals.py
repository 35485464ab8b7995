"""SIGTERM, SIGINT and the requeue signals of SLURM and submitit, answered when nothing is half done.

Before a training run begins, and in other commands, a signal quits on the spot: there is nothing to save, and what is
raised in the middle of an import is lost in it. In a run a first signal is a request: it raises `Stopped` at once
where nothing would be torn, and where training holds it back, as soon as the state is whole again. A second one quits,
unless it is the first one's echo.
"""

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import FrameType
from typing import NoReturn

log = logging.getLogger(__name__)

# seconds within which the same signal is one request: `timeout` sends it to a process and to its group
_ECHO = 0.1

# what `sbatch --signal=USR1@90` and Lightning's own handler take
REQUEUE = signal.SIGUSR1


class Stopped(BaseException):
    """The process was asked to stop; no `Exception`, so that nobody takes it for a failure to recover from."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    def __str__(self) -> str:
        return signal.Signals(self.signum).name

    @property
    def exit_code(self) -> int:
        """What a shell gives a process that the signal ends: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.signum


@dataclass
class _State:
    """The signal that waits to be answered, whether there is a run to answer it, and whether that holds it back.

    In a process that another one started to run jobs in (`for_another`), Ctrl-C is that one's to answer, which passes
    it on once; so nothing quits at a second signal there. `passing_on` is what it does before it answers itself.
    """

    requested: int | None = None
    requested_at: float = 0.0
    answering: bool = False
    held: bool = False
    for_another: bool = False
    passing_on: Callable[[], None] | None = None


# a process has one set of signal handlers
_state = _State()


@contextmanager
def handling() -> Iterator[None]:
    """Let signals quit within the outermost such block, with their exit codes; only the main thread can."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) == _handle:
        yield
        return
    before = {signum: signal.getsignal(signum) for signum in _signals()}
    install()
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        requested, _state.requested = _state.requested, None
        preemption = _preemption()
        if preemption is not None and requested == preemption and callable(before[preemption]):
            # all is saved: submitit queues the job again and exits
            signal.raise_signal(preemption)


@contextmanager
def answering(for_another: bool = False, passing_on: Callable[[], None] | None = None) -> Iterator[None]:
    """Take signals as requests to stop within the block, which is left by `Stopped`.

    Args:
        for_another: this process runs jobs for another one, which passes signals on.
        passing_on: what a first signal does, before it is answered here; it is left out by a second one.
    """
    with handling():
        before = replace(_state)
        _state.answering = True
        _state.for_another = for_another
        # a process that was forked to run jobs passes nothing on
        _state.passing_on = None if for_another else passing_on or before.passing_on
        try:
            yield
        finally:
            _state.answering, _state.for_another = before.answering, before.for_another
            _state.passing_on, _state.held = before.passing_on, False


def is_answering() -> bool:
    """Say whether signals are taken as requests."""
    return _state.answering


def is_for_another() -> bool:
    """Say whether this process runs a job for another one, which answers signals too."""
    return _state.for_another


def install() -> None:
    """Set the handlers, after Lightning has set its own perhaps; only the main thread can."""
    if threading.current_thread() is threading.main_thread():
        for signum in _signals():
            signal.signal(signum, _handle)


def hold() -> None:
    """From here on a signal waits until `answer`, or for a place that `at_once` marks."""
    _state.held = True


def release() -> None:
    """From here on a signal raises at once again."""
    _state.held = False


def requested() -> bool:
    """Say whether a signal waits to be answered."""
    return _state.requested is not None


def answer() -> None:
    """Raise `Stopped` where a signal waits."""
    if _state.requested is not None:
        raise Stopped(_state.requested)


@contextmanager
def at_once() -> Iterator[None]:
    """Within the block, a signal that is held back raises at once: whatever takes long, and can be left half done."""
    held, _state.held = _state.held, False
    try:
        answer()
        yield
    finally:
        _state.held = held


def requeue() -> None:
    """Ask SLURM to run this job again, as Lightning does."""
    job = os.environ["SLURM_JOB_ID"]
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    assert re.fullmatch("[0-9_]+", job)
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, timeout=30)
        log.info("SLURM job %s is queued again", job)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("scontrol requeue %s: %s; submit the job again", job, error)


def _signals() -> list[signal.Signals]:
    # elsewhere SIGUSR1 and SIGUSR2 keep their meaning, whatever that is
    slurm = REQUEUE if "SLURM_JOB_ID" in os.environ else None
    return [signum for signum in (signal.SIGTERM, signal.SIGINT, slurm, _preemption()) if signum is not None]


def _preemption() -> signal.Signals | None:
    """Return what tells a job of submitit that its time is nearly up; None elsewhere."""
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return None
    return signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]


def _handle(signum: int, _frame: FrameType | None) -> None:
    if _state.for_another and (_state.requested is not None or signum == signal.SIGINT):
        return
    if signum == _state.requested and time.monotonic() - _state.requested_at < _ECHO:
        return
    if _state.requested is not None or not _state.answering:
        _quit(signum)
    _state.requested, _state.requested_at = signum, time.monotonic()
    if _state.passing_on is not None:
        _state.passing_on()
    if not _state.held:
        raise Stopped(signum)


def _quit(signum: int) -> NoReturn:
    if signum == REQUEUE and _state.requested is None:
        requeue()
    # it may be in the middle of a print
    with suppress(Exception):
        sys.stdout.flush()
    os._exit(128 + signum)
