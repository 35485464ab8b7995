"""Finished sweeps, one or several together: what is in their directories, and the pictures of what differs in them."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from makemore.errors import UserError
from makemore.overrides import spelt
from makemore.pictures.picture import Picture
from makemore.report.seed_spread import spread
from makemore.report.sweep_plots import heat_map, response
from makemore.sweeps.records import Job, Reference, read_jobs, read_sweep, with_differing_keys
from makemore.sweeps.table import Sweep, labels, sorted_jobs, swept_keys


@dataclass(frozen=True)
class Compared:
    """Jobs that are compared.

    Args:
        keys: in which they differ; of several sweeps, "sweep" is one more.
        jobs: that have finished or failed.
        references: known figures to show beside them, by the key that they depend on.
    """

    keys: list[str]
    jobs: list[Job]
    references: dict[str, Reference]

    @property
    def finite(self) -> list[Job]:
        """Those with a finite NLL, the best first."""
        finished = [job for job in sorted_jobs(self.jobs) if job.status == "finished"]
        return [job for job in finished if math.isfinite(job.nll)]


def read_directory(directory: Path) -> Sweep:
    """Return a sweep.

    Raises:
        UserError: the directory is not that of a sweep; where sweeps are in it, it says which.
    """
    within = sorted(str(path.parent) for path in directory.glob("*/sweep.json"))
    if within and not (directory / "sweep.json").exists():
        raise UserError(f"{directory}: holds sweeps and is none; give one or more of {', '.join(within)}")
    return Sweep(directory, read_sweep(directory), with_differing_keys(read_jobs(directory)))


def compared(sweeps: Sequence[Sweep]) -> Compared:
    """Return the jobs of sweeps that have ended, with all that differs among them."""
    keys, jobs = swept_keys(sweeps), [job for sweep in sweeps for job in sweep.jobs]
    if len(sweeps) > 1:
        # which sweep it was is one more thing that differs
        names = labels(sweeps)
        keys = [*keys, "sweep"]
        jobs = [_with_sweep(job, names[sweep.directory]) for sweep in sweeps for job in sweep.jobs]
    ended = [job for job in jobs if job.status in ("finished", "failed")]
    varying = [key for key in keys if len({spelt(job.differs[key]) for job in ended if key in job.differs}) > 1]
    references = {reference.key: reference for sweep in sweeps if (reference := sweep.record.reference) is not None}
    return Compared(varying, ended, references)


def responses_of(sweeps: Sequence[Sweep]) -> Iterator[Picture]:
    """Yield the picture of each key that varies."""
    found = compared(sweeps)
    for key in found.keys:
        figure = response(key, found.jobs, found.references.get(key))
        yield Picture(f"nll_by_{_as_name(key)}", f"NLL by {key}.", figure)


def pictures_of(sweeps: Sequence[Sweep]) -> Iterator[Picture]:
    """Yield the picture of each pair of keys that vary, and of many seeds that of their spread."""
    found = compared(sweeps)
    if found.keys == ["seed"] and len(found.finite) > 1:
        yield Picture("nll_spread", "How far the NLLs of the seeds lie apart.", spread(found.finite))
    for x_key, y_key in combinations(found.keys, 2):
        if any({x_key, y_key} <= set(job.differs) for job in found.jobs):
            name = f"nll_by_{_as_name(x_key)}_and_{_as_name(y_key)}"
            yield Picture(name, f"NLL by {x_key} and {y_key}.", heat_map(x_key, y_key, found.jobs))


def _with_sweep(job: Job, name: str) -> Job:
    return replace(job, differs=job.differs | {"sweep": name})


def _as_name(key: str) -> str:
    """Return a key as a part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", key)[:80]
