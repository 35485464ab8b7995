"""The live line of a sweep: how many jobs are complete, running, failed and left, and the best NLL so far."""

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from makemore.overrides import short_names, shown
from makemore.sweeps.records import Job, read_job
from makemore.system.console import MESSAGES


@dataclass(frozen=True)
class GroupProgress:
    """The progress of a vectorised group."""

    members: int  # that have not failed
    step: int  # optimiser steps that each has taken
    max_steps: int  # that each will take
    speed: float  # steps a second of each
    best: float  # the lowest validation NLL, nats a character; inf before the first validation
    lasting: bool  # shown where each change of the live line is a line of its own, too


# by sender: a process runs one sweep, whose groups may be in processes of their own
_groups: dict[int, GroupProgress] = {}
# the process that shows the live line, for the processes that it has started
_receivers: list[Callable[[GroupProgress | None], None]] = []


def show_group(group: GroupProgress | None, sender: int = 0) -> None:
    """Show the progress of a group at the end of the live line; None when it has ended."""
    if _receivers:
        _receivers[0](group)
    elif group is None:
        _groups.pop(sender, None)
    elif group.lasting or MESSAGES.is_terminal:
        _groups[sender] = group


def forward_groups(receiver: Callable[[GroupProgress | None], None]) -> None:
    """Pass the progress of this process's groups to the process that shows the live line, from here on."""
    _receivers[:] = [receiver]


def _group_line() -> str:
    """Return the progress of all groups together."""
    # another thread may add one meanwhile
    groups = list(_groups.values())
    if not groups:
        return ""
    members = sum(group.members for group in groups)
    step, max_steps = min(group.step for group in groups), groups[0].max_steps
    speed = sum(group.speed * group.members for group in groups) / max(members, 1)
    best = min(group.best for group in groups)
    line = f"; {members} members at step {step:,} of {max_steps:,}, {speed:,.0f} steps/s each"
    return f"{line}, best validation NLL {best:.4f}" if math.isfinite(best) else line


@dataclass
class SweepProgress:
    """The jobs of a sweep as their records say, of which only those that have changed are read again."""

    sweep_dir: Path
    total: int | None  # the number of jobs; None where it is not known
    jobs: dict[str, Job] = field(default_factory=dict)
    _written: dict[Path, int] = field(default_factory=dict)

    def update(self) -> list[Job]:
        """Return the jobs that have changed since the last update."""
        changed = []
        for path in sorted(self.sweep_dir.glob("*/job.json")):
            # a job's directory may be deleted meanwhile
            with suppress(OSError):
                written = path.stat().st_mtime_ns
                if self._written.get(path) != written and (job := read_job(path.parent)) is not None:
                    self._written[path] = written
                    self.jobs[job.name] = job
                    changed.append(job)
        return changed

    def line(self) -> str:
        """Return how many jobs are complete, running, failed and left, and the best of those that are complete."""
        jobs = self.jobs.values()
        complete = [job for job in jobs if job.is_complete]
        begun = [job for job in jobs if job.status == "running"]
        # processes of other machines are taken to run
        running = sum(job.host != socket.gethostname() or psutil.pid_exists(job.pid) for job in begun)
        failed = sum(job.status == "failed" for job in jobs)
        pruned = sum(job.status == "pruned" for job in jobs)
        of_these = f" ({pruned} pruned)" if pruned else ""
        parts = [f"{len(complete)} complete{of_these}", f"{running} running", f"{failed} failed"]
        if self.total is not None:
            parts.append(f"{max(0, self.total - len(complete) - running - failed)} left")
        line = ", ".join(parts)
        if complete:
            best = min(complete, key=lambda job: (job.status == "pruned", job.nll))
            names = short_names(best.differs)
            differs = ", ".join(f"{names[key]}={shown(value)}" for key, value in best.differs.items())
            line += f"; best {best.objective_name} {best.nll:.4f} ({differs or best.name})"
        return line


@contextmanager
def live_line(sweep_dir: Path, total: int | None) -> Iterator[None]:
    """Show the live line within the block: in place where standard error is a terminal, else a line each change."""
    progress = SweepProgress(sweep_dir, total)
    # jobs that failed before this sweep was resumed are not shown again
    progress.update()
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
    hidden = not MESSAGES.is_terminal
    with Progress(*columns, console=MESSAGES, transient=True, refresh_per_second=2, disable=hidden) as bar:
        task = bar.add_task("", total=total)
        ended = threading.Event()
        thread = threading.Thread(target=_show, args=(progress, bar, task, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _show(progress: SweepProgress, bar: Progress, task: TaskID, ended: threading.Event) -> None:
    last_line, is_last, took = "", False, 0.0
    while not is_last:
        # looking at ten thousand records takes a second: not more than a tenth of the time
        is_last = ended.wait(timeout=max(0.5, 9 * took))
        begun = time.perf_counter()
        changed = progress.update()
        took = time.perf_counter() - begun
        for job in changed:
            if job.status == "failed":
                MESSAGES.print(Text(f"failed: {job.name}: {job.message}"), soft_wrap=True)
        completed = sum(job.is_complete or job.status == "failed" for job in progress.jobs.values())
        line = progress.line() + _group_line()
        bar.update(task, completed=completed, description=line)
        if line != last_line and progress.jobs and not MESSAGES.is_terminal:
            MESSAGES.print(Text(line), soft_wrap=True)
        last_line = line
