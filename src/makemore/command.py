"""How a command starts and how its errors end: one line on standard error, exit code 2, no run directory."""

import difflib
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from makemore import signals
from makemore.data.options import CorpusOptions
from makemore.data.text import locate
from makemore.errors import UserError, whole_number


def fail(error: Exception | str) -> NoReturn:
    """Print one line on standard error and exit with code 2."""
    print("error:", " ".join(str(error).split("\n")), file=sys.stderr)
    raise SystemExit(2)


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
    with signals.handling():
        try:
            main()
            sys.stdout.flush()
        except BrokenPipeError:
            _leave_pipe()
        except (UserError, HydraException, OmegaConfBaseException, OSError) as error:
            fail(_describe(error))
        except signals.Stopped as stopped:
            raise SystemExit(stopped.exit_code) from None


def _report_thread(arguments: threading.ExceptHookArgs) -> None:
    """Leave out what a writer's thread cannot write: TensorBoard's raises it again where events are logged."""
    if not isinstance(arguments.exc_value, OSError):
        threading.__excepthook__(arguments)


def task(function: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Wrap what a command does: a `UserError` ends a single run in one line; a sweep is left to go on."""

    @wraps(function)
    def wrapped(cfg: DictConfig) -> Any:
        try:
            return function(cfg)
        except BrokenPipeError:
            _leave_pipe()
        except (UserError, OmegaConfBaseException, OSError) as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            fail(_describe(error))

    return wrapped


def set_threads(threads: Any) -> None:
    """Set how many CPU threads torch may use; results are identical for the same number."""
    import torch  # heavy, and not needed for --help

    torch.set_num_threads(whole_number("threads", threads, at_least=1, at_most=1024))


class CheckBeforeRun(Callback):
    """A Hydra callback that checks a training run before its directory is made.

    An ordinary exception would be swallowed here; `SystemExit` leaves nothing behind. With `resume`, the config
    becomes that of the run to go on with; Hydra uses it from here on.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Build the parts of the run; the first thing wrong with them ends it."""
        try:
            if config.resume is not None or "SLURM_RESTART_COUNT" in os.environ:
                from makemore import resuming  # seconds, which others need not wait for yet

                resume = resuming.take_over_requeued if config.resume is None else resuming.take_over
                resume(config)
            _check_text(config.data)
            cfg = config.copy()
            OmegaConf.set_struct(cfg, False)
            del cfg["hydra"]
            from makemore.training import check  # seconds, which a wrong path need not wait for

            check(cfg, Path(config.hydra.run.dir))
        except (UserError, OmegaConfBaseException) as error:
            fail(_describe(error))


def _check_text(data: DictConfig) -> None:
    """Raise `UserError` where the options of a text are wrong, or it is not there; a known text is found later.

    Paths become absolute, as the run may go on from another working directory.
    """
    plain = OmegaConf.to_container(data, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    names = {field.name for field in fields(CorpusOptions)}
    options = CorpusOptions(**{str(name): value for name, value in plain.items() if name in names})
    if plain.get("sha256") is None:
        for name in ("path", "val_path", "test_path"):
            if getattr(options, name) is not None:
                data[name] = str(locate(getattr(options, name)))


def _describe(error: Exception) -> str:
    """Return the gist of an error of Hydra's or OmegaConf's, and the nearest known key to a misspelt one."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return f"{error.filename or 'standard output'}: {error.strerror or error}"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given: {error.full_key}=..."
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override))
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
