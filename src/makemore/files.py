"""Files: written whole or not at all, sealed with a digest, and directories that one process holds.

A sealed file ends with the sha256 of all before it: a torn, truncated or altered one does not match. `torch.load` and
other readers ignore the seal, which stands after the end of the archive. It guards against accidents, not against
somebody who writes a new seal.
"""

import hashlib
import math
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from filelock import FileLock, Timeout

from makemore.errors import UserError

# the end of the name of a TensorBoard event file that holds pictures alone
PICTURES_SUFFIX = ".pictures"
_MARK = b"\nmakemore sha256 "
_LENGTH = len(_MARK) + 64


@contextmanager
def replacing(path: Path) -> Iterator[BufferedRandom]:
    """Yield a file beside `path` that takes its place, flushed to disk, when the block ends well.

    A reader sees the old file or the new one, after a crash too; where the block raises, nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # a process number alone would meet that of another machine
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def clear_temporaries(directory: Path, older_than: float = 0.0) -> None:
    """Delete what writers that were killed have left in a directory `older_than` seconds ago or longer."""
    for temporary in directory.glob(".*.tmp"):
        # its writer may live after all, or another process may be doing the same
        with suppress(OSError):
            if time.time() - temporary.stat().st_mtime >= older_than:
                temporary.unlink()


def _flush_directory(directory: Path) -> None:
    """Make a renaming last; where directories cannot be opened (Windows), there is no such thing."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class BrokenSealError(ValueError):
    """A file is not what was written."""


def write_sealed(content: Any, path: Path) -> None:
    """Write builtins and tensors to `path`, whole or not at all, with a seal.

    Raises:
        OSError: it cannot be written.
    """
    import torch  # seconds, which other files need not wait for

    with replacing(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # torch finds its archive cut short after the file has refused a write
            raise error.__context__ or error from None
        file.flush()
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.write(_MARK + digest.encode())


def read_sealed(path: Path, mapped: bool = False) -> tuple[Any, bool]:
    """Return what is in a file, and whether it has a seal; nothing in it is executed.

    Args:
        path: a file that `write` wrote, or `torch.save`.
        mapped: leave its tensors on the disk.

    Raises:
        BrokenSealError: its seal is another than its content's, or is not whole.
        Exception: whatever a foreign file makes the unpickler raise.
    """
    import torch

    with path.open("rb") as file:
        has_seal = _check(file)
    return torch.load(path, map_location="cpu", mmap=mapped, weights_only=True), has_seal


def _check(file: BinaryIO) -> bool:
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
