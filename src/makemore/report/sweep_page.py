"""The pictures and the sections of a report on a sweep, or on several together."""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from statistics import median

from makemore.errors import UserError
from makemore.overrides import command, hydra_override, path_argument, shown
from makemore.pictures.curves import Curves, read_curves
from makemore.pictures.picture import Picture
from makemore.report.job_comparison import JobComparison, Setting, by_setting, described
from makemore.report.key_effects import key_effects
from makemore.report.nll_words import counting_number
from makemore.report.page import Chart, CommandList, DataTable, Element, FactTable, Headline, Paragraph, Section
from makemore.report.run_charts import MAX_RUNS, comparison_chart
from makemore.report.run_data import RunData, read_run_data
from makemore.report.run_page import pictures_of_run, run_sections
from makemore.report.sweep_charts import key_chart, nll_range, parallel_coordinates
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
    # of one key it would show what its own chart does
    several = len(finite) > 1 and len(comparison.keys) > 1
    curves = _best_curves(comparison.compared) if len(comparison.compared) > 1 else None
    best, of_best = _best(table.jobs[0])
    sections = [
        Section("", [*_answer(comparison, best), *_effects(comparison)]),
        Section("NLL by key", _key_charts(comparison)),
        Section("Jobs", [DataTable(*table.cells()), *map(Paragraph, table.notes())]),
        Section("All keys", [parallel_coordinates(comparison.keys, finite)] if several else []),
        Section("Training curves", [] if curves is None else [curves]),
        Section("Pictures", pictures),
        of_best,
        Section("Sweep", [CommandList(_commands(sweeps)), FactTable(facts, "The sweep's directory and keys")]),
    ]
    return [section for section in sections if section.elements or section.subsections]


def _best_curves(jobs: Sequence[Job]) -> Chart | None:
    return comparison_chart([(described(job), _curves_of(job)) for job in jobs[:MAX_RUNS]], len(jobs))


def _answer(comparison: JobComparison, best: RunData | None) -> list[Element]:
    """Return the best job, by how much, and what of that may be the seed's doing."""
    finite = comparison.finite
    if not finite:
        return [Headline("No job has a finite NLL.")]
    name = finite[0].objective_name
    pruned = len(comparison.pruned)
    compared = len(comparison.compared)
    sentence = f"The best of {compared:,} jobs has {described(finite[0])}: {name} {finite[0].nll:.4f}"
    numbers = [(f"{finite[0].nll:.4f}", f"{name} of the best, in nats a character")]
    settings = by_setting(finite)
    remark = ""
    if len(settings) > 1:
        first, second = settings[:2]
        lead = second.nll - first.nll
        sentence += f", {lead:.4f} below the next setting"
        numbers.append((f"{lead:.4f}", f"below the next: {second.name}"))
        remark = _seeds_remark(settings)
    reference = None if best is None else best.reference
    split = "val" if "val" in finite[0].nlls else "train"
    if reference is not None and split in reference.nlls:
        numbers.append(counting_number(finite[0].nll, reference.nlls[split].nats))
    ended = len(comparison.jobs) - len(finite) - pruned
    more = f", of which {pruned:,} pruned" if pruned else ""
    more += f"; {ended:,} more failed or have an infinite NLL" if ended else ""
    numbers.append((f"{compared:,}", f"jobs{more}"))
    return [Headline(f"{sentence}.", numbers, remark)]


def _seeds_remark(settings: Sequence[Setting]) -> str:
    """Return what the difference between the two best settings is worth, given what seeds differ by."""
    spreads = [setting.spread for setting in settings if setting.jobs > 1]
    if not spreads:
        return "Each setting was tried once: what another seed would change is not known (sweep=seeds tells)."
    spread, lead = median(spreads), settings[1].nll - settings[0].nll
    worth = "more than" if lead > spread else "no more than"
    seeds = f"Settings are compared by their medians, that of the best over {settings[0].jobs} seeds"
    return f"{seeds}; the best leads by {worth} the seeds of a setting differ by, {spread:.4f}."


def _effects(comparison: JobComparison) -> list[Element]:
    """Return which key mattered: a sentence and a table."""
    effects = key_effects(comparison)
    if not effects:
        return []
    first, shares = effects[0], any(effect.share is not None for effect in effects)
    rows = [
        [
            effect.key,
            shown(effect.best),
            f"{effect.spread:.4f}",
            *([f"{effect.share:.0%}" if effect.share is not None else ""] if shares else []),
        ]
        for effect in effects
    ]
    headings = ["key", "best value", "spread of medians (nats)", *(["share of the variance"] if shares else [])]
    how = f"{first.share:.0%} of what a random forest explains" if first.share is not None else "the widest spread"
    of = " of finished and pruned jobs" if comparison.pruned else ""
    mattered = f"{first.key} mattered most: {how}; the medians{of} of its values span {first.spread:.4f} nats."
    return [*([Paragraph(mattered)] if len(effects) > 1 else []), DataTable(headings, rows)]


def _key_charts(comparison: JobComparison) -> list[Element]:
    if not comparison.finite:
        return []
    charts: list[Element] = []
    # small multiples share their axis of NLLs
    shown_nlls = nll_range(comparison.compared)
    for key in comparison.keys:
        jobs, pruned = ([job for job in each if key in job.differs] for each in (comparison.finite, comparison.pruned))
        if jobs and len(jobs) + len(pruned) > 1:
            charts.append(key_chart(key, jobs, shown_nlls, comparison.references.get(key), pruned))
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


def _best(job: Job) -> tuple[RunData | None, Section]:
    """Return the data of the best job, where it can be read, and its section."""
    title = f"Best run: {described(job)}"
    try:
        data = read_run_data(job.run_dir)
        return data, Section(title, subsections=run_sections(data, list(pictures_of_run(data))))
    except UserError as error:
        return None, Section(title, [Paragraph(str(error), warning=True)])
