"""On-disk cache of encoded texts, so that a large text is cleaned, encoded and split once.

An entry is a sealed file of plain values and tensors in the user's cache directory, named by a digest of everything it
depends on. It is written atomically, memory-mapped when loaded, and rebuilt if damaged.
"""

import hashlib
import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from makemore.system.files import clear_temporaries, read_sealed, write_sealed

log = logging.getLogger(__name__)
# entries in the cache
_KEPT = 8


def directory(of: str) -> Path:
    """Return this program's cache directory of one kind; it may be deleted at any time."""
    return platformdirs.user_cache_path("makemore") / of


def path_of(facts: dict[str, Any]) -> Path:
    """Return the path of the entry that depends on `facts`, plain values."""
    return directory("texts") / f"{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()}.pt"


def recall(path: Path) -> dict[str, Any] | None:
    """Load an entry, its tensors memory-mapped; return None if it is missing or damaged."""
    try:
        entry, has_seal = read_sealed(path, mapped=True)
    except Exception:  # missing, or the unpickler may raise anything
        return None
    with suppress(OSError):
        # marks it as used
        os.utime(path)
    return entry if has_seal and isinstance(entry, dict) else None


def keep(path: Path, entry: dict[str, Any]) -> None:
    """Write an entry of plain values and tensors, and evict the least recently used beyond eight."""
    try:
        write_sealed(entry, path)
    except OSError as error:
        log.warning("%s: cannot be written (%s); the text will be read anew each time", path.parent, error.strerror)
    # other runs may be writing now
    clear_temporaries(path.parent, older_than=3600)
    # another run may evict them at the same time
    with suppress(OSError):
        for old in sorted(path.parent.glob("*.pt"), key=os.path.getmtime)[:-_KEPT]:
            old.unlink(missing_ok=True)
