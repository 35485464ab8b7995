"""Overrides and swept values as text, and the errors of Hydra, OmegaConf and the system as one line."""

import difflib
import json
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue

from makemore.errors import UserError, whole_number

# a swept value in tables and on axes
Value = float | str

# the extra of this package that installs a launcher or sweeper, by Hydra's name of it
EXTRAS = {
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/ray": "ray",
    "hydra/launcher/submitit_local": "submitit",
    "hydra/launcher/submitit_slurm": "submitit",
    "hydra/sweeper/optuna": "optuna",
}


def override(key: str, value: object) -> str:
    """Return KEY=VALUE to paste into a shell, quoted for Hydra and for the shell where necessary."""
    return shlex.quote(hydra_override(key, value))


def hydra_override(key: str, value: object) -> str:
    """Return KEY=VALUE, quoted for Hydra where necessary."""
    if re.fullmatch(r"[\w./+-]+", str(value), re.ASCII):
        return f"{key}={value}"
    # Hydra takes a backslash as it is, unless a quote follows
    quoted = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), str(value))
    return f"{key}='{quoted}'"


def set_threads(threads: Any) -> None:
    """Set the number of CPU threads of torch; results are identical for the same number."""
    import torch  # heavy, and not needed for --help

    torch.set_num_threads(whole_number("threads", threads, at_least=1, at_most=1024))


def describe(error: Exception) -> str:
    """Return an error as one line, with the nearest known key to a misspelt one."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return f"{error.filename or 'standard output'}: {error.strerror or error}"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given: {error.full_key}=..."
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override))
    return _describe_composition(error)


def _describe_composition(error: Exception) -> str:
    if isinstance(error, MissingConfigException) and (extra := EXTRAS.get(error.missing_cfg_file or "")):
        return f"{error.missing_cfg_file} is not installed; it comes with pip install -e '.[{extra}]'"
    unknown = error.__cause__
    if isinstance(unknown, ConfigAttributeError | ConfigKeyError) and unknown.parent_node is not None:
        parent = (unknown.full_key or "").rpartition(".")[0]
        known = [str(key) for key in unknown.parent_node if key != "hydra"]
        near = difflib.get_close_matches(str(unknown.key), known, n=1)
        keys = [f"{parent}.{key}" if parent else key for key in near or known]
        mend = f"did you mean {keys[0]}?" if near else f"there are {', '.join(keys)}"
        return f"there is no key {unknown.full_key}; {mend}"
    # Hydra appends all the places where it has searched
    return " ".join(str(error).partition("Config search path:")[0].split())


def _unreadable(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override} is not KEY=VALUE; did you forget a key, such as ckpt_path=?"
    if value.startswith("["):
        return f"Hydra cannot read {override}; quote the items, and all of it for the shell: \"{key}=['...','...']\""
    return f"Hydra cannot read {override}; quote the value, within quotes of the shell: \"{key}='{value}'\""


def short_names(keys: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Return the last part of each dotted key, or the whole key where that part is not unique or is in `taken`."""
    last = {key: key.rpartition(".")[2] for key in keys}
    count = Counter([*last.values(), *taken])
    return {key: name if count[name] == 1 else key for key, name in last.items()}


def spelt(value: Any) -> Value:
    """Return a swept value: finite numbers and text unchanged, anything else as text in Hydra's grammar."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if abs(value) <= sys.float_info.max else str(value)
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def shown(value: Any) -> str:
    """Return a swept value on one line, a fraction with up to six digits."""
    value = spelt(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if text and text.isprintable() else json.dumps(text)


@contextmanager
def resource_errors(when_out_of_memory: str = "lower data.batch_size or the sizes of the model") -> Iterator[None]:
    """Turn an error of the system within the block, or a lack of memory, into a `UserError`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(describe(error)) from error
    # NumPy raises MemoryError; torch's error has no type of its own on the CPU
    except (MemoryError, RuntimeError) as error:
        wants = ("can't allocate memory", "out of memory")
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in wants):
            raise
        raise UserError(f"there is not enough memory ({error}); {when_out_of_memory}") from error
