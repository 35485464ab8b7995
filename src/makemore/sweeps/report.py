"""A report of finished sweeps, of one or of several together: the table, `sweep.csv`, and pictures of each key."""

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

from makemore.atomic import replacing
from makemore.errors import UserError
from makemore.sweeps.naming import spelt
from makemore.sweeps.pictures import heat_map, response
from makemore.sweeps.records import Job, read_jobs, read_sweep, told_apart
from makemore.sweeps.spread import spread
from makemore.sweeps.table import Sweep, labels, swept_keys, table_of


def report(directories: Sequence[Path], output: Path | None = None) -> None:
    """Write `sweep.csv` and the pictures of sweeps, and print their table and what was written.

    Args:
        directories: of the sweeps; those that were killed have something to tell too.
        output: where the files go; None for the sweep's directory, or for `report` where there are several sweeps.

    Raises:
        UserError: a directory is not that of a sweep, no job has finished, or `output` cannot be written.
    """
    # the same directory twice is one sweep; "." has no name
    named = {path.resolve(): path if path.name not in ("", "..") else path.resolve() for path in directories}
    sweeps = [_read(directory) for directory in named.values()]
    table = table_of(sweeps)
    if not any(job.status == "finished" for job in table.jobs):
        which = ", ".join(str(sweep.directory) for sweep in sweeps)
        raise UserError(f"{which}: no job has finished; wait for one, or start the sweep again")
    if output is None:
        output = sweeps[0].directory if len(sweeps) == 1 else Path("report")
    paths = [output / "sweep.csv"]
    table.write(paths[0])
    for name, figure in _pictures(sweeps):
        paths.append(output / name)
        _save(figure, paths[-1])
    table.show()
    for path in paths:
        Console().print(Text(str(path)), soft_wrap=True)


def _read(directory: Path) -> Sweep:
    """Return a sweep; say which sweeps are in a directory that is none."""
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory; give that of a sweep of scripts/train.py -m")
    within = sorted(str(path.parent) for path in directory.glob("*/sweep.json"))
    if within and not (directory / "sweep.json").exists():
        raise UserError(f"{directory}: holds sweeps and is none; give one or more of {', '.join(within)}")
    return Sweep(directory, read_sweep(directory), told_apart(read_jobs(directory)))


def _pictures(sweeps: Sequence[Sweep]) -> Iterator[tuple[str, Figure]]:
    """Yield the picture of each key that varies and of each pair of them, with the names of their files."""
    keys, jobs = swept_keys(sweeps), [job for sweep in sweeps for job in sweep.jobs]
    if len(sweeps) > 1:
        # which sweep it was is one more thing that differs
        names = labels(sweeps)
        keys = [*keys, "sweep"]
        jobs = [_with_sweep(job, names[sweep.directory]) for sweep in sweeps for job in sweep.jobs]
    references = {reference.key: reference for sweep in sweeps if (reference := sweep.record.reference) is not None}
    ended = [job for job in jobs if job.status in ("finished", "failed")]
    varying = [key for key in keys if len({spelt(job.differs[key]) for job in ended if key in job.differs}) > 1]
    for key in varying:
        yield f"nll_by_{_as_name(key)}.png", response(key, ended, references.get(key))
    finite = [job for job in ended if job.status == "finished" and math.isfinite(job.nll)]
    if varying == ["seed"] and len(finite) > 1:
        yield "nll_spread.png", spread(finite)
    for x_key, y_key in combinations(varying, 2):
        if any({x_key, y_key} <= set(job.differs) for job in ended):
            yield f"nll_by_{_as_name(x_key)}_and_{_as_name(y_key)}.png", heat_map(x_key, y_key, ended)


def _with_sweep(job: Job, name: str) -> Job:
    return replace(job, differs=job.differs | {"sweep": name})


def _as_name(key: str) -> str:
    """Return a key as a part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", key)[:80]


def _save(figure: Figure, path: Path) -> None:
    try:
        with replacing(path) as file, warnings.catch_warnings():
            # the font has not all characters; it draws a box
            warnings.filterwarnings("ignore", "Glyph")
            figure.savefig(file, format="png", dpi=150)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
