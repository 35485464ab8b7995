"""The ended jobs of one or several sweeps, for pictures and charts that compare them. NLLs are in nats a character."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

from makemore.overrides import short_names, shown, spelt
from makemore.sweeps.records import Job, Reference, Status
from makemore.sweeps.table import Sweep, labels, sorted_jobs, swept_keys

Place = TypeVar("Place", float, tuple[int, int])


@dataclass(frozen=True)
class JobComparison:
    """The finished, pruned and failed jobs, and the keys in which they differ; of several sweeps, "sweep" is one more.

    References are known figures to show beside them, by the key that they depend on.
    """

    keys: list[str]
    jobs: list[Job]
    references: dict[str, Reference]

    @property
    def finite(self) -> list[Job]:
        """The finished jobs with a finite NLL, the best first."""
        return self._finite("finished")

    @property
    def pruned(self) -> list[Job]:
        """The pruned jobs with a finite NLL, the best first; each has that of the steps that it has taken."""
        return self._finite("pruned")

    @property
    def compared(self) -> list[Job]:
        """The finished jobs, then the pruned ones, with a finite NLL."""
        return [*self.finite, *self.pruned]

    def _finite(self, status: Status) -> list[Job]:
        ended = [job for job in sorted_jobs(self.jobs) if job.status == status]
        return [job for job in ended if math.isfinite(job.nll)]


def compare_jobs(sweeps: Sequence[Sweep]) -> JobComparison:
    """Return the ended jobs of sweeps and the keys in which these differ."""
    keys, names, jobs = swept_keys(sweeps), labels(sweeps), list[Job]()
    if len(sweeps) > 1:
        keys.append("sweep")
    for sweep in sweeps:
        named = {"sweep": names[sweep.directory]} if len(sweeps) > 1 else {}
        jobs += [replace(job, differs=job.differs | named) for job in sweep.jobs]
    ended = [job for job in jobs if job.is_complete or job.status == "failed"]
    varying = [key for key in keys if len({spelt(job.differs[key]) for job in ended if key in job.differs}) > 1]
    references = {reference.key: reference for sweep in sweeps if (reference := sweep.record.reference) is not None}
    return JobComparison(varying, ended, references)


def compared_split(jobs: Sequence[Job]) -> str:
    """Return the split whose NLL is the objective of finished jobs."""
    return "validation" if any("val" in job.nlls for job in jobs) else "training"


def medians(nlls: Iterable[tuple[Place, float]]) -> dict[Place, float]:
    """Return the median NLL at each place, the places ascending."""
    at = defaultdict(list)
    for place, nll in nlls:
        at[place].append(nll)
    return {place: median(at[place]) for place in sorted(at)}


def other_keys_differ(key: str, jobs: Sequence[Job]) -> bool:
    """Return whether jobs differ in another key."""
    others = [{other: value for other, value in job.differs.items() if other != key} for job in jobs]
    return any(other != others[0] for other in others)


def described(job: Job) -> str:
    """Return the values in which a job differs, by short names, or the job's name."""
    names = short_names(job.differs)
    return ", ".join(f"{names[key]}={shown(value)}" for key, value in job.differs.items()) or job.name


@dataclass(frozen=True)
class Setting:
    """The jobs that differ in their seed alone: their name, their number, and the median and range of their NLLs."""

    name: str
    jobs: int
    nll: float
    spread: float


def by_setting(jobs: Sequence[Job]) -> list[Setting]:
    """Return the settings of jobs with finite NLLs, that of the first job first, then by their medians."""
    found = defaultdict[str, list[Job]](list)
    for job in jobs:
        kept = {key: value for key, value in job.differs.items() if key != "seed"} or job.differs
        found[described(replace(job, differs=kept))].append(job)
    nlls = {name: [job.nll for job in alike] for name, alike in found.items()}
    settings = [Setting(name, len(nlls[name]), median(nlls[name]), max(nlls[name]) - min(nlls[name])) for name in nlls]
    return [settings[0], *sorted(settings[1:], key=lambda setting: setting.nll)] if settings else []
