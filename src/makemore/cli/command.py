"""How a command starts and how its errors end: one line on standard error, exit code 2, no run directory."""

import difflib
import io
import logging
import os
import re
import shlex
import sys
import threading
import traceback
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from makemore import signals
from makemore.errors import UserError, whole_number
from makemore.sweeps import naming
from makemore.sweeps.launchers import EXTRAS

# what lasts until the command's main function has returned or raised
until_the_end = ExitStack()
# in the processes of launchers too, which import this with before_run.py
naming.register()


def fail(error: Exception | str) -> NoReturn:
    """Print one line on standard error and exit with code 2."""
    print("error:", " ".join(str(error).split("\n")), file=sys.stderr)
    raise SystemExit(2)


@contextmanager
def one_line() -> Iterator[None]:
    """End the command where the block raises, in one line where that is a user's to mend."""
    try:
        yield
    except BrokenPipeError:
        _leave_pipe()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        fail(describe(error))
    except Exception as error:
        traceback.print_exc()
        raise SystemExit(1) from error


def _leave_pipe() -> NoReturn:
    """Exit without a word: whoever read our output, `head` perhaps, has had enough."""
    # what is still buffered has nowhere to go, and flushing it at exit would fail again
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(1)


def run(main: Callable[[], Any]) -> None:
    """Run a `hydra.main` function; what is wrong with its config is one line and exit code 2.

    Hydra would print a config error over several lines and exit with 1; asked for full errors, it raises them here.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # a full disk is said once, not at every line of train.log
    logging.raiseExceptions = False
    threading.excepthook = _report_thread
    if isinstance(sys.stdout, io.TextIOWrapper):
        # what a terminal cannot show is escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    for argument in sys.argv[1:]:
        if any(unicodedata.category(character) == "Cs" for character in argument):
            fail(f"{argument!r} is not UTF-8, which the files of a run are; give the file another name")
    with signals.handling():
        try:
            with until_the_end:
                main()
            sys.stdout.flush()
            # should some library have swallowed what a signal raised
            signals.answer()
        except BrokenPipeError:
            _leave_pipe()
        except (UserError, HydraException, OmegaConfBaseException, OSError) as error:
            fail(describe(error))
        except (TypeError, ValueError) as error:
            if not _raised_by_hydra(error):
                raise
            what = f"Hydra cannot read the overrides ({error})"
            fail(f"{what}; a group takes the name of one of its files, as in model=mlp")
        except signals.Stopped as stopped:
            raise SystemExit(stopped.exit_code) from None


def _report_thread(arguments: threading.ExceptHookArgs) -> None:
    """Leave out what a writer's thread cannot write: TensorBoard's raises it again where events are logged."""
    if not isinstance(arguments.exc_value, OSError):
        threading.__excepthook__(arguments)


def _raised_by_hydra(error: Exception) -> bool:
    """Return whether Hydra itself raised a builtin error, as it does for data=1 or model=null."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals["__name__"]).startswith("hydra.")


def task(function: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Wrap what a command does: a `UserError` ends a single run in one line; a sweep is left to go on."""

    @wraps(function)
    def wrapped(cfg: DictConfig) -> Any:
        try:
            with with_what_it_needs():
                return function(cfg)
        except BrokenPipeError:
            _leave_pipe()
        except (UserError, OmegaConfBaseException) as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            fail(describe(error))

    return wrapped


@contextmanager
def with_what_it_needs(
    when_out_of_memory: str = "lower data.batch_size or the sizes of the model",
) -> Iterator[None]:
    """Turn what is raised in the block for a file or memory that cannot be had into a `UserError`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(describe(error)) from error
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise UserError(f"there is not enough memory ({error}); {when_out_of_memory}") from error


def _is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Return whether an error is NumPy's or torch's for want of memory; torch's on the CPU has no type of its own."""
    wants = ("can't allocate memory", "out of memory")
    return isinstance(error, MemoryError) or any(words in str(error) for words in wants)


def override(key: str, value: object) -> str:
    """Return KEY=VALUE as one pastes it: in quotes for Hydra and for the shell where it needs them."""
    return shlex.quote(hydra_override(key, value))


def hydra_override(key: str, value: object) -> str:
    """Return KEY=VALUE as Hydra reads it: text in quotes where it needs them."""
    if re.fullmatch(r"[\w./+-]+", str(value), re.ASCII):
        return f"{key}={value}"
    # a backslash is one to Hydra, unless a quote follows
    quoted = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), str(value))
    return f"{key}='{quoted}'"


def set_threads(threads: Any) -> None:
    """Set how many CPU threads torch may use; results are identical for the same number."""
    import torch  # heavy, and not needed for --help

    torch.set_num_threads(whole_number("threads", threads, at_least=1, at_most=1024))


def describe(error: Exception) -> str:
    """Return the gist of an error of Hydra's or OmegaConf's, and the nearest known key to a misspelt one."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return f"{error.filename or 'standard output'}: {error.strerror or error}"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given: {error.full_key}=..."
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override))
    return _gist_of_composing(error)


def _gist_of_composing(error: Exception) -> str:
    if isinstance(error, MissingConfigException) and (extra := EXTRAS.get(error.missing_cfg_file or "")):
        return f"{error.missing_cfg_file} is not installed; it comes with pip install -e '.[{extra}]'"
    unknown = error.__cause__
    if isinstance(unknown, ConfigAttributeError | ConfigKeyError) and unknown.parent_node is not None:
        return _unknown_key(unknown)
    # the rest of what Hydra says is where it looked
    return " ".join(str(error).partition("Config search path:")[0].split())


def _unreadable(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override} is not KEY=VALUE; did you forget a key, such as ckpt_path=?"
    if value.startswith("["):
        return f"Hydra cannot read {override}; quote the items, and all of it for the shell: \"{key}=['...','...']\""
    return f"Hydra cannot read {override}; quote the value, within quotes of the shell: \"{key}='{value}'\""


def _unknown_key(error: ConfigAttributeError | ConfigKeyError) -> str:
    parent = (error.full_key or "").rpartition(".")[0]
    known = [str(key) for key in error.parent_node if key != "hydra"]
    near = difflib.get_close_matches(str(error.key), known, n=1)
    keys = [f"{parent}.{key}" if parent else key for key in near or known]
    mend = f"did you mean {keys[0]}?" if near else f"there are {', '.join(keys)}"
    return f"there is no key {error.full_key}; {mend}"
