"""The name of a job's directory, made of the values in which it differs from the others of its sweep."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from makemore.overrides import differing, short_names, shown
from makemore.system.hydra_release import register_resolver


def job_name(overrides: Sequence[str], fixed: Iterable[str], sweep_dir: str | Path) -> str:
    """Return the name of a job's directory: its differing values, and a hash of all its overrides.

    At most 80 characters, whatever the order of the overrides. A job that has begun keeps its name when the sweep is
    resumed with other differing keys.
    """
    return _job_name(tuple(overrides), tuple(fixed), Path(sweep_dir).absolute())


# kept, as it looks through the sweep's directory for one that has begun
@lru_cache(maxsize=2**17)
def _job_name(overrides: tuple[str, ...], fixed: tuple[str, ...], sweep_dir: Path) -> str:
    digest = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8]
    if begun := sorted(sweep_dir.glob(f"*-{digest}")):
        return begun[0].name
    differs = differing(overrides, fixed)
    names = short_names(differs)
    text = "-".join(f"{names[key]}_{shown(differs[key])}" for key in sorted(differs))
    # only characters that neither a shell nor Hydra's grammar needs quotes for
    readable = re.sub(r"[^\w.+-]+", "_", text or "job", flags=re.ASCII)[: 79 - len(digest)]
    return f"{readable}-{digest}"


def run_name(name: Any, time: str) -> str:
    """Return the name of a run's or a sweep's directory: the one that is given, or the time of its start."""
    return time if name is None else str(name)


def register() -> None:
    """Register the resolvers `job_name` and `run_name` that conf/hydra/train.yaml uses, in this process."""
    register_resolver("job_name", job_name)
    register_resolver("run_name", run_name)
