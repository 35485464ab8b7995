"""What tells the jobs of a sweep apart, and the names of their directories."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from makemore.overrides import short_names, shown

_LENGTH = 80


def differing(overrides: Sequence[str], fixed: Iterable[str]) -> dict[str, Any]:
    """Return the keys of a job's overrides, in their order, that are not the same in all jobs, with their values."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    fixed = set(fixed)
    return {override.key_or_group: override.value() for override in parsed if override.key_or_group not in fixed}


def job_name(overrides: Sequence[str], fixed: Iterable[str], sweep_dir: str | Path) -> str:
    """Return the name of a job's directory: what differs, as far as paths allow, and a hash of all overrides.

    At most 80 characters; the same overrides in another order give the same name. A job that has begun keeps the name
    that it has, whatever else differs in the sweep by now.
    """
    digest = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8]
    if begun := sorted(Path(sweep_dir).glob(f"*-{digest}")):
        return begun[0].name
    differs = differing(overrides, fixed)
    names = short_names(differs)
    text = "-".join(f"{names[key]}_{shown(differs[key])}" for key in sorted(differs))
    # what neither a shell nor Hydra's grammar needs quotes for
    readable = re.sub(r"[^\w.+-]+", "_", text or "job", flags=re.ASCII)[: _LENGTH - len(digest) - 1]
    return f"{readable}-{digest}"


def register() -> None:
    """Let conf/hydra/train.yaml name the directories of jobs, in this process."""
    OmegaConf.register_new_resolver("job_name", job_name, replace=True)
