"""Jobs and sweeps made by hand: as values, and as the files that they would have left."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from makemore.sweeps.records import Job, Reference, Status, SweepRecord

MESSAGE = "the loss is not finite at step 12; lower optimizer.lr"


def job(
    differs: dict[str, Any], val: float | None = None, status: Status = "finished", name: str = "", **results: Any
) -> Job:
    """A job; one that is complete has a validation NLL, and one of training that is a tenth of a nat lower."""
    name = name or ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in differs.items()).replace("/", "_")
    if val is not None:
        results = {"nlls": {"train": val - 0.1, "val": val}, "steps": 1000, "seconds": 1.25} | results
    if status == "failed":
        results = {"message": MESSAGE} | results
    return Job(Path("sweep") / name, [f"{key}={value}" for key, value in differs.items()], differs, status, **results)


def write(sweep_dir: Path, jobs: list[Job], total: int | None = None, reference: Reference | None = None) -> Path:
    """Write the directory of a sweep with these jobs; return it."""
    keys = list(dict.fromkeys(key for job in jobs for key in job.differs))
    sweep_dir.mkdir(parents=True)
    SweepRecord(["-m"], keys, total=total, reference=reference).write(sweep_dir)
    for each in jobs:
        run_dir = sweep_dir / each.name
        run_dir.mkdir()
        recorded = (*RECORDED, "steps") if each.status == "pruned" else RECORDED
        record = {name: value for name, value in asdict(each).items() if name in recorded}
        (run_dir / "job.json").write_text(json.dumps(record))
        if each.is_complete:
            write_results(run_dir, each)
    return sweep_dir


RECORDED = ("overrides", "differs", "status", "message", "host", "pid")


def write_results(run_dir: Path, finished: Job) -> None:
    """Write the files that a run ends with; JSON has no inf."""
    metrics: dict[str, Any] = {"steps": finished.steps, "seconds": finished.seconds}
    for split, nll in finished.nlls.items():
        is_finite = nll < float("inf")
        metrics |= {f"{split}/nll": nll} if is_finite else {f"{split}/nll": None, f"{split}/infinite": True}
    (run_dir / "metrics.json").write_text(json.dumps(metrics))
    heading = ["step", *finished.last]
    values = map(str, [finished.steps, *finished.last.values()])
    (run_dir / "metrics.csv").write_text(f"{','.join(heading)}\n{','.join(values)}\n")
