"""The table that a sweep ends with."""

from collections.abc import Sequence
from pathlib import Path

from makemore.sweeps.records import Job, SweepRecord


def conclude(sweep_dir: Path, jobs: Sequence[Job], record: SweepRecord) -> None:
    """Print what became of each job."""
    for job in jobs:
        print(job.status, job.name, job.objective, job.message)
