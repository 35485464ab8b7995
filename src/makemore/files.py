"""Files that are written whole or not at all."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from uuid import uuid4


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
