"""What nearly every test has done, and need not be done anew: YAML parsed, a config composed, the disk waited for."""

import io
import os
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.hydra import Hydra
from omegaconf import OmegaConf

_load, _get_mode = OmegaConf.load, Hydra.get_mode


@cache
def _parsed(text: str) -> bytes:
    return pickle.dumps(_load(io.StringIO(text)))


def load(file: Any) -> Any:
    """Return what `OmegaConf.load` does, a copy of what the same text was parsed to before."""
    try:
        text = Path(getattr(file, "name", file)).read_text(encoding="utf-8")
        return pickle.loads(_parsed(text))
    except Exception:  # whose message names the file
        return _load(file)


def get_mode(app: Hydra, config_name: str | None, overrides: list[str], **parsed: Any) -> Any:
    """Return `hydra.mode`, for which Hydra composes a config once more; of conf/, only files of sweep have one."""
    decides = any(override.startswith(("sweep=", "hydra.mode=")) for override in overrides)
    return _get_mode(app, config_name, overrides, **parsed) if decides else None


def install() -> None:
    """Take the shortcuts in this process."""
    OmegaConf.load = load  # type: ignore[method-assign]
    Hydra.get_mode = get_mode  # type: ignore[method-assign]
    if hydra.__version__.startswith("1.3."):
        # it has other insides than 1.4
        import hydra_shortcuts

        hydra_shortcuts.install()
    # what a killed process has written is there; only a machine that stops would lose it
    os.fsync = lambda _descriptor: None


def sample_less(names: int = 10) -> None:
    """Have the shares of names that TensorBoard shows come of so few, as they take a quarter of a short run."""
    # not before coverage is measured
    from makemore.runs.watching import dashboards

    dashboards._FOR_SHARES = names
