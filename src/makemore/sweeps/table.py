"""The jobs of sweeps as a table, the best first: in the terminal, and as `sweep.csv`."""

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

from makemore.console import TableColumn, print_table
from makemore.errors import UserError
from makemore.files import replacing
from makemore.overrides import Value, override, short_names, shown, spelt
from makemore.sweeps.records import Job, Reference, Status, SweepRecord

_SPLITS = ("val", "train", "test")
_STATUSES: tuple[Status, ...] = ("finished", "running", "stopped", "failed", "not run")


@dataclass(frozen=True)
class Sweep:
    """A sweep's directory, what it was started as, and its jobs."""

    directory: Path
    record: SweepRecord
    jobs: Sequence[Job]


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Args:
        name: its heading in sweep.csv.
        heading: its heading in the terminal.
        values: a row each; None where there is none.
        shown: how the terminal shows one.
    """

    name: str
    heading: str
    values: list[Value | None]
    shown: Callable[[Any], str] = shown

    def drawn(self) -> TableColumn:
        """Return it as the terminal shows it."""
        cells = ["" if value is None else self.shown(value) for value in self.values]
        return TableColumn(self.heading, cells, is_text=any(isinstance(value, str) for value in self.values))


@dataclass(frozen=True)
class Table:
    """What sweeps came to.

    Args:
        jobs: a row each.
        columns: what is said of them.
        not_begun: how many jobs were planned of which there is nothing yet.
    """

    jobs: list[Job]
    columns: list[Column]
    not_begun: int

    def write(self, path: Path) -> None:
        """Write it as CSV, whole or not at all: full keys, all digits, an empty cell where there is no value.

        Raises:
            UserError: the path cannot be written.
        """
        content = io.StringIO()
        writer = csv.writer(content)
        writer.writerow(column.name for column in self.columns)
        writer.writerows(zip(*(column.values for column in self.columns), strict=True))
        try:
            with replacing(path) as file:
                file.write(content.getvalue().encode(errors="backslashreplace"))
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from error

    def show(self) -> None:
        """Print it, why jobs failed, and the commands for the best one, on standard output."""
        columns = [column for column in self.columns if self._is_shown(column)]
        # sweep.csv has the spare ones; a directory's name only says again what differed
        print_table("NLL (nats/char)", [column.drawn() for column in columns], spare=("job", "steps"))
        for note in self.notes():
            Console().print(Text(note), soft_wrap=True)

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Return the headings and the rows of what there is to show, as text."""
        columns = [column.drawn() for column in self.columns if self._is_shown(column)]
        rows = zip(*(column.cells for column in columns), strict=True)
        return [column.heading for column in columns], [list(row) for row in rows]

    def _is_shown(self, column: Column) -> bool:
        all_finished = all(job.status == "finished" for job in self.jobs)
        left_out = {"message", "status"} if all_finished else {"message"}
        return column.name not in left_out and any(value is not None for value in column.values)

    def notes(self) -> list[str]:
        """Return what is said below the table, a line each."""
        notes = [f"{job.run_dir}: {' '.join(job.message.split())}" for job in self.jobs if job.message]
        counts = Counter[str](job.status for job in self.jobs) + Counter({"not run": self.not_begun})
        if set(counts) - {"finished"}:
            # the record of a killed process stays as it was
            names = {status: status for status in _STATUSES} | {"running": "running or killed"}
            notes.append(", ".join(f"{counts[status]} {names[status]}" for status in _STATUSES if counts[status]))
        if counts["finished"]:
            best = self.jobs[0]
            differs = " ".join(f"{key}={shown(value)}" for key, value in best.differs.items())
            notes.append(f"best of {counts['finished']}: NLL {best.objective:.7f} with {differs or best.name}")
            ckpt_path = override("ckpt_path", best.run_dir)
            notes += [f"  python scripts/{script}.py {ckpt_path}" for script in ("evaluate", "sample")]
        return notes


def conclude(sweep_dir: Path, jobs: Sequence[Job], record: SweepRecord) -> None:
    """Write `sweep.csv` at the end of a sweep; print the table and the commands for its best job.

    Raises:
        UserError: the file cannot be written.
    """
    table = table_of([Sweep(sweep_dir, record, jobs)])
    table.write(sweep_dir / "sweep.csv")
    table.show()


def table_of(sweeps: Sequence[Sweep]) -> Table:
    """Return the table of all jobs of some sweeps; of several, the first column says to which a job belongs."""
    rows = sorted(((sweep, job) for sweep in sweeps for job in sweep.jobs), key=lambda row: _place(row[1]))
    jobs = [job for _, job in rows]
    columns = [
        *_key_columns(swept_keys(sweeps), jobs),
        *(Column(f"{split}/nll", split, [job.nlls.get(split) for job in jobs], "{:.7f}".format) for split in _SPLITS),
        *_reference_columns(rows),
        Column("steps", "steps", [job.steps for job in jobs], "{:,}".format),
        Column("seconds", "seconds", [job.seconds for job in jobs], "{:,.1f}".format),
        Column("status", "status", [job.status for job in jobs]),
        Column("job", "job", [job.name for job in jobs]),
        Column("message", "message", [job.message or None for job in jobs]),
    ]
    if len(sweeps) > 1:
        names = labels(sweeps)
        columns.insert(0, Column("sweep", "sweep", [names[sweep.directory] for sweep, _ in rows]))
    return Table(jobs, columns, sum(max(0, (sweep.record.total or 0) - len(sweep.jobs)) for sweep in sweeps))


def sorted_jobs(jobs: Iterable[Job]) -> list[Job]:
    """Return the finished jobs by NLL, then those that run, were stopped, failed and were not run; else by name."""
    return sorted(jobs, key=_place)


def _place(job: Job) -> tuple[int, float, str, str]:
    objective = job.objective if job.status == "finished" else None
    # nan has no order
    nll = math.inf if objective is None or math.isnan(objective) else objective
    return _STATUSES.index(job.status), nll, job.name, str(job.run_dir)


def swept_keys(sweeps: Sequence[Sweep]) -> list[str]:
    """Return all swept keys, in the order in which they were given."""
    recorded = [key for sweep in sweeps for key in sweep.record.keys]
    return list(dict.fromkeys([*recorded, *(key for sweep in sweeps for job in sweep.jobs for key in job.differs)]))


def labels(sweeps: Sequence[Sweep]) -> dict[Path, str]:
    """Return what to call each sweep's directory: its name, or its path where names are shared."""
    counts = Counter(sweep.directory.name for sweep in sweeps)
    paths = [sweep.directory for sweep in sweeps]
    return {path: path.name if counts[path.name] == 1 else str(path) for path in paths}


def _key_columns(keys: Sequence[str], jobs: Sequence[Job]) -> list[Column]:
    """Return a column a swept key; the terminal shows the last part of a key where no other column has it."""
    names = short_names(keys, (*_SPLITS, "sweep", "steps", "seconds", "status", "job"))
    return [
        Column(key, names[key], [spelt(job.differs[key]) if key in job.differs else None for job in jobs])
        for key in keys
    ]


def _reference_columns(rows: Sequence[tuple[Sweep, Job]]) -> list[Column]:
    """Return the columns of known figures, each after the metric that it belongs beside."""
    columns: dict[str, Column] = {}
    references = [sweep.record.reference for sweep, _ in rows if sweep.record.reference is not None]
    for metric, title in dict.fromkeys((reference.metric, reference.title) for reference in references):
        ours: list[Value | None] = [job.last.get(metric) for _, job in rows]
        theirs = [_known(sweep.record.reference, title, job) for sweep, job in rows]
        columns[metric] = Column(metric, metric, ours, "{:.7f}".format)
        columns[title] = Column(title, title, theirs)
    return [column for name, column in columns.items() if name not in {f"{split}/nll" for split in _SPLITS}]


def _known(reference: Reference | None, title: str, job: Job) -> Value | None:
    if reference is None or reference.title != title:
        return None
    return known_figure(reference, job)


def known_figure(reference: Reference, job: Job) -> float | None:
    """Return the known figure that belongs beside a job's; None where there is none."""
    value = job.differs.get(reference.key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return reference.figures.get(value)
