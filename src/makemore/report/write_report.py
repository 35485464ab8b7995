"""Reports on paths of runs, checkpoints and sweeps, as `makemore report` writes them."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from makemore.checkpoints import EXPORTED_WEIGHTS
from makemore.errors import UserError
from makemore.inference.evaluation import print_nlls
from makemore.pictures.picture import save, show_in_tensorboard
from makemore.report.job_comparison import compare_jobs
from makemore.report.page import Page, Section
from makemore.report.run_comparison import comparison_sections
from makemore.report.run_data import RunData, read_run_data
from makemore.report.run_page import pictures_of_run, run_sections
from makemore.report.sweep_page import pictures_of_keys, pictures_of_pairs, sweep_sections
from makemore.sweeps.records import read_jobs, read_sweep, with_differing_keys
from makemore.sweeps.table import Sweep, table_of


def write_report(paths: Sequence[Path], output: Path | None = None) -> None:
    """Write the page and the pictures of some paths; print the tables and the paths of the written files.

    Args:
        paths: checkpoints and directories of runs and exports, or directories of sweeps.
        output: the directory of the files; None for that of the run or the sweep, for `report-CHECKPOINT` in it where
            the path is a checkpoint of a run, and for `report` where there is no run or there are several.

    Raises:
        UserError: a path is none of these, no job has finished, a checkpoint is damaged, or a file cannot be written.
    """
    # the same path given twice counts once; "." has no name
    named = {path.resolve(): path if path.name not in ("", "..") else path.resolve() for path in paths}
    distinct = list(named.values())
    are_sweeps = [_is_sweep(path) for path in distinct]
    if any(are_sweeps) and not all(are_sweeps):
        raise UserError("a report is on sweeps, or on runs and checkpoints; write one for each")
    written = _report_sweeps(distinct, output) if all(are_sweeps) else _report_runs(distinct, output)
    for path in written:
        Console().print(Text(str(path)), soft_wrap=True)


def _is_sweep(path: Path) -> bool:
    """Return whether a path is the directory of a sweep, not of a run or a checkpoint; `UserError` if none of them."""
    if not path.exists():
        raise UserError(f"{path}: no such file or directory; give a checkpoint, or the directory of a run or a sweep")
    if (path / "sweep.json").exists():
        return True
    exported = (path / EXPORTED_WEIGHTS).is_file()
    if exported or path.is_file() or path.name == "checkpoints" or (path / "checkpoints").is_dir():
        return False
    for kind, part in (("sweeps", "sweep.json"), ("runs", "checkpoints")):
        if within := sorted(str(found.parent) for found in path.glob(f"*/{part}")):
            raise UserError(f"{path}: is a directory of {kind}; give one or more of {', '.join(within)}")
    what = "neither a checkpoint, nor the directory of a run (checkpoints/), a sweep (sweep.json) or an export"
    raise UserError(f"{path}: is {what}")


def _report_sweeps(directories: Sequence[Path], output: Path | None) -> list[Path]:
    """Write `sweep.csv`, the pictures and the page of sweeps; print their table; return the paths."""
    sweeps = [Sweep(path, read_sweep(path), with_differing_keys(read_jobs(path))) for path in directories]
    table, comparison = table_of(sweeps), compare_jobs(sweeps)
    if not any(job.status == "finished" for job in table.jobs):
        which = ", ".join(map(str, directories))
        raise UserError(f"{which}: no job has finished; wait for one, or resume the sweep")
    if output is None:
        output = directories[0] if len(directories) == 1 else Path("report")
    table.write(output / "sweep.csv")
    # the page has charts in place of the pictures of single keys
    written = save(pictures_of_keys(comparison), output)
    pictures = list(pictures_of_pairs(comparison))
    written += save(pictures, output)
    title = f"Sweep {', '.join(directory.name for directory in directories)}"
    Page(title, sweep_sections(sweeps, table, comparison, pictures)).write(output / "report.html")
    table.show()
    return [output / "sweep.csv", *written, output / "report.html"]


def _report_runs(paths: Sequence[Path], output: Path | None) -> list[Path]:
    """Write the pictures and the page of runs and checkpoints; print their tables; return the paths."""
    runs = [read_run_data(path) for path in paths]
    names = _unique_names(runs)
    alone = len(runs) == 1
    if output is None:
        output = (runs[0].run_dir if alone else None) or Path("report")
        if alone and runs[0].run_dir is not None and paths[0].is_file():
            # the run keeps a report of its own
            output /= f"report-{paths[0].stem}"
    written: list[Path] = []
    sections = [] if alone else comparison_sections(names, runs)
    for name, data in zip(names, runs, strict=True):
        pictures = list(pictures_of_run(data))
        written += save(pictures, output / "pictures" if alone else output / "pictures" / name)
        if data.run_dir == output:
            show_in_tensorboard(pictures, data.run_dir, data.model.step)
        subsections = run_sections(data, pictures)
        sections += subsections if alone else [Section(name, subsections=subsections)]
    title = f"Run {names[0]}" if alone else f"{len(runs)} runs"
    Page(title, sections).write(output / "report.html")
    for name, data in zip(names, runs, strict=True):
        reference = None if data.reference is None else data.reference.nlls
        for weights, nlls in data.nlls.items():
            print_nlls(f"{name}, {weights}", nlls, reference)
    return [*written, output / "report.html"]


def _unique_names(runs: Sequence[RunData]) -> list[str]:
    """Return a name for each run that serves as a directory's, with the checkpoint or a number where it must."""
    names = [data.name for data in runs]
    if len(set(names)) < len(names):
        names = [f"{data.name}-{data.model.path.stem}" for data in runs]
    return [name if names.count(name) == 1 else f"{number}-{name}" for number, name in enumerate(names, 1)]
