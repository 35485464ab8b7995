"""How a command starts and how its errors end: one line on standard error, exit code 2, no run directory."""

import io
import logging
import os
import sys
import threading
import traceback
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from makemore import signals
from makemore.errors import UserError
from makemore.overrides import describe, with_what_it_needs
from makemore.sweeps import naming

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
