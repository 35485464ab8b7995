"""What tells the jobs of a sweep apart, and the names of their directories."""

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

Value = float | str

_LENGTH = 80


def differing(overrides: Sequence[str], fixed: Iterable[str]) -> dict[str, Any]:
    """Return the keys of a job's overrides, in their order, that are not the same in all jobs, with their values."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    fixed = set(fixed)
    return {override.key_or_group: override.value() for override in parsed if override.key_or_group not in fixed}


def short_names(keys: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Return the last part of each dotted key, or the whole key where that is another's last part too, or `taken`."""
    last = {key: key.rpartition(".")[2] for key in keys}
    count = Counter([*last.values(), *taken])
    return {key: name if count[name] == 1 else key for key, name in last.items()}


def spelt(value: Any) -> Value:
    """Return a swept value: a finite number or a text as it is, anything else as the text that Hydra reads it from."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if abs(value) <= sys.float_info.max else str(value)
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def shown(value: Any) -> str:
    """Return a swept value on one line, numbers with up to six digits."""
    value = spelt(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if text and text.isprintable() else json.dumps(text)


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
