"""Overrides and swept values as text, and the errors of Hydra, OmegaConf and the system as one line."""

import difflib
import json
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import Container, DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, ValidationError

from makemore.errors import UserError, first_line, whole_number
from makemore.system.files import CONF, IS_INSTALLED, own_conf

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


# what keys of ours are called elsewhere
_ELSEWHERE = {
    "batch": "batch_size",
    "epochs": "max_steps",
    "learning_rate": "lr",
    "max_epochs": "max_steps",
    "max_iters": "max_steps",
    "num_epochs": "max_steps",
    "steps": "max_steps",
}


def as_typed(name: str) -> str:
    """Return how a command is typed: `makemore NAME`; from a checkout, unless this is `makemore`, by its script."""
    is_script = not IS_INSTALLED and not sys.argv[0].startswith("makemore ")
    return f"python scripts/{name}.py" if is_script else f"makemore {name}"


def install(extra: str) -> str:
    """Return the command that installs an extra of this package."""
    return f"pip install 'makemore-lightning[{extra}]'" if IS_INSTALLED else f"pip install -e '.[{extra}]'"


def command(name: str, *arguments: str) -> str:
    """Return a command of this project to paste into a shell, typed as this one was; arguments are quoted for it."""
    return " ".join([as_typed(name), *map(shell_quoted, arguments)])


def watch_command(logs: Path) -> str:
    """Return the command to paste into a shell that shows some runs in TensorBoard."""
    return f"tensorboard --logdir {shell_quoted(path_argument(logs))} --host 127.0.0.1"


def path_argument(path: Path) -> str:
    """Return a path as an argument that is neither taken for an option nor for somebody's home."""
    return f"./{path}" if str(path).startswith(("-", "~")) else str(path)


def shell_quoted(argument: str) -> str:
    """Return an argument quoted for the shell where necessary, on one line."""
    if re.search("[\x01-\x1f\x7f]", argument):
        # bash, zsh and ksh know it; a tab as it is would complete the line
        escapes = re.sub(r"[\x01-\x1f\x7f\\']", lambda found: f"\\x{ord(found[0]):02x}", argument)
        return f"$'{escapes}'"
    # within these quotes Hydra's own can be read
    return f'"{argument}"' if "'" in argument and not set(argument) & set('"$`\\!') else shlex.quote(argument)


def override(key: str, value: object) -> str:
    """Return KEY=VALUE to paste into a shell, quoted for Hydra and for the shell where necessary."""
    return shell_quoted(hydra_override(key, value))


def hydra_override(key: str, value: object) -> str:
    """Return KEY=VALUE, quoted for Hydra where necessary; a path is one as `path_argument` gives it."""
    text = path_argument(value) if isinstance(value, Path) else str(value)
    if re.fullmatch(r"[\w./+-]+", text, re.ASCII):
        return f"{key}={text}"
    # Hydra and OmegaConf take a backslash as it is, unless a quote or an interpolation follows
    marks = {"'": "\\'", "${": "\\${", "": ""}
    quoted = re.sub(r"(\\*)('|\$\{|\Z)", lambda found: found[1] * 2 + marks[found[2]], text)
    return f"{key}='{quoted}'"


def differing(overrides: Sequence[str], fixed: Iterable[str]) -> dict[str, Any]:
    """Return the keys of a job's overrides, in their order, but those that all jobs share, with their values."""
    fixed, parsed = set(fixed), map(_parsed, overrides)
    return {override.key_or_group: override.value() for override in parsed if override.key_or_group not in fixed}


# a job of a sweep is asked for its values again and again, and a parse takes a millisecond
@lru_cache(maxsize=2**14)
def _parsed(line: str) -> Override:
    (parsed,) = OverridesParser.create().parse_overrides([line])
    return parsed


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
        return f"{error.missing_cfg_file} is not installed; it comes with {install(extra)}"
    unknown = error.__cause__
    if isinstance(unknown, ConfigAttributeError | ConfigKeyError) and unknown.parent_node is not None:
        return _unknown_key(unknown)
    # Hydra appends all the places where it has searched
    message = " ".join(str(error).partition("Config search path:")[0].split())
    if isinstance(error, MissingConfigException):
        group, slash, name = (error.missing_cfg_file or "").partition("/")
        if slash and group != "hydra":
            return message.partition(" Available options")[0] + _available(group, name)
    if isinstance(unknown, ValidationError):
        # of a typed key, such as those of launchers
        return f"{message}: {first_line(unknown)}"
    return message


def _unknown_key(error: ConfigAttributeError | ConfigKeyError) -> str:
    parent = (error.full_key or "").rpartition(".")[0]
    assert error.parent_node is not None
    keys = hint(error.parent_node._get_root(), str(error.key))
    siblings = [str(key) for key in error.parent_node if key != "hydra"]
    near = difflib.get_close_matches(str(error.key), siblings, n=1)
    known = [f"{parent}.{key}" if parent else key for key in near or siblings]
    mend = f"did you mean {' or '.join(keys or known)}?" if keys or near else f"there are {', '.join(known)}"
    return f"there is no key {error.full_key}; {mend}"


def hint(config: Container, name: str) -> list[str]:
    """Return the dotted keys of a config of which `name` is the whole or the last part, here or elsewhere."""
    last = {key: key.rpartition(".")[2] for key in _keys(config)}
    for meant in (name, _ELSEWHERE.get(name)):
        if found := [key for key in last if meant in (key, last[key])]:
            return found
    return []


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of the values in a config, but for Hydra's own."""
    for key, value in config.items_ex(resolve=False):
        name = f"{prefix}{key}"
        if isinstance(value, DictConfig) and not value._is_interpolation() and name != "hydra":
            yield from _keys(value, f"{name}.")
        elif name != "hydra":
            yield name


def _available(group: str, name: str) -> str:
    """Return what there is in a group of configs, and what may be meant by a name that is not."""
    if group == "data" and Path(name).expanduser().is_file():
        return f"; a text of your own is data=text {override('data.path', name)}"
    directories = [conf / group for conf in (own_conf(), CONF) if conf is not None]
    files = {
        path.relative_to(each).with_suffix("").as_posix() for each in directories for path in each.rglob("*.yaml")
    }
    meant = [file for file in sorted(files) if file.rpartition("/")[2] == name]
    meant = meant or difflib.get_close_matches(name, files, n=1)
    mend = f"; did you mean {' or '.join(f'{group}={each}' for each in meant)}? There" if meant else "; there"
    return f"{mend} are {', '.join(sorted(files))}" if files else ""


def _unreadable(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override} is not KEY=VALUE; did you forget a key, such as ckpt_path=?"
    if value.startswith("["):
        return f"Hydra cannot read {override}; quote the items, and all of it for the shell: \"{key}=['...','...']\""
    quoted = shell_quoted(hydra_override(key, value))
    return f"Hydra cannot read {override}; quote the value, within quotes of the shell: {quoted}"


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
