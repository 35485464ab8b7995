"""Read the config that a run has saved in its directory, without trusting it.

A user may type any target; a file may have come with a directory from somewhere else. So a saved config may only name
classes of this package, torch.optim and lightning, of the kinds that configs have; and it may only refer to its own
values.
"""

import re
from collections.abc import Iterator
from inspect import isclass, isfunction
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from makemore.errors import UserError

_PACKAGES = ("lightning.", "makemore.", "torch.optim.")
# modules of the user's own
_TRUSTED: set[str] = set()
# present modules of the targets in configs saved before the modules moved
_MOVED = {
    "makemore.callbacks": "makemore.runs.callbacks",
    "makemore.language_model": "makemore.training.module",
    "makemore.loggers": "makemore.training.loggers",
    "makemore.schedules": "makemore.training.schedules",
    "makemore.watching.numbers": "makemore.runs.watching.health",
    "makemore.watching.pages": "makemore.runs.watching.dashboards",
}
# ${a.b} alone: no resolver, which could read the environment, and no text that interpolation could turn into one; but
# for the directory of the run, as loggers name it
_REFERENCE = re.compile(r"\$\{([\w.]+|hydra:runtime\.output_dir)\}")


def saved_config_of(run_dir: Path) -> Path:
    """Return the path of a run's config."""
    return run_dir / ".hydra" / "config.yaml"


def read_saved_config(run_dir: Path) -> DictConfig:
    """Return the config of a run as composed; raise `UserError` where it is missing, damaged or `untrusted`."""
    config = load_saved_config(run_dir)
    if (reason := untrusted(config)) is not None:
        raise UserError(f"{saved_config_of(run_dir)}: {reason}")
    return config


def load_saved_config(run_dir: Path) -> DictConfig:
    """Return the config of a run, its targets unchecked; raise `UserError` where it is missing or damaged."""
    path = saved_config_of(run_dir)
    try:
        text = path.read_text(encoding="utf-8")
        config = OmegaConf.create(text)
        for key, value in _entries(OmegaConf.to_container(config, resolve=False)):
            module, _, name = str(value).rpartition(".")
            if key.rpartition(".")[2] == "_target_" and module in _MOVED:
                OmegaConf.update(config, key, f"{_MOVED[module]}.{name}")
    except FileNotFoundError as error:
        mend = "resume=DIR takes the directory of a run of makemore train"
        raise UserError(f"{path}: no such file; {mend}") from error
    except Exception as error:  # whatever a damaged file makes the parser raise
        raise UserError(f"{path}: cannot be read as a config; start the run anew") from error
    # Hydra's own part could name code to run; a file that is whole ends with a newline
    if not isinstance(config, DictConfig) or "trainer" not in config or "hydra" in config or not text.endswith("\n"):
        raise UserError(f"{path}: is not the config of a run; start the run anew")
    return config


def untrusted(config: DictConfig) -> str | None:
    """Return why a config cannot be resumed, and the mend; None where it can."""
    for key, value in _entries(OmegaConf.to_container(config, resolve=False)):
        if isinstance(value, str) and "${" in value and not _REFERENCE.fullmatch(value):
            return f"{key}={value} asks for something outside the file; write the value itself there"
        if "_target_" in key.split(".") and not _is_ours(value):
            return f"{key}={value} is nothing that a saved config may name; take it out of the file"
    return None


def is_shipped(module: str) -> bool:
    """Return whether a module is of the packages that any saved config may name."""
    return f"{module}.".startswith(_PACKAGES)


def trust(module: str) -> None:
    """Let saved configs name the classes in a module, which the user has named in a config of their own."""
    _TRUSTED.add(module)


def refers_to(config: DictConfig, name: str) -> list[str]:
    """Return the keys whose value is that of another key."""
    entries = _entries(OmegaConf.to_container(config, resolve=False))
    return [key for key, value in entries if value == f"${{{name}}}"]


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values of nested dicts under dotted keys."""
    values: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        values |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return values


def _entries(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each dotted key with its value in nested dicts and lists, and the names in dicts too."""
    yield key, value
    if isinstance(value, dict):
        for name, item in value.items():
            yield f"{key}[name]", name
            yield from _entries(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _entries(item, f"{key}.{index}")


def _is_ours(target: Any) -> bool:
    """Say whether a target is a class of a kind that configs have, or a schedule: by the object, not by its name."""
    if not isinstance(target, str) or not (target.startswith(_PACKAGES) or target.rpartition(".")[0] in _TRUSTED):
        return False
    # seconds, which a report on a config does not need
    import lightning as L
    import torch
    from lightning.pytorch.loggers.logger import Logger

    from makemore.data.datamodule import TextDataModule
    from makemore.runs.watching.watcher import Watcher
    from makemore.training import schedules
    from makemore.training.language_model import LanguageModel

    kinds = (L.Callback, L.Trainer, LanguageModel, Logger, TextDataModule, Watcher, torch.optim.Optimizer)
    try:
        found = get_object(target)
    except Exception:  # whatever a wrong name makes of an import
        return False
    if isfunction(found):
        return found.__module__ == schedules.__name__ and not found.__name__.startswith("_")
    known = isclass(found) and (is_shipped(found.__module__) or found.__module__ in _TRUSTED)
    return known and issubclass(found, kinds)
