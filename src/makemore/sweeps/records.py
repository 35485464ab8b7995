"""The records in a sweep's directory: `sweep.json` for the sweep, `job.json` beside a run's files for each job."""

import csv
import json
import math
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from makemore.errors import UserError
from makemore.overrides import differing
from makemore.system.files import replacing

# While this file is in a sweep's directory no job begins; it has the error for which the sweep stops, if any.
STOP = ".stop"

Status = Literal["running", "finished", "pruned", "failed", "stopped", "not run"]


@dataclass(frozen=True)
class Reference:
    """Known figures that a sweep's table shows beside its own."""

    title: str  # their source, the heading of their column
    metric: str  # the column of metrics.csv to compare them with, at its last step
    key: str  # the swept key that they depend on
    figures: dict[float, float]  # by the value of that key


@dataclass(frozen=True)
class SweepRecord:
    """The command of a sweep."""

    command: list[str]  # the arguments of `makemore train`
    keys: list[str]  # the swept keys, in the order in which they were given
    total: int | None = None  # the number of jobs; None for a search, which may draw the same job twice
    reference: Reference | None = None
    slurm_job: str | None = None  # the number of the SLURM job that it runs in, by which a requeued one finds it

    def write(self, sweep_dir: Path) -> None:
        """Write `sweep.json`, whole or not at all."""
        _write_json(sweep_dir / "sweep.json", asdict(self))


@dataclass(frozen=True)
class Job:
    """A job of a sweep."""

    run_dir: Path  # its run's directory, which does not exist yet where the status is "not run"
    overrides: list[str]  # from which Hydra composed its config
    differs: dict[str, Any]  # the swept keys with their values; scalars, lists or text
    status: Status  # as recorded: a job that is "running" may have been killed since
    message: str = ""  # the error of a failed job, in one line
    host: str = ""  # the machine of its process
    pid: int = 0  # the number of its process there
    losses: int = 0  # processes, or machines, that died one after the other while they ran it
    # the final NLL of each split, nats a character; inf is possible for counting models
    nlls: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)  # the last value of each column of metrics.csv
    steps: int | None = None  # optimiser steps taken
    seconds: float | None = None  # in training

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.run_dir.name

    @property
    def is_complete(self) -> bool:
        """Whether a sweep does not train it any further: it has finished, or was pruned."""
        return self.status in ("finished", "pruned")

    @property
    def objective(self) -> float | None:
        """The NLL that a sweep minimises: validation, or training where there is no validation split."""
        return self.nlls.get("val", self.nlls.get("train"))

    @property
    def nll(self) -> float:
        """The objective of a complete job."""
        assert self.objective is not None
        return self.objective

    @property
    def objective_name(self) -> str:
        """What a person calls the objective of a complete job."""
        return "validation NLL" if "val" in self.nlls else "training NLL"


def read_sweep(sweep_dir: Path) -> SweepRecord:
    """Read `sweep.json`; raise `UserError` where the directory has no readable one."""
    path = sweep_dir / "sweep.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        reference = content.pop("reference")
        if reference is not None:
            figures = {float(value): figure for value, figure in reference.pop("figures").items()}
            reference = Reference(**reference, figures=figures)
        return SweepRecord(**content, reference=reference)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; give the directory of a sweep of makemore train -m") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); it is written again when the sweep is resumed") from error


def read_jobs(sweep_dir: Path) -> list[Job]:
    """Read the jobs that have begun, in the order of their directories' names."""
    return [job for path in sorted(sweep_dir.glob("*/job.json")) if (job := read_job(path.parent)) is not None]


def with_differing_keys(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs with all keys that differ among them: a sweep may be resumed with values for what was fixed."""
    parted = ([override.partition("=") for override in job.overrides] for job in jobs)
    given = [{key.lstrip("+~"): text for key, _, text in overrides} for overrides in parted]
    keys = {key for values in given for key in values}
    varying = {key for key in keys if len({values.get(key) for values in given}) > 1}
    varying.update(key for job in jobs for key in job.differs)
    return [
        replace(job, differs=job.differs | differing(job.overrides, keys - varying))
        if (varying & values.keys()) - job.differs.keys()
        else job
        for job, values in zip(jobs, given, strict=True)
    ]


def read_job(run_dir: Path) -> Job | None:
    """Read the job in a directory; None where there is none, or its record is damaged."""
    try:
        content = json.loads((run_dir / "job.json").read_text(encoding="utf-8"))
        job = Job(run_dir=run_dir, **content)
        if job.status not in get_args(Status) or not isinstance(job.differs, dict):
            return None
        return _with_results(job) if job.is_complete else job
    except (OSError, ValueError, TypeError, KeyError, AttributeError, csv.Error):
        return None


def write_job(
    run_dir: Path,
    overrides: Sequence[str],
    differs: Mapping[str, Any],
    status: Status,
    message: str = "",
    losses: int = 0,
    steps: int | None = None,
) -> None:
    """Write `job.json` for a job of this process, whole or not at all; `steps` are those after which it was pruned."""
    content: dict[str, Any] = {
        "overrides": list(overrides),
        "differs": dict(differs),
        "status": status,
        "message": message,
    }
    content |= {"host": socket.gethostname(), "pid": os.getpid(), "losses": losses}
    _write_json(run_dir / "job.json", content if steps is None else content | {"steps": steps})


def _with_results(job: Job) -> Job:
    """Return a complete job with the results in the files of its run."""
    metrics = json.loads((job.run_dir / "metrics.json").read_text())
    nlls = {
        split: math.inf if metrics.get(f"{split}/infinite") else float(metrics[f"{split}/nll"])
        for split in ("train", "val", "test")
        if f"{split}/nll" in metrics
    }
    if not nlls:
        raise KeyError("train/nll")
    last: dict[str, float] = {}
    path = job.run_dir / "metrics.csv"
    if path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                last |= {name: float(value) for name, value in row.items() if value}
    # one that was pruned may have been resumed by itself
    status = "finished" if job.steps not in (None, metrics["steps"]) else job.status
    return replace(job, status=status, nlls=nlls, last=last, steps=metrics["steps"], seconds=metrics["seconds"])


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
