"""Handle SIGTERM, SIGINT and the requeue signals of SLURM and submitit when the state of a run is whole.

Before a training run, and in other commands, a signal quits at once: there is nothing to save, and an exception raised
in the middle of an import would be lost in it. In a run the first signal is a request to stop: it raises `Stopped` at
once, or, where training holds signals back, as soon as the state is whole. A second one quits, unless it is an echo of
the first.
"""

import logging
import os
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

# seconds within which the same signal is an echo: `timeout` sends it to a process and to its group
_ECHO = 0.1

# that of `sbatch --signal=USR1@90` and of Lightning's own handler; Windows has none
REQUEUE: signal.Signals | None = getattr(signal, "SIGUSR1", None)


class Stopped(BaseException):
    """The process was asked to stop; no `Exception`, so that no handler of failures catches it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    def __str__(self) -> str:
        return signal.Signals(self.signum).name


@dataclass
class _State:
    """The pending signal of this process, and what a signal does."""

    requested: int | None = None  # the pending signal
    requested_at: float = 0.0
    answering: bool = False  # a signal is a request to stop
    held: bool = False  # it waits for `answer`
    for_another: bool = False  # see `answering`
    passing_on: Callable[[], None] | None = None


# a process has one set of signal handlers
_state = _State()


@contextmanager
def handling() -> Iterator[None]:
    """Handle signals within the outermost such block; only the main thread can."""
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
        if requested is not None and requested == _preemption() and callable(before[signal.Signals(requested)]):
            # the run is saved: submitit requeues the job and exits
            signal.raise_signal(requested)


@contextmanager
def answering(for_another: bool = False, passing_on: Callable[[], None] | None = None) -> Iterator[None]:
    """Take signals as requests to stop within the block, which is left by `Stopped`.

    `for_another`: this process runs jobs for another, which answers Ctrl-C and passes it on once: a second signal does
    not quit. `passing_on` is called at the first signal, before it is answered here.
    """
    with handling():
        before = replace(_state)
        _state.answering = True
        _state.for_another = for_another
        # a process forked to run jobs passes nothing on
        _state.passing_on = None if for_another else passing_on or before.passing_on
        try:
            yield
        finally:
            _state.answering, _state.for_another = before.answering, before.for_another
            _state.passing_on, _state.held = before.passing_on, False


def is_answering() -> bool:
    """Return whether signals are requests to stop."""
    return _state.answering


def is_for_another() -> bool:
    """Return whether this process runs jobs for another one, which answers signals too."""
    return _state.for_another


def install() -> None:
    """Set the handlers, again where Lightning has set its own; only the main thread can."""
    if threading.current_thread() is threading.main_thread():
        for signum in _signals():
            signal.signal(signum, _handle)


def hold() -> None:
    """Hold signals back from here on, until `answer` or a block of `at_once`."""
    _state.held = True


def release() -> None:
    """Let signals raise at once from here on."""
    _state.held = False


def requested() -> bool:
    """Return whether a signal is pending."""
    return _state.requested is not None


def answer() -> None:
    """Raise `Stopped` where a signal is pending."""
    if _state.requested is not None:
        raise Stopped(_state.requested)


@contextmanager
def at_once() -> Iterator[None]:
    """Let held signals raise at once within a block that takes long and may be left half done."""
    held, _state.held = _state.held, False
    try:
        answer()
        yield
    finally:
        _state.held = held


def requeue() -> None:
    """Ask SLURM to requeue this job, as Lightning does."""
    job = os.environ["SLURM_JOB_ID"]
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, timeout=30)
        log.info("SLURM job %s is requeued", job)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("scontrol requeue %s: %s; submit the job again", job, error)


def _signals() -> list[signal.Signals]:
    # outside of SLURM and submitit, SIGUSR1 and SIGUSR2 keep their meaning
    slurm = REQUEUE if "SLURM_JOB_ID" in os.environ else None
    return [signum for signum in (signal.SIGTERM, signal.SIGINT, slurm, _preemption()) if signum is not None]


def _preemption() -> signal.Signals | None:
    """Return the signal by which submitit tells a job that its time is nearly up; None elsewhere."""
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return None
    return signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]


def _handle(signum: int, _frame: FrameType | None) -> None:
    is_echo = signum == _state.requested and time.monotonic() - _state.requested_at < _ECHO
    if is_echo or (_state.for_another and (_state.requested is not None or signum == signal.SIGINT)):
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
    # the process may be in the middle of a print
    with suppress(Exception):
        sys.stdout.flush()
    os._exit(128 + signum)
