"""The live line of a sweep: jobs done, running, failed and left, and the best so far, read from their records."""

import math
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from makemore.console import MESSAGES
from makemore.overrides import short_names, shown
from makemore.sweeps.records import Job, read_job

# seconds between two looks
_EVERY = 0.5


@dataclass(frozen=True)
class Where:
    """How far a group of members is that are trained at once.

    Args:
        members: that are left.
        step: optimiser steps that each has taken.
        max_steps: that each will take.
        speed: steps a second of each.
        best: validation NLL until now; inf before there is one.
        lasting: worth a line of its own in a pipe.
    """

    members: int
    step: int
    max_steps: int
    speed: float
    best: float
    lasting: bool


# by sender: a process runs one sweep, and its groups may be in processes of their own
_now: dict[int, Where] = {}
_lasting: dict[int, Where] = {}
_sinks: list[Callable[[Where | None], None]] = []


def note(where: Where | None, sender: int = 0) -> None:
    """Show at the end of the live line how far a group is; None when it has ended."""
    if _sinks:
        _sinks[0](where)
        return
    for kept in (_now, _lasting):
        if where is None:
            kept.pop(sender, None)
        elif where.lasting or kept is _now:
            kept[sender] = where


def send_to(sink: Callable[[Where | None], None]) -> None:
    """From here on, hand on what is noted to the process that shows the live line."""
    _sinks[:] = [sink]


def forget() -> None:
    """Show no groups any more."""
    _now.clear()
    _lasting.clear()


def _groups() -> str:
    """Return how far the groups are, as one."""
    # another thread may note something meanwhile
    groups = list((_now if MESSAGES.is_terminal else _lasting).values())
    if not groups:
        return ""
    members = sum(group.members for group in groups)
    step, max_steps = min(group.step for group in groups), groups[0].max_steps
    speed = sum(group.speed * group.members for group in groups) / max(members, 1)
    best = min(group.best for group in groups)
    line = f"; {members} members at step {step:,} of {max_steps:,}, {speed:,.0f} steps/s each"
    return f"{line}, best validation NLL {best:.4f}" if math.isfinite(best) else line


@dataclass
class Watch:
    """Reads the records of a sweep's jobs, again only those that have changed.

    Args:
        sweep_dir: the sweep's directory.
        total: how many jobs there are to be; None where that is not known.
    """

    sweep_dir: Path
    total: int | None
    jobs: dict[str, Job] = field(default_factory=dict)
    _seen: dict[Path, int] = field(default_factory=dict)

    def look(self) -> list[Job]:
        """Return the jobs that have changed since the last look."""
        changed = []
        for path in sorted(self.sweep_dir.glob("*/job.json")):
            # a job's directory may be deleted while we look
            with suppress(OSError):
                written = path.stat().st_mtime_ns
                if self._seen.get(path) != written and (job := read_job(path.parent)) is not None:
                    self._seen[path] = written
                    self.jobs[job.name] = job
                    changed.append(job)
        return changed

    def line(self) -> str:
        """Return how many jobs are done, running, failed and left, and the best of those that are done."""
        jobs = self.jobs.values()
        finished = [job for job in jobs if job.status == "finished"]
        running = sum(job.status == "running" and _lives(job) for job in jobs)
        failed = sum(job.status == "failed" for job in jobs)
        parts = [f"{len(finished)} done", f"{running} running", f"{failed} failed"]
        if self.total is not None:
            parts.append(f"{max(0, self.total - len(finished) - running - failed)} left")
        best = min(finished, key=lambda job: job.nll, default=None)
        return ", ".join(parts) + (f"; best NLL {best.nll:.4f} ({what_differs(best) or best.name})" if best else "")


@contextmanager
def live_line(sweep_dir: Path, total: int | None) -> Iterator[None]:
    """Show the live line within the block: in place where standard error is a terminal, else a line each change."""
    watch = Watch(sweep_dir, total)
    # what was so before this sweep goes on is no news
    watch.look()
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        console=MESSAGES,
        transient=True,
        refresh_per_second=2,
        disable=not MESSAGES.is_terminal,
    ) as bar:
        task = bar.add_task("", total=total)
        ended = threading.Event()
        thread = threading.Thread(target=_show, args=(watch, bar, task, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def what_differs(job: Job) -> str:
    """Return the swept keys of a job with their values, as a person reads them."""
    names = short_names(job.differs)
    return ", ".join(f"{names[key]}={shown(value)}" for key, value in job.differs.items())


def _show(watch: Watch, bar: Progress, task: TaskID, ended: threading.Event) -> None:
    shown = ""
    while True:
        last = ended.wait(_EVERY)
        for job in watch.look():
            if job.status == "failed":
                MESSAGES.print(Text(f"failed: {job.name}: {job.message}"), soft_wrap=True)
        done = sum(job.status in ("finished", "failed") for job in watch.jobs.values())
        line = watch.line() + _groups()
        bar.update(task, completed=done, description=line)
        if line != shown and watch.jobs and not MESSAGES.is_terminal:
            MESSAGES.print(Text(line), soft_wrap=True)
        shown = line
        if last:
            return


def _lives(job: Job) -> bool:
    """Say whether the process of a job on this machine is there still; of others nothing is known."""
    if job.host != socket.gethostname():
        return True
    try:
        os.kill(job.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
