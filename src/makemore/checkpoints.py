"""Checkpoints as files: what they hold, where a run keeps them, and which of them is the newest whole one.

A checkpoint is Lightning's, of builtins and tensors alone, with a record of ours under one key, and sealed by a digest
(see `makemore.files`). It is always read with `weights_only=True`.
"""

import logging
import os
import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from makemore import files
from makemore.errors import UserError, as_text

log = logging.getLogger(__name__)

# 2: sealed, and a run can go on from it; 1: neither
FORMAT_VERSION = 2
RECORD_KEY = "makemore"
_NAME = re.compile(r"(best-)?step-(\d+)\.ckpt")


class DamagedCheckpointError(UserError):
    """A checkpoint is not what was written, or none at all.

    Args:
        path: where it is.
        cause: what is wrong with it.
        state: in one word.
    """

    def __init__(self, path: Path, cause: str, state: str = "damaged") -> None:
        self.what = f"{path}: is {state} ({cause})"
        super().__init__(f"{self.what}; use another one of the run")


def record(
    *,
    architecture: str,
    arguments: dict[str, Any],
    vocabulary: dict[str, Any],
    options: dict[str, Any],
    sha256: dict[str, str],
    step: int,
    logs: dict[str, Any],
) -> dict[str, Any]:
    """Return the record that a checkpoint holds under `RECORD_KEY`; all arguments are plain values."""
    return {
        "format_version": FORMAT_VERSION,
        "model": {"architecture": architecture, "arguments": arguments},
        "vocabulary": vocabulary,
        "data": {"options": options, "sha256": sha256},
        "step": step,
        "logs": logs,
    }


def directory_of(run_dir: str | Path) -> Path:
    """Return where a run keeps its checkpoints."""
    return Path(run_dir) / "checkpoints"


def path_of(run_dir: str | Path, step: int, best: bool = False) -> Path:
    """Return where a run keeps the checkpoint of a step, or its best one, which has that step."""
    return directory_of(run_dir) / f"{'best-' if best else ''}step-{step:08d}.ckpt"


def step_of(path: Path) -> int:
    """Return the step in the name of a checkpoint of a run."""
    name = _NAME.fullmatch(path.name)
    assert name is not None
    return int(name[2])


def checkpoints_of(run_dir: str | Path, best: bool = False) -> list[Path]:
    """Return the step-named checkpoints of a run, or its best ones by validation, the newest last."""
    found = directory_of(run_dir).glob("*.ckpt")
    names = ((path, _NAME.fullmatch(path.name)) for path in found)
    return sorted((path for path, name in names if name and bool(name[1]) == best), key=step_of)


def newest_first(run_dir: str | Path) -> list[Path]:
    """Return all checkpoints of a run, the newest first; of one step the step-named one before the best."""
    candidates = [*checkpoints_of(run_dir), *checkpoints_of(run_dir, best=True)]
    return sorted(candidates, key=step_of, reverse=True)


def read(path: Path) -> dict[str, Any]:
    """Return what is in a checkpoint.

    Raises:
        DamagedCheckpointError: a torn, altered or unsealed file, or no checkpoint at all.
        UserError: one of a newer format, or of none of ours.
    """
    not_ours = UserError(f"{path}: is not a checkpoint of this project; name one that scripts/train.py wrote")
    try:
        content, has_seal = files.read_sealed(path)
    except files.BrokenSealError as error:
        raise DamagedCheckpointError(path, str(error)) from error
    except Exception as error:  # whatever a damaged or foreign file makes the unpickler raise
        if isinstance(error, pickle.UnpicklingError) and _is_whole_archive(path):
            # it has objects in it, such as Lightning's hyperparameters
            raise not_ours from error
        raise DamagedCheckpointError(path, "or not a checkpoint at all") from error
    own = content.get(RECORD_KEY) if isinstance(content, dict) else None
    if not isinstance(own, dict):
        raise not_ours
    version = own.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise UserError(f"{path}: has format version {version}, this program reads {FORMAT_VERSION}; update it")
    if version > 1 and not has_seal:
        raise DamagedCheckpointError(path, "saved by other means than training, or its end is cut off", "unsealed")
    checkpoint: dict[str, Any] = content
    return checkpoint


def _is_whole_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # whatever a damaged file makes the reader raise
        return False


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Within the block, whatever a checkpoint with other contents than ours makes go wrong is its damage."""
    try:
        yield
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        what = str(error).partition("\n")[0]
        raise DamagedCheckpointError(path, f"{type(error).__name__}: {what}") from error


def find_newest(run_dir: str | Path) -> Path | None:
    """Return the newest whole checkpoint of a run, logging each damaged one that it passes; None where there is none.

    The best by validation NLL is among them: of a run that was killed it may be the newest.
    """
    for path in newest_first(run_dir):
        try:
            read(path)
        except DamagedCheckpointError as error:
            log.warning("%s; the one before is used", error.what)
        else:
            return path
    return None


def find(path: str | Path) -> Path:
    """Return the checkpoint at `path`; of a run's directory, the newest whole one.

    Raises:
        UserError: where there is none.
    """
    path = Path(os.path.expanduser(path if isinstance(path, Path) else as_text("ckpt_path", path)))
    if path.is_dir():
        run_dir = path.parent if path.name == "checkpoints" else path
        if not newest_first(run_dir):
            raise UserError(f"{path}: has no checkpoints/step-*.ckpt; name a run's directory or a checkpoint")
        if (newest := find_newest(run_dir)) is None:
            raise UserError(f"{path}: none of its checkpoints is whole; train again")
        return newest
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint (from {Path.cwd()}); training prints the path of its own")
    return path
