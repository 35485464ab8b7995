"""A report from paths: what they are, and which files it leaves; `scripts/report.py` calls it."""

import datetime
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.text import Text

from makemore.errors import UserError
from makemore.inference.evaluation import print_nlls
from makemore.pictures.picture import Picture, save, show_in_tensorboard
from makemore.report import run_charts, run_page, sweep_page
from makemore.report.comparison import pictures_of, read_directory, responses_of
from makemore.report.page import Block, Chart, Page, Section, Table
from makemore.report.subject import Subject, read_subject
from makemore.sweeps.table import table_of


def report(paths: Sequence[Path], output: Path | None = None) -> None:
    """Write the page of what is at some paths with its pictures; print the tables, and what was written.

    Args:
        paths: checkpoints and directories of runs, or directories of sweeps.
        output: where the files go; None for the directory of the run or the sweep, for `report-<checkpoint>` in it
            where a single checkpoint of a run is given, or for `report` where there is no run or there are several.

    Raises:
        UserError: a path is none of these, no job has finished, a checkpoint is damaged, or a file cannot be written.
    """
    # the same path twice is one; "." has no name
    named = {path.resolve(): path if path.name not in ("", "..") else path.resolve() for path in paths}
    given = list(named.values())
    of_sweeps = [_is_sweep(path) for path in given]
    if any(of_sweeps) and not all(of_sweeps):
        raise UserError("sweeps beside runs or checkpoints: give one kind alone, or a page for each")
    written = report_sweeps(given, output) if all(of_sweeps) else report_runs(given, output)
    for path in written:
        Console().print(Text(str(path)), soft_wrap=True)


def report_sweeps(directories: Sequence[Path], output: Path | None) -> list[Path]:
    """Write `sweep.csv`, the pictures and the page of sweeps; print their table; return the paths."""
    sweeps = [read_directory(directory) for directory in directories]
    table = table_of(sweeps)
    if not any(job.status == "finished" for job in table.jobs):
        which = ", ".join(map(str, directories))
        raise UserError(f"{which}: no job has finished; wait for one, or start the sweep again")
    if output is None:
        output = directories[0] if len(directories) == 1 else Path("report")
    table.write(output / "sweep.csv")
    # the page has charts of the single keys
    singles = save(responses_of(sweeps), output)
    pictures = list(pictures_of(sweeps))
    others = save(pictures, output)
    name = ", ".join(directory.name for directory in directories)
    page = Page(f"Sweep {name}", _made(), sweep_page.sections(sweeps, table, pictures))
    page.write(output / "report.html")
    table.show()
    return [output / "sweep.csv", *singles, *others, output / "report.html"]


def report_runs(paths: Sequence[Path], output: Path | None) -> list[Path]:
    """Write the pictures and the page of runs and checkpoints; print their tables; return the paths."""
    subjects = [read_subject(path) for path in paths]
    alone = len(subjects) == 1
    if output is None:
        run_dir = subjects[0].run_dir if alone else None
        if run_dir is None:
            output = Path("report")
        else:
            # the run has its own report
            output = run_dir / f"report-{paths[0].stem}" if paths[0].is_file() else run_dir
    names = _told_apart(subjects)
    written, pictures = [], []
    for name, subject in zip(names, subjects, strict=True):
        directory = output / "pictures" if alone else output / "pictures" / name
        pictures.append(list(run_page.pictures_of(subject)))
        written += save(pictures[-1], directory)
        if subject.run_dir == output:
            show_in_tensorboard(pictures[-1], subject.run_dir, subject.model.step)
    page = _page_of_one(subjects[0], pictures[0]) if alone else _page_of_several(names, subjects, pictures)
    page.write(output / "report.html")
    for name, subject in zip(names, subjects, strict=True):
        for weights, nlls in subject.nlls.items():
            print_nlls(f"{name}, {weights}", nlls)
    return [*written, output / "report.html"]


def _is_sweep(path: Path) -> bool:
    """Say whether a path is a sweep's; of a checkpoint or a run it is not.

    Raises:
        UserError: it is none of these.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or directory; give a checkpoint, or the directory of a run or a sweep")
    if path.is_file():
        return False
    if (path / "sweep.json").exists() or any(path.glob("*/sweep.json")):
        return True
    if path.name == "checkpoints" or (path / "checkpoints").is_dir():
        return False
    within = sorted(str(found.parent) for found in path.glob("*/checkpoints"))
    if within:
        raise UserError(f"{path}: holds runs and is none; give one or more of {', '.join(within)}")
    what = "neither a checkpoint nor the directory of a run (with checkpoints/) or of a sweep (with sweep.json)"
    raise UserError(f"{path}: is {what}")


def _page_of_one(subject: Subject, pictures: Sequence[Picture]) -> Page:
    return Page(f"Run {subject.name}", _made(), run_page.parts(subject, pictures))


def _page_of_several(names: Sequence[str], subjects: Sequence[Subject], pictures: Sequence[Sequence[Picture]]) -> Page:
    sections = [Section("Comparison", _comparison(names, subjects))]
    for name, subject, found in zip(names, subjects, pictures, strict=True):
        sections.append(Section(name, [], run_page.parts(subject, found)))
    return Page(f"{len(subjects)} runs", _made(), sections)


def _comparison(names: Sequence[str], subjects: Sequence[Subject]) -> list[Block]:
    """Return the NLLs of runs, the best first, and their curves over each other."""
    order = sorted(
        zip(names, subjects, strict=True),
        key=lambda pair: (pair[1].objective is None, pair[1].objective),
    )
    rows = [[name, *cells] for name, subject in order for cells in run_page.rows_of(subject.nlls)]
    blocks: list[Block] = [Table(["run", *run_page.HEADINGS], rows)] if rows else []
    what, curves = run_charts.compared([(name, subject.curves) for name, subject in order])
    if (figure := run_charts.together(curves)) is not None:
        left_out = run_charts.thinned(
            run_charts.left_out([curve for _, curve in curves], run_charts.share(len(curves)))
        )
        blocks.append(
            Chart(
                f"NLL ({what}) of each run, the best in the darkest colour; a double click shows all.{left_out}",
                figure,
            )
        )
    return blocks


def _told_apart(subjects: Sequence[Subject]) -> list[str]:
    """Return a name for each, with the step where it is another checkpoint's too, which serves as a directory's."""
    names = [subject.name for subject in subjects]
    if len(set(names)) < len(names):
        names = [f"{subject.name}-{subject.model.path.stem}" for subject in subjects]
    return [name if names.count(name) == 1 else f"{place}-{name}" for place, name in enumerate(names, 1)]


def _made() -> str:
    now = datetime.datetime.now().astimezone()
    return f"Made on {now:%d %B %Y at %H:%M} by makemore-lightning {version('makemore-lightning')}."
