"""Train parts of a group in processes of their own, a core each.

They are forked, as importing torch and Lightning anew would take longer than many groups: on Linux without a GPU.
Elsewhere the launching process trains.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from makemore.errors import UserError, first_line
from makemore.sweeps import progress
from makemore.system import signals

# seconds that a process has to end, once it has sent its outcomes or was asked to stop
_GRACE = 60.0
# the outcome of each job of a part, by its number
Outcomes = dict[int, Any]


def can_fork() -> bool:
    """Return whether this process may be forked: CUDA and JAX do not support it, nor do libraries outside of Linux."""
    return sys.platform == "linux" and not torch.cuda.is_available() and "jax" not in sys.modules


def run_parts(parts: Sequence[Any], run: Callable[[Any], Outcomes]) -> Outcomes:
    """Return the outcomes that `run` gives for all parts, each in a process of its own.

    Raises:
        UserError: as `run` raised in one of them, once all have ended.
        RuntimeError: a process was killed.
        Stopped: a signal, which `makemore.sweeps.lifecycle` has passed on to the processes.
    """
    context = multiprocessing.get_context("fork")
    started: dict[Connection, Any] = {}
    outcomes: Outcomes = {}
    errors: list[Exception] = []
    try:
        for part in parts:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(part, run, sender, [*started, receiver], os.getpid()))
            process.start()
            # else the end of the process would not close the pipe
            sender.close()
            started[receiver] = process
        listening = list(started)
        while listening:
            heard: list[Any] = wait(listening)
            for receiver in heard:
                try:
                    said = receiver.recv()
                except EOFError:
                    said = RuntimeError("a process of the launcher was killed; out of memory, perhaps")
                if isinstance(said, progress.GroupProgress | None):
                    progress.show_group(said, sender=id(receiver))
                    continue
                listening.remove(receiver)
                if isinstance(said, Exception):
                    errors.append(said)
                else:
                    outcomes |= said
    finally:
        for receiver, process in started.items():
            progress.show_group(None, sender=id(receiver))
            receiver.close()
            # all have sent their outcomes or were asked to stop; one that does not end is stuck
            process.join(_GRACE)
            if process.is_alive():
                process.kill()
                process.join()
    if errors:
        raise errors[0]
    return outcomes


def _work(
    part: Any, run: Callable[[Any], Outcomes], sender: Connection, others: Sequence[Connection], parent: int
) -> None:
    """Run a part, and send its outcomes to the process that started this one."""
    with signals.answering(for_another=True):
        # when the launching process is killed, as nobody would take the outcomes
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
        if os.getppid() != parent:
            # it was killed before that
            os._exit(0)
        for receiver in others:
            receiver.close()
        progress.forward_groups(partial(_send, sender))
        try:
            said: Any = run(part)
        except Exception as error:
            said = as_sent(error)
        _send(sender, said)


def as_sent(error: Exception) -> Exception:
    """Return an exception being handled as another process can read it, with its traceback if it is a bug."""
    if isinstance(error, UserError):
        return UserError(str(error))
    return RuntimeError(f"{type(error).__name__}: {first_line(error)}\n{traceback.format_exc()}")


def _send(sender: Connection, said: Any) -> None:
    # a parent that was asked to stop does not listen any more
    with suppress(BrokenPipeError):
        sender.send(said)
