"""What nearly every test has done, and need not be done anew: YAML parsed, a config composed, the disk waited for."""

import copy
import io
import os
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from omegaconf import OmegaConf

_load, _get_mode = OmegaConf.load, Hydra.get_mode


@cache
def _parsed(text: str) -> Any:
    return _load(io.StringIO(text))


def load(file: Any) -> Any:
    """Return what `OmegaConf.load` does, a copy of what the same text was parsed to before."""
    try:
        text = Path(getattr(file, "name", file)).read_text(encoding="utf-8")
        return copy.deepcopy(_parsed(text))
    except Exception:  # whose message names the file
        return _load(file)


def get_mode(hydra: Hydra, config_name: str | None, overrides: list[str], **parsed: Any) -> Any:
    """Return `hydra.mode`, for which Hydra composes a config once more; of conf/, only files of sweep have one."""
    decides = any(override.startswith(("sweep=", "hydra.mode=")) for override in overrides)
    return _get_mode(hydra, config_name, overrides, **parsed) if decides else None


def install() -> None:
    """Take the shortcuts in this process."""
    OmegaConf.load = load  # type: ignore[method-assign]
    Hydra.get_mode = get_mode  # type: ignore[method-assign]
    # what a killed process has written is there; only a machine that stops would lose it
    os.fsync = lambda _descriptor: None
