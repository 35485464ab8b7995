"""The table of a sweep's jobs, the best first: in the terminal, and as `sweep.csv`."""

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from makemore.overrides import Value, command, hydra_override, short_names, shown, spelt
from makemore.sweeps.records import Job, Reference, Status, SweepRecord
from makemore.system.console import TableColumn, print_table
from makemore.system.files import replacing, writing

_SPLITS = ("val", "train", "test")
_STATUSES: tuple[Status, ...] = ("finished", "pruned", "running", "stopped", "failed", "not run")


@dataclass(frozen=True)
class Sweep:
    """A sweep's directory, its record and its jobs."""

    directory: Path
    record: SweepRecord
    jobs: Sequence[Job]


@dataclass(frozen=True)
class Column:
    """A column of the table."""

    name: str  # its heading in sweep.csv
    heading: str  # its heading in the terminal
    values: list[Value | None]  # a row each; None is an empty cell
    shown: Callable[[Any], str] = shown  # formats a value for the terminal


@dataclass(frozen=True)
class Table:
    """The jobs of one or more sweeps."""

    jobs: list[Job]  # a row each
    columns: list[Column]
    not_begun: int  # the number of planned jobs that have no directory yet

    def write(self, path: Path) -> None:
        """Write the table as CSV: full keys, all digits, an empty cell where there is no value.

        The file is whole or not there; a path that cannot be written raises `UserError`.
        """
        content = io.StringIO()
        writer = csv.writer(content)
        writer.writerow(column.name for column in self.columns)
        writer.writerows(zip(*(column.values for column in self.columns), strict=True))
        with writing(path), replacing(path) as file:
            file.write(content.getvalue().encode(errors="backslashreplace"))

    def show(self) -> None:
        """Print the table and its notes on standard output."""
        # sweep.csv has the spare ones; the name of a job's directory repeats the values that differ
        print_table("NLL (nats/char)", self._drawn(), spare=("job", "steps"))
        for note in self.notes():
            Console().print(Text(note), soft_wrap=True)

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Return the headings and the rows of the columns to show, as text."""
        columns = self._drawn()
        rows = zip(*(column.cells for column in columns), strict=True)
        return [column.heading for column in columns], [list(row) for row in rows]

    def _drawn(self) -> list[TableColumn]:
        """Return the columns to show: those with values, without messages, and statuses only where they differ."""
        all_finished = all(job.status == "finished" for job in self.jobs)
        left_out = {"message", "status"} if all_finished else {"message"}
        drawn = []
        for column in self.columns:
            if column.name not in left_out and any(value is not None for value in column.values):
                cells = ["" if value is None else column.shown(value) for value in column.values]
                is_text = any(isinstance(value, str) for value in column.values)
                drawn.append(TableColumn(column.heading, cells, is_text))
        return drawn

    def notes(self) -> list[str]:
        """Return the lines below the table: errors, the number of jobs by status, the commands for the best job."""
        notes = [f"{job.run_dir}: {' '.join(job.message.split())}" for job in self.jobs if job.message]
        counts = Counter[str](job.status for job in self.jobs) + Counter({"not run": self.not_begun})
        if set(counts) - {"finished"}:
            # a killed process has not updated its record
            names = {status: status for status in _STATUSES} | {"running": "running or killed"}
            notes.append(", ".join(f"{counts[status]} {names[status]}" for status in _STATUSES if counts[status]))
        # pruned ones are the best only where none has finished
        if self.jobs and (best := self.jobs[0]).is_complete:
            differs = " ".join(f"{key}={shown(value)}" for key, value in best.differs.items())
            nll = f"{best.objective_name} {best.nll:.7f}"
            notes.append(f"best of {counts['finished'] + counts['pruned']}: {nll} with {differs or best.name}")
            ckpt_path = hydra_override("ckpt_path", best.run_dir)
            notes += [f"  {command(name, ckpt_path)}" for name in ("evaluate", "sample")]
        return notes


def table_of(sweeps: Sequence[Sweep]) -> Table:
    """Return the table of all jobs of some sweeps; of several, its first column names the sweep of a job."""
    rows = sorted(((sweep, job) for sweep in sweeps for job in sweep.jobs), key=lambda row: _place(row[1]))
    jobs = [job for _, job in rows]
    keys = swept_keys(sweeps)
    # short in the terminal where no other column has the name
    names = short_names(keys, (*_SPLITS, "sweep", "steps", "seconds", "status", "job"))
    values = {key: [spelt(job.differs[key]) if key in job.differs else None for job in jobs] for key in keys}
    columns = [
        *(Column(key, names[key], values[key]) for key in keys),
        *(Column(f"{split}/nll", split, [job.nlls.get(split) for job in jobs], "{:.7f}".format) for split in _SPLITS),
        *_reference_columns(rows),
        Column("steps", "steps", [job.steps for job in jobs], "{:,}".format),
        Column("seconds", "seconds", [job.seconds for job in jobs], "{:,.1f}".format),
        Column("status", "status", [job.status for job in jobs]),
        Column("job", "job", [job.name for job in jobs]),
        Column("message", "message", [job.message or None for job in jobs]),
    ]
    if len(sweeps) > 1:
        label = labels(sweeps)
        columns.insert(0, Column("sweep", "sweep", [label[sweep.directory] for sweep, _ in rows]))
    return Table(jobs, columns, sum(max(0, (sweep.record.total or 0) - len(sweep.jobs)) for sweep in sweeps))


def sorted_jobs(jobs: Iterable[Job]) -> list[Job]:
    """Return the finished jobs by NLL, the pruned ones by theirs, then the others by status; equal ones by name."""
    return sorted(jobs, key=_place)


def _place(job: Job) -> tuple[int, float, str, str]:
    objective = job.objective if job.is_complete else None
    # nan has no order
    nll = math.inf if objective is None or math.isnan(objective) else objective
    return _STATUSES.index(job.status), nll, job.name, str(job.run_dir)


def swept_keys(sweeps: Sequence[Sweep]) -> list[str]:
    """Return all swept keys, in the order in which they were given."""
    recorded = [key for sweep in sweeps for key in sweep.record.keys]
    return list(dict.fromkeys([*recorded, *(key for sweep in sweeps for job in sweep.jobs for key in job.differs)]))


def labels(sweeps: Sequence[Sweep]) -> dict[Path, str]:
    """Return the name of each sweep's directory, or its path where two have the same name."""
    counts = Counter(sweep.directory.name for sweep in sweeps)
    paths = [sweep.directory for sweep in sweeps]
    return {path: path.name if counts[path.name] == 1 else str(path) for path in paths}


def _reference_columns(rows: Sequence[tuple[Sweep, Job]]) -> list[Column]:
    """Return the columns of known figures, each after the metric that it is compared with."""
    columns: dict[str, Column] = {}
    pairs = [(sweep.record.reference, job) for sweep, job in rows]
    for metric, title in dict.fromkeys((known.metric, known.title) for known, _ in pairs if known is not None):
        ours: list[Value | None] = [job.last.get(metric) for _, job in pairs]
        theirs: list[Value | None] = [
            known_figure(known, job) if known is not None and known.title == title else None for known, job in pairs
        ]
        columns[metric] = Column(metric, metric, ours, "{:.7f}".format)
        columns[title] = Column(title, title, theirs)
    return [column for name, column in columns.items() if name not in {f"{split}/nll" for split in _SPLITS}]


def known_figure(reference: Reference, job: Job) -> float | None:
    """Return the known figure to compare a job with; None where there is none."""
    value = job.differs.get(reference.key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return reference.figures.get(value)
