"""The pictures and the sections of a report on a sweep, or on several together."""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import combinations

from makemore.errors import UserError
from makemore.overrides import command, hydra_override, path_argument
from makemore.pictures.curves import Curves, read_curves
from makemore.pictures.picture import Picture
from makemore.report.job_comparison import JobComparison
from makemore.report.page import CommandList, DataTable, Element, FactTable, Paragraph, Section
from makemore.report.run_charts import comparison_chart
from makemore.report.run_data import read_run_data
from makemore.report.run_page import pictures_of_run, run_sections
from makemore.report.sweep_charts import key_chart, parallel_coordinates
from makemore.report.sweep_plots import key_plot, pair_plot, seed_histogram
from makemore.sweeps.records import Job
from makemore.sweeps.table import Sweep, Table


def pictures_of_keys(comparison: JobComparison) -> Iterator[Picture]:
    """Yield the picture of each key in which jobs differ."""
    for key in comparison.keys:
        figure = key_plot(key, comparison.jobs, comparison.references.get(key))
        yield Picture(f"nll_by_{_in_file_name(key)}", f"NLL by {key}.", figure)


def pictures_of_pairs(comparison: JobComparison) -> Iterator[Picture]:
    """Yield the picture of each pair of keys; where only the seed differs, that of the NLLs of seeds."""
    if comparison.keys == ["seed"] and len(comparison.finite) > 1:
        yield Picture("nll_spread", "Final NLLs of the seeds.", seed_histogram(comparison.finite))
    for x_key, y_key in combinations(comparison.keys, 2):
        if any({x_key, y_key} <= set(job.differs) for job in comparison.jobs):
            name = f"nll_by_{_in_file_name(x_key)}_and_{_in_file_name(y_key)}"
            yield Picture(name, f"NLL by {x_key} and {y_key}.", pair_plot(x_key, y_key, comparison.jobs))


def _in_file_name(key: str) -> str:
    return re.sub(r"[^\w.-]+", "_", key)[:80]


def sweep_sections(
    sweeps: Sequence[Sweep], table: Table, comparison: JobComparison, pictures: Sequence[Picture]
) -> list[Section]:
    """Return the sections on sweeps, of which at least one job has finished; empty sections are left out."""
    facts = []
    for sweep in sweeps:
        begun = f"{len(sweep.jobs):,}{'' if sweep.record.total is None else f' of {sweep.record.total:,}'}"
        keys = ", ".join(sweep.record.keys)
        facts += [("directory", str(sweep.directory)), ("swept keys", keys), ("jobs begun", begun)]
    finite = comparison.finite
    several = len(finite) > 1
    curves = comparison_chart([(job.name, _curves_of(job)) for job in finite]) if several else None
    sections = [
        Section("Sweep", [FactTable(facts)]),
        Section("Jobs", [DataTable(*table.cells()), *map(Paragraph, table.notes())]),
        Section("NLL by key", _key_charts(comparison)),
        Section("All keys", [parallel_coordinates(comparison.keys, finite)] if several and comparison.keys else []),
        Section("Training curves", [] if curves is None else [curves]),
        Section("Pictures", pictures),
        Section("Commands", [CommandList(_commands(sweeps))]),
        _best(table.jobs[0]),
    ]
    return [section for section in sections if section.elements or section.subsections]


def _key_charts(comparison: JobComparison) -> list[Element]:
    charts: list[Element] = []
    for key in comparison.keys:
        jobs = [job for job in comparison.finite if key in job.differs]
        if len(jobs) > 1:
            charts.append(key_chart(key, jobs, comparison.references.get(key)))
    infinite = sum(job.status == "finished" and not math.isfinite(job.nll) for job in comparison.jobs)
    if charts and infinite:
        charts.append(Paragraph(f"{infinite:,} jobs with an infinite NLL are not in the charts."))
    return charts


def _curves_of(job: Job) -> Curves:
    try:
        return read_curves(job.run_dir / "metrics.csv")
    except Exception:  # a file that is missing, or damaged in whatever way: the table has the results
        return {}


def _commands(sweeps: Sequence[Sweep]) -> list[tuple[str, str]]:
    rows = []
    for sweep in sweeps:
        given = [each for each in sweep.record.command if not each.startswith("hydra.sweep.dir=")]
        # a sweep of that name would be resumed
        anew = [each for each in given if not each.startswith("name=")]
        there = hydra_override("hydra.sweep.dir", sweep.directory)
        rows.append((f"Repeat {sweep.directory.name}:", command("train", *anew)))
        rows.append((f"Resume {sweep.directory.name}:", command("train", *given, there)))
    paths = [path_argument(sweep.directory) for sweep in sweeps]
    return [*rows, ("Write this report again:", command("report", *paths))]


def _best(job: Job) -> Section:
    title = f"Best run: {job.name}"
    try:
        data = read_run_data(job.run_dir)
        return Section(title, subsections=run_sections(data, list(pictures_of_run(data))))
    except UserError as error:
        return Section(title, [Paragraph(str(error), warning=True)])
