"""How a command starts and ends: an error that a user can fix is one line on standard error and exit code 2."""

import gc
import io
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import wraps
from typing import Any, TextIO

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from makemore.errors import UserError
from makemore.overrides import describe, hint, override, resource_errors
from makemore.sweeps import choices, naming
from makemore.system import signals
from makemore.system.files import CONF
from makemore.system.hydra_release import MAIN_ARGUMENTS, args_parser, composing

# closed when the command's main function has returned or raised
exit_stack = ExitStack()
# the worker processes of launchers import this module too, with cli/before_run.py
naming.register()
choices.register()


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Exit where the block raises: with 2 after one line where a user can fix it, else with 1 after a traceback."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever read the output, perhaps `head`, has closed it
        raise SystemExit(1) from None
    except signals.Stopped as stopped:
        # as of a process that the signal ends: 130 for SIGINT, 143 for SIGTERM
        raise SystemExit(128 + stopped.signum) from None
    except Exception as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        raised_by_hydra = str(frame.f_globals.get("__name__")).startswith("hydra.")
        if isinstance(error, UserError | HydraException | OmegaConfBaseException | OSError):
            message = describe(error)
        elif raised_by_hydra and isinstance(error, TypeError | ValueError):
            # as it does for data=1 or model=null
            mend = "a group takes the name of one of its files, as in model=mlp"
            message = f"Hydra cannot read the overrides ({error}); {mend}"
        else:
            traceback.print_exc()
            raise SystemExit(1) from error
        print("error:", message.replace("\n", " "), file=sys.stderr)
        raise SystemExit(2) from error
    finally:
        for stream in (sys.stdout, sys.stderr):
            _discard_unwritable(stream)


def _discard_unwritable(stream: TextIO) -> None:
    """Discard what a stream holds and cannot write, where the interpreter would fail at exit."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def collect_rarely() -> None:
    """Let the garbage collector wait longer, as nearly all that a command makes are imported modules, which stay."""
    gc.set_threshold(100_000)


def split_keys(arguments: Sequence[str], names: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Return the values of the arguments KEY=VALUE whose key is among `names`, and the other arguments."""
    given = [each for each in arguments if "=" in each and each.partition("=")[0] in names]
    return dict(each.split("=", 1) for each in given), [each for each in arguments if each not in given]


def hydra_command(name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Make of a function of a config the command that composes it from conf/NAME.yaml and the arguments."""

    def decorate(function: Callable[[DictConfig], Any]) -> Callable[[], None]:
        @wraps(function)
        def command() -> None:
            run(hydra.main(**MAIN_ARGUMENTS, config_path=str(CONF), config_name=name)(task(function)), name)

        return command

    return decorate


def run(main: Callable[[], Any], name: str) -> None:
    """Run a `hydra.main` function of conf/NAME.yaml, and exit as `exit_on_error` does where it raises."""
    collect_rarely()
    # Hydra would print a config error over several lines and exit with 1; asked for full errors, it raises them
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # a full disk is reported once, not at every line of train.log
    logging.raiseExceptions = False
    threading.excepthook = _report_thread
    if isinstance(sys.stdout, io.TextIOWrapper):
        # what a terminal cannot show is escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    with signals.handling(), exit_on_error():
        for argument in sys.argv[1:]:
            if argument.encode(errors="ignore").decode() != argument:
                raise UserError(f"{argument!r} is not UTF-8, which the files of a run are; give the file another name")
        _refuse_unknown_arguments(name)
        with exit_stack:
            main()
        # in case a library has swallowed what a signal raised
        signals.answer()


def _refuse_unknown_arguments(name: str) -> None:
    """Raise `UserError` for what Hydra cannot read, such as `--lr 0.1`, with the KEY=VALUE that was meant."""
    _, unknown = args_parser().parse_known_args()
    if not unknown:
        return
    if not unknown[0].startswith("-"):
        raise UserError(f"{unknown[0]} stands after an option that follows other keys; put options such as -m first")
    option, equals, value = unknown[0].partition("=")
    following = sys.argv[sys.argv.index(unknown[0]) + 1 :]
    if not equals and following and not re.search("^-|=", following[0]):
        value = following[0]
    with composing():
        keys = hint(hydra.compose(name), option.lstrip("-").replace("-", "_")) or ["KEY"]
    meant = " or ".join(override(key, value or "VALUE") for key in keys)
    raise UserError(f"there is no option {option}; a value is set by its key, without dashes: {meant}")


def _report_thread(arguments: threading.ExceptHookArgs) -> None:
    """Leave out a writer thread's OSError: TensorBoard's writer raises it again where events are logged."""
    if not isinstance(arguments.exc_value, OSError):
        threading.__excepthook__(arguments)


def task(function: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Wrap the function of a command to exit on errors; those of a sweep's job are raised, for the sweep to handle."""

    @wraps(function)
    def wrapped(cfg: DictConfig) -> Any:
        is_job = HydraConfig.get().mode == RunMode.MULTIRUN
        with nullcontext() if is_job else exit_on_error(), resource_errors():
            return function(cfg)

    return wrapped
