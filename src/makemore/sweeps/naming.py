"""The values in which a job differs from the others of its sweep, and the name of its directory made of them."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from makemore.overrides import short_names, shown


def differing(overrides: Sequence[str], fixed: Iterable[str]) -> dict[str, Any]:
    """Return the keys of a job's overrides, in their order, but those that all jobs share, with their values."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    fixed = set(fixed)
    return {override.key_or_group: override.value() for override in parsed if override.key_or_group not in fixed}


def job_name(overrides: Sequence[str], fixed: Iterable[str], sweep_dir: str | Path) -> str:
    """Return the name of a job's directory: its differing values, and a hash of all its overrides.

    At most 80 characters, whatever the order of the overrides. A job that has begun keeps its name when the sweep is
    resumed with other differing keys.
    """
    digest = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8]
    if begun := sorted(Path(sweep_dir).glob(f"*-{digest}")):
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
    OmegaConf.register_new_resolver("job_name", job_name, replace=True)
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)
