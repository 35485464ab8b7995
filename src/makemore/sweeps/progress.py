"""The live line of a sweep: jobs done, running, failed and left, and the best so far, read from their records."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from makemore.console import MESSAGES
from makemore.sweeps.naming import short_names, shown
from makemore.sweeps.records import Job, read_job

# seconds between two looks
_EVERY = 0.5


@dataclass
class _Note:
    """What trains many jobs at once has to say of them: at the moment, and as a line of its own in a pipe."""

    now: str = ""
    lasting: str = ""


# a process runs one sweep
_note = _Note()


def note(text: str, lasting: bool = True) -> None:
    """Show a text at the end of the live line; one that is not `lasting` only where the line is a terminal's."""
    _note.now = text
    if lasting:
        _note.lasting = text


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
        text = _note.now if MESSAGES.is_terminal else _note.lasting
        line = f"{watch.line()}; {text}" if text else watch.line()
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
