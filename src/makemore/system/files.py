"""Where the project's own files are; atomic files, sealed files, and exclusive locks on directories.

A sealed file ends with the sha256 of the bytes before it, so that a torn, truncated or altered file is detected.
`torch.load` and other readers ignore the seal after the end of the archive. It guards against accidents, not attacks.
"""

import hashlib
import math
import mmap
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from filelock import FileLock, Timeout

from makemore.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]
# the wheel has copies of conf/ and data/names.txt in the package
IS_INSTALLED = (_PACKAGE / "conf").is_dir()
# has conf/ and data/names.txt: the package where it is installed, else the checkout
PROJECT_ROOT = _PACKAGE if IS_INSTALLED else _PACKAGE.parents[1]
CONF = PROJECT_ROOT / "conf"

# suffix of the TensorBoard event file that holds a run's pictures
PICTURES_SUFFIX = ".pictures"
_MARK = b"\nmakemore sha256 "
_LENGTH = len(_MARK) + 64


def own_conf() -> Path | None:
    """Return the conf/ of the working directory, which comes before the project's; None where there is no other."""
    conf = Path("conf")
    return conf.absolute() if conf.is_dir() and not conf.samefile(CONF) else None


@contextmanager
def replacing(path: Path) -> Iterator[BufferedRandom]:
    """Write a file atomically: yield a temporary file that replaces `path` when the block succeeds.

    Readers see the old file or the new one, even after a crash; if the block raises, nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # unique on a file system that several machines share
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        # makes the renaming durable; Windows cannot open a directory
        with suppress(OSError):
            descriptor = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_directory(path: Path) -> Iterator[Path]:
    """Write a directory whole or not at all: yield a temporary one that takes the place of `path` at the end.

    If the block raises, nothing is left behind, and what was at `path` stays.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (path.with_name(f".{path.name}.{uuid4().hex}.{kind}") for kind in ("tmp", "old"))
    try:
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        # two renamings: killed between them, it leaves the old one under its other name
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        for directory in (temporary, old):
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn an `OSError` raised within the block into the `UserError` that `path` cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


def clear_temporaries(directory: Path, older_than: float = 0.0) -> None:
    """Delete temporary files that killed writers left in a directory at least `older_than` seconds ago."""
    for temporary in directory.glob(".*.tmp"):
        # another process may delete it at the same time
        with suppress(OSError):
            if time.time() - temporary.stat().st_mtime >= older_than:
                temporary.unlink()


class BrokenSealError(ValueError):
    """The content of a file does not match its seal."""


def write_sealed(content: Any, path: Path) -> None:
    """Write builtins and tensors to `path`, atomically and with a seal."""
    import torch  # takes seconds to import

    with replacing(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # torch wraps the OSError of a failed write
            raise error.__context__ or error from None
        file.flush()
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.write(_MARK + digest.encode())


def read_sealed(path: Path, mapped: bool = False) -> tuple[Any, bool]:
    """Load a file without executing anything in it; return its content and whether it has a seal.

    With `mapped`, its tensors are memory-mapped. Raise `BrokenSealError` where the seal is truncated or does not match
    the content, and whatever the unpickler raises for a foreign file.
    """
    import torch

    with path.open("rb") as file:
        has_seal = _check_seal(file)
    return torch.load(path, map_location="cpu", mmap=mapped, weights_only=True), has_seal


def _check_seal(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END) - _LENGTH
    if size <= 0:
        return False
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.rfind(_MARK, max(0, size - _LENGTH))
        if place < 0:
            return False
        if place != size:
            raise BrokenSealError("its end is not what was written")
        with memoryview(content) as view, view[:size] as sealed:
            digest = hashlib.sha256(sealed).hexdigest()
        if digest.encode() != content[-64:]:
            raise BrokenSealError("it is not what was written: its sha256 is another")
    return True


class HeldError(UserError):
    """Another process has locked a directory."""


@contextmanager
def held(directory: Path, what: str, wait: float = 0.0) -> Iterator[None]:
    """Lock a directory within the block; the system releases the lock of a process that is killed.

    Wait for `wait` seconds, which may be infinite. Where another process holds the lock, a `HeldError` says `what` it
    does there.
    """
    try:
        lock = FileLock(directory / ".lock").acquire(timeout=-1 if wait == math.inf else wait)
    except Timeout as error:
        raise HeldError(f"{directory}: another process {what} there; wait for it, or stop it") from error
    with lock:
        yield


def is_held(directory: Path) -> bool:
    """Return whether another process has locked a directory."""
    try:
        with held(directory, ""):
            return False
    except HeldError:
        return True
