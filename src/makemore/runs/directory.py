"""The directory of a training run: check that it can be written to, and lock it."""

import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from makemore.checkpoints import directory_of
from makemore.errors import UserError
from makemore.system.files import clear_temporaries, held

# holds the number of the SLURM job, by which a requeued job finds its run
SLURM_MARKER = Path(".hydra") / "slurm_job"


def check_writable(run_dir: Path, model_bytes: int) -> None:
    """Raise `UserError` where a run's directory could not be written to, or has no room for its checkpoints."""
    existing = next(path for path in (run_dir, *run_dir.absolute().parents) if path.exists())
    try:
        with TemporaryFile(dir=existing, buffering=0) as file:
            file.write(bytes(4096))
        free = shutil.disk_usage(existing).free
    except OSError as error:
        mend = "mend that or choose another hydra.run.dir"
        raise UserError(f"{run_dir}: cannot be written: {error.strerror}; {mend}") from error
    # the last two, the best and the one being written, each of weights and two moments of AdamW
    needed = 4 * 3 * model_bytes
    if free < needed:
        room = f"{free / 1e6:,.1f} MB are free, its checkpoints may take {needed / 1e6:,.1f}"
        raise UserError(f"{run_dir}: {room}; make room or choose another hydra.run.dir")


@contextmanager
def sole_writer(run_dir: Path, wait: bool = False) -> Iterator[None]:
    """Lock a run's directory within the block, and clear what killed writers have left there.

    Where another process trains there, `wait` for its end, however long it takes, or raise `UserError`.
    """
    with held(run_dir, "trains", math.inf if wait else 0.0):
        for directory in (run_dir, directory_of(run_dir), (run_dir / SLURM_MARKER).parent):
            clear_temporaries(directory)
        yield


def mark_slurm_job(run_dir: Path) -> None:
    """Leave the number of the SLURM job that this process belongs to, if any, in the directory of its run."""
    if (job := slurm_job()) is not None:
        (run_dir / SLURM_MARKER).parent.mkdir(exist_ok=True)
        (run_dir / SLURM_MARKER).write_text(job)


def slurm_job() -> str | None:
    """Return the number of the SLURM job that this process belongs to; None outside of SLURM."""
    return os.environ.get("SLURM_JOB_ID")
