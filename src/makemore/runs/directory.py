"""The directory of a training run: whether it can be written to, and by whom."""

import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from filelock import FileLock, Timeout

from makemore.atomic import clear_temporaries
from makemore.checkpoint_file import directory_of
from makemore.errors import UserError

# by which a job that SLURM runs again knows its run
SLURM_MARKER = Path(".hydra") / "slurm_job"
# the end of the name of an event file that holds nothing but pictures of what training came to
PICTURES_SUFFIX = ".pictures"


def check_writable(run_dir: Path, model_bytes: int) -> None:
    """Raise `UserError` where a run's directory could not be written to, or has no room for its checkpoints."""
    existing = next(path for path in (run_dir, *run_dir.absolute().parents) if path.exists())
    try:
        with TemporaryFile(dir=existing) as file:
            file.write(bytes(4096))
            file.flush()
        free = shutil.disk_usage(existing).free
    except OSError as error:
        raise UserError(
            f"{run_dir}: cannot be written: {error.strerror}; mend that or choose another hydra.run.dir"
        ) from error
    # the last two, the best and the one that is being written, each with two moments a weight
    needed = 4 * 3 * model_bytes
    if free < needed:
        raise UserError(
            f"{run_dir}: {free / 1e6:,.1f} MB are free, its checkpoints may take {needed / 1e6:,.1f}; "
            "make room or choose another hydra.run.dir"
        )


class HeldError(UserError):
    """Another process holds a directory."""


@contextmanager
def held(directory: Path, what: str, wait: float = 0.0) -> Iterator[None]:
    """Hold a directory within the block; the system lets go of it when the process ends, however it does.

    Args:
        directory: of a run or a sweep; it exists.
        what: another process does there, for the error.
        wait: seconds for it to end; inf for as long as it takes.

    Raises:
        HeldError: another process holds it.
    """
    lock = FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=-1 if wait == math.inf else wait)
    except Timeout as error:
        raise HeldError(f"{directory}: another process {what} there; wait for it, or stop it") from error
    try:
        yield
    finally:
        lock.release()


def is_held(directory: Path) -> bool:
    """Say whether a process holds a directory."""
    try:
        with held(directory, ""):
            return False
    except HeldError:
        return True


@contextmanager
def sole_writer(run_dir: Path, wait: bool = False) -> Iterator[None]:
    """Hold a run's directory within the block.

    Raises:
        UserError: another process trains there, and one does not `wait` for it.
    """
    with held(run_dir, "trains", math.inf if wait else 0.0):
        for directory in (run_dir, directory_of(run_dir), (run_dir / SLURM_MARKER).parent):
            clear_temporaries(directory)
        if (job := slurm_job()) is not None:
            (run_dir / SLURM_MARKER).parent.mkdir(exist_ok=True)
            (run_dir / SLURM_MARKER).write_text(job)
        yield


def slurm_job() -> str | None:
    """Return the number of the SLURM job that this process is part of; None elsewhere."""
    return os.environ.get("SLURM_JOB_ID")
