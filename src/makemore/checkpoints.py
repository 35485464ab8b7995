"""Checkpoint files: their format, their names in a run's directory, and the newest intact one.

A checkpoint is a Lightning checkpoint of builtins and tensors alone, with our record under `RECORD_KEY`, in a sealed
file (see `makemore.system.files`). It is always loaded with `weights_only=True`.
"""

import logging
import os
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from makemore.data.options import RECORD, CorpusOptions
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError, as_text
from makemore.system import files

log = logging.getLogger(__name__)

# 1: not sealed, for inference only; 2: sealed, can be resumed
FORMAT_VERSION = 2
RECORD_KEY = RECORD
# which weights a run hands on, the best by validation NLL or the last: in the state of the callback that saves
RESULT, BEST, LAST = "result", "best", "last"
# the tensors of an exported model, see `makemore.inference.exported`
EXPORTED_WEIGHTS = "model.safetensors"
_NAME = re.compile(r"(best-)?step-(\d+)\.ckpt")


class DamagedCheckpointError(UserError):
    """A checkpoint is torn or altered, or not a checkpoint; `state` gives the cause in one word."""

    def __init__(self, path: Path, cause: str, state: str = "damaged") -> None:
        self.what = f"{path}: is {state} ({cause})"
        exported = path.suffix in (".safetensors", ".json")
        super().__init__(f"{self.what}; {'export the run again' if exported else 'use another one of the run'}")


def record_of(
    architecture: str,
    arguments: Mapping[str, Any],
    vocabulary: Vocabulary,
    options: CorpusOptions,
    sha256: Mapping[str, str],
    step: int,
) -> dict[str, Any]:
    """Return our record in a checkpoint: the model, the text, and the optimiser steps taken, as builtins."""
    return {
        "format_version": FORMAT_VERSION,
        "model": {"architecture": architecture, "arguments": dict(arguments)},
        "vocabulary": asdict(vocabulary),
        "data": {"options": options.as_plain(), "sha256": dict(sha256)},
        "step": step,
    }


def directory_of(run_dir: str | Path) -> Path:
    """Return the directory of a run's checkpoints."""
    return Path(run_dir) / "checkpoints"


def run_dir_of(directory: Path) -> Path:
    """Return the directory of a run, given that or the one of its checkpoints."""
    return directory.parent if directory.name == "checkpoints" else directory


def path_of(run_dir: str | Path, step: int, best: bool = False) -> Path:
    """Return the path of a run's checkpoint of a step, or of its best checkpoint, taken at that step."""
    return directory_of(run_dir) / f"{'best-' if best else ''}step-{step:08d}.ckpt"


def step_of(path: Path) -> int:
    """Return the step in the name of a run's checkpoint."""
    name = _NAME.fullmatch(path.name)
    assert name is not None
    return int(name[2])


def checkpoints_of(run_dir: str | Path, best: bool = False) -> list[Path]:
    """Return a run's periodic checkpoints, or its best ones by validation NLL, in the order of their steps."""
    names = ((path, _NAME.fullmatch(path.name)) for path in directory_of(run_dir).glob("*.ckpt"))
    return sorted((path for path, name in names if name and bool(name[1]) == best), key=step_of)


def newest_first(run_dir: str | Path) -> list[Path]:
    """Return all checkpoints of a run, newest first; of the same step, the periodic one before the best."""
    return sorted(checkpoints_of(run_dir) + checkpoints_of(run_dir, best=True), key=step_of, reverse=True)


def read(path: Path) -> dict[str, Any]:
    """Load a checkpoint; one of a newer format or of another project is a `UserError`.

    A file that is torn, altered, unsealed or not a checkpoint is a `DamagedCheckpointError`.
    """
    not_ours = UserError(f"{path}: is not a checkpoint of this project; name one that makemore train wrote")
    try:
        content, has_seal = files.read_sealed(path)
    except files.BrokenSealError as error:
        raise DamagedCheckpointError(path, str(error)) from error
    except Exception as error:  # the unpickler may raise anything
        if isinstance(error, pickle.UnpicklingError) and _is_whole_archive(path):
            # it contains objects, such as Lightning's hyperparameters
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
    return dict(content)


def _is_whole_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # the reader may raise anything
        return False


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Report exceptions that unexpected contents of a checkpoint cause within the block as its damage."""
    try:
        yield
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        what = str(error).partition("\n")[0]
        raise DamagedCheckpointError(path, f"{type(error).__name__}: {what}") from error


def find_newest(run_dir: str | Path) -> Path | None:
    """Return the newest intact checkpoint of a run, or None; log each damaged one that is skipped."""
    # the best by validation NLL too: it may be the newest of a run that was killed
    for path in newest_first(run_dir):
        try:
            read(path)
            return path
        except DamagedCheckpointError as error:
            log.warning("%s; the one before is used", error.what)
    return None


def find(path: str | Path, which: str | None = None) -> Path:
    """Return the checkpoint at `path`, or that of the run there, or the weights of the export there.

    Of a run, "last" is the newest intact checkpoint, "best" the best by validation NLL, and None the one of these that
    the run hands on, by its config.

    Raises:
        UserError: there is none of these.
    """
    path = Path(os.path.expanduser(path if isinstance(path, Path) else as_text("ckpt_path", path)))
    if path.is_dir():
        run_dir = run_dir_of(path)
        if not newest_first(run_dir):
            if (path / EXPORTED_WEIGHTS).is_file():
                return path / EXPORTED_WEIGHTS
            raise UserError(f"{path}: has no checkpoints/step-*.ckpt; name a run's directory or a checkpoint")
        if (newest := find_newest(run_dir)) is None:
            raise UserError(f"{path}: none of its checkpoints is whole; train again")
        return newest if which == LAST else _best_or_newest(run_dir, newest, which)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint (from {Path.cwd()}); training prints the path of its own")
    return path


def _best_or_newest(run_dir: Path, newest: Path, which: str | None) -> Path:
    """Return the best checkpoint of a run where that is asked for, or handed on and intact; else the newest."""
    best = checkpoints_of(run_dir, best=True)[-1:]
    if which == BEST:
        if not best:
            mend = "take which=last, or train with a validation split (data.splits) and a lower val_every"
            raise UserError(f"{run_dir}: has no checkpoint that is the best by validation; {mend}")
        return best[0]
    # of the same step, the two have the same weights
    if not best or step_of(best[0]) == step_of(newest) or _handed_on(read(newest)) == LAST:
        return newest
    try:
        read(best[0])
        return best[0]
    except DamagedCheckpointError as error:
        log.warning("%s; the last is used", error.what)
        return newest


def _handed_on(checkpoint: Mapping[str, Any]) -> str:
    """Return which weights the run of a checkpoint hands on; earlier versions handed on the last."""
    states = checkpoint.get("callbacks")
    saving = states.get("Checkpoints") if isinstance(states, dict) else None
    return BEST if isinstance(saving, dict) and saving.get(RESULT) == BEST else LAST
