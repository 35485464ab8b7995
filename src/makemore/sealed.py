"""Files of plain values and tensors that end with the sha256 of all before it.

A torn, truncated or altered file does not match its seal. `torch.load` and other readers do not mind the seal: it
stands after the end of the archive. It guards against accidents, not against somebody who writes a new seal.
"""

import hashlib
import mmap
import os
from pathlib import Path
from typing import Any, BinaryIO

import torch

from makemore.atomic import replacing

_MARK = b"\nmakemore sha256 "
_LENGTH = len(_MARK) + 64


class BrokenSealError(ValueError):
    """A file is not what was written."""


def write(content: Any, path: Path) -> None:
    """Write builtins and tensors to `path`, whole or not at all, with a seal.

    Raises:
        OSError: it cannot be written.
    """
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


def read(path: Path, mapped: bool = False) -> tuple[Any, bool]:
    """Return what is in a file, and whether it has a seal; nothing in it is executed.

    Args:
        path: a file that `write` wrote, or `torch.save`.
        mapped: leave its tensors on the disk.

    Raises:
        BrokenSealError: its seal is another than its content's, or is not whole.
        Exception: whatever a foreign file makes the unpickler raise.
    """
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
