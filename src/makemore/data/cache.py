"""Encoded texts kept on disk, so that a large one is cleaned, encoded and split once.

An entry is one file of plain values and tensors under the user's cache directory, named by a digest of all that it
depends on. It is written whole or not at all, so two runs may start at once; sealed, so that a damaged one is made
anew; and memory-mapped when read again.
"""

import hashlib
import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from makemore import files
from makemore.files import clear_temporaries

log = logging.getLogger(__name__)
_KEPT = 8


def directory(of: str) -> Path:
    """Return where this program caches things of one kind; it may be deleted at any time."""
    return platformdirs.user_cache_path("makemore") / of


def key_of(facts: dict[str, Any]) -> str:
    """Return the name of the entry that depends on `facts`, plain values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def recall(key: str) -> dict[str, Any] | None:
    """Return an entry, its tensors mapped from the disk; None where there is none that can be read."""
    path = _path(key)
    try:
        entry, has_seal = files.read_sealed(path, mapped=True)
    except Exception:  # absent, or whatever a damaged file makes the unpickler raise: it is made anew
        return None
    with suppress(OSError):
        # the least recently used go first
        os.utime(path)
    return entry if has_seal and isinstance(entry, dict) else None


def keep(key: str, entry: dict[str, Any]) -> None:
    """Write an entry of plain values and tensors, and drop the least recently used beyond eight."""
    path = _path(key)
    try:
        files.write_sealed(entry, path)
    except OSError as error:
        log.warning("%s: cannot be written (%s); the text will be read anew each time", path.parent, error.strerror)
    # of an hour ago, as another run may be writing now
    clear_temporaries(path.parent, older_than=3600)
    # another run may be doing the same
    with suppress(OSError):
        for old in sorted(path.parent.glob("*.pt"), key=os.path.getmtime)[:-_KEPT]:
            old.unlink(missing_ok=True)


def _path(key: str) -> Path:
    return directory("texts") / f"{key}.pt"
