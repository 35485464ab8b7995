"""SIGTERM, SIGINT and SLURM's requeue signal, answered when nothing is half done.

A first signal is a request: it raises `Stopped` at once where nothing would be torn, and where training holds it
back, as soon as the state is whole again. A second one quits on the spot, as if killed.
"""

import logging
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

log = logging.getLogger(__name__)

# what `sbatch --signal=USR1@90` and Lightning's own handler take
REQUEUE = signal.SIGUSR1


class Stopped(BaseException):
    """The process was asked to stop; no `Exception`, so that nobody takes it for a failure to recover from."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """What a shell gives a process that the signal ends: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.signum


@dataclass
class _State:
    """The signal that waits to be answered, and whether signals are held back."""

    requested: int | None = None
    held: bool = False


# a process has one set of signal handlers
_state = _State()


@contextmanager
def handling() -> Iterator[None]:
    """Take signals as requests to stop within the outermost such block; only the main thread can."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) == _handle:
        yield
        return
    before = {signum: signal.getsignal(signum) for signum in _signals()}
    install()
    try:
        yield
    finally:
        _state.requested, _state.held = None, False
        for signum, handler in before.items():
            signal.signal(signum, handler)


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
    # elsewhere SIGUSR1 keeps its meaning, whatever that is
    return [signal.SIGTERM, signal.SIGINT] + ([REQUEUE] if "SLURM_JOB_ID" in os.environ else [])


def _handle(signum: int, _frame: FrameType | None) -> None:
    if _state.requested is not None:
        os._exit(128 + signum)
    _state.requested = signum
    if not _state.held:
        raise Stopped(signum)
