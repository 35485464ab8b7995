"""What the page of a sweep, or of several together, has on it; the page of the best run is a part of it."""

import math
import shlex
from collections.abc import Sequence

from makemore.errors import UserError
from makemore.overrides import override, shown
from makemore.pictures.gallery import Curves, read_curves
from makemore.pictures.picture import Picture
from makemore.report import run_charts, run_page, sweep_charts
from makemore.report.comparison import Compared, compared
from makemore.report.page import Block, Chart, Commands, Facts, Note, Section
from makemore.report.page import Table as PageTable
from makemore.report.subject import read_subject
from makemore.sweeps.records import Job
from makemore.sweeps.table import Sweep, Table


def sections(sweeps: Sequence[Sweep], table: Table, pictures: Sequence[Picture]) -> list[Section]:
    """Return what there is to say of sweeps.

    Args:
        sweeps: one, or several that are compared.
        table: of their jobs, of which one at least has finished.
        pictures: of them.
    """
    found = compared(sweeps)
    finite = found.finite
    made = [
        Section("What was run", _what(sweeps, table)),
        Section("Table", [PageTable(*table.cells()), *map(Note, _failures(table))]),
        Section("NLL by what was swept", _responses(found, finite)),
        Section("All keys together", _parallel(found, finite)),
        Section("Curves", _curves(finite)),
        Section("Pictures", run_page.images_of(pictures)),
        Section("Commands", [Commands(_commands(sweeps))]),
        _best(table.jobs[0]),
    ]
    return [section for section in made if section.blocks or section.parts]


def _what(sweeps: Sequence[Sweep], table: Table) -> list[Block]:
    facts = []
    for sweep in sweeps:
        facts += [("directory", str(sweep.directory)), ("swept", ", ".join(sweep.record.keys))]
        facts += [("begun", f"{len(sweep.jobs):,}{'' if (total := sweep.record.total) is None else f' of {total:,}'}")]
    best = table.jobs[0]
    counted = sum(job.status == "finished" for job in table.jobs)
    differs = " ".join(f"{key}={shown(value)}" for key, value in best.differs.items())
    note = f"Best of {counted:,} that finished: NLL {best.nll:.7f} with {differs or best.name}."
    return [Note(note), Facts(facts)]


def _failures(table: Table) -> list[str]:
    return [f"{job.run_dir}: {' '.join(job.message.split())}" for job in table.jobs if job.message]


def _responses(found: Compared, finite: Sequence[Job]) -> list[Block]:
    charted: list[Block] = []
    for key in found.keys:
        jobs = [job for job in finite if key in job.differs]
        if len(jobs) > 1:
            figure, above = sweep_charts.response(key, jobs, found.references.get(key))
            more = f" {above:,} lie above what is shown; a double click shows them." if above else ""
            charted.append(Chart(f"NLL by {key}, {len(jobs):,} jobs.{more}", figure))
    infinite = sum(job.status == "finished" and not math.isfinite(job.nll) for job in found.jobs)
    if charted and infinite:
        charted.append(Note(f"{infinite:,} with an infinite NLL are not in the charts."))
    return charted


def _parallel(found: Compared, finite: Sequence[Job]) -> list[Block]:
    if not found.keys or len(finite) < 2:
        return []
    return [
        Chart(
            f"A line a job, {len(finite):,} of them, through its values to its NLL.",
            sweep_charts.parallel(found.keys, finite),
        )
    ]


def _curves(finite: Sequence[Job]) -> list[Block]:
    what, runs = run_charts.compared([(job.name, _read(job)) for job in finite])
    if (figure := run_charts.together(runs)) is None or len(runs) < 2:
        return []
    missing = len(finite) - len(runs)
    without = f" Of {missing:,} more there are none." if missing else ""
    left_out = run_charts.thinned(run_charts.left_out([curve for _, curve in runs], run_charts.share(len(runs))))
    caption = f"NLL ({what}) of {len(runs):,} jobs, the best in the darkest colour; a double click shows all."
    return [Chart(f"{caption}{without}{left_out}", figure)]


def _read(job: Job) -> Curves:
    try:
        return read_curves(job.run_dir / "metrics.csv")
    except Exception:  # whatever a damaged file makes of a number; the table is read from others
        return {}


def _commands(sweeps: Sequence[Sweep]) -> list[tuple[str, str]]:
    rows = []
    for sweep in sweeps:
        command = [each for each in sweep.record.command if not each.startswith("hydra.sweep.dir=")]
        line = shlex.join(["python", "scripts/train.py", *command])
        rows.append((f"{sweep.directory.name}, run again:", line))
        rows.append(("Go on with it where it was stopped:", f"{line} {override('hydra.sweep.dir', sweep.directory)}"))
    here = shlex.join(str(sweep.directory) for sweep in sweeps)
    return [*rows, ("This page again:", f"python scripts/report.py {here}")]


def _best(job: Job) -> Section:
    title = f"The best run: {job.name}"
    try:
        subject = read_subject(job.run_dir)
        return Section(title, [], run_page.parts(subject, list(run_page.pictures_of(subject))))
    except UserError as error:
        return Section(title, [Note(str(error), warning=True)])
