"""What tells the jobs of a sweep apart, and the names of their directories."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

_LENGTH = 80


def differing(overrides: Sequence[str], fixed: Iterable[str]) -> dict[str, Any]:
    """Return the keys of a job's overrides, in their order, that are not the same in all jobs, with their values."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    fixed = set(fixed)
    return {override.key_or_group: override.value() for override in parsed if override.key_or_group not in fixed}


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return the last part of each dotted key, or the whole key where two have the same last part."""
    keys = list(keys)
    last = {key: key.rpartition(".")[2] for key in keys}
    count = Counter(last.values())
    return {key: name if count[name] == 1 else key for key, name in last.items()}


def as_read(value: Any) -> str:
    """Return a value as a person reads it: of the digits of a search's draws, four."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def job_name(overrides: Sequence[str], fixed: Iterable[str]) -> str:
    """Return the name of a job's directory: what differs, as far as paths allow, and a hash of all overrides.

    At most 80 characters; the same overrides in another order give the same name.
    """
    differs = differing(overrides, fixed)
    names = short_names(differs)
    text = "-".join(f"{names[key]}_{as_read(differs[key])}" for key in sorted(differs))
    digest = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8]
    # what neither a shell nor Hydra's grammar needs quotes for
    readable = re.sub(r"[^\w.+-]+", "_", text or "job", flags=re.ASCII)[: _LENGTH - len(digest) - 1]
    return f"{readable}-{digest}"


def register() -> None:
    """Let conf/hydra/train.yaml name the directories of jobs, in this process."""
    OmegaConf.register_new_resolver("job_name", job_name, replace=True)
