"""Before a run's directory is made: the config of a run to go on with is found, and everything is checked."""

import os
import traceback
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from makemore.command import describe, fail
from makemore.data.options import CorpusOptions
from makemore.data.text import locate
from makemore.errors import UserError


class CheckBeforeRun(Callback):
    """A Hydra callback that checks a training run before its directory is made.

    An ordinary exception would be swallowed here; `SystemExit` leaves nothing behind. With `resume`, the config
    becomes that of the run to go on with; Hydra uses it from here on.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """A sweep does not go on with one run."""
        if any(override.startswith("resume=") for override in config.hydra.overrides.task):
            fail("resume goes on with one run, in its directory; take out -m")

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
            from makemore.checking import check  # seconds, which a wrong path need not wait for

            check(cfg, Path(config.hydra.run.dir))
        except (UserError, OmegaConfBaseException) as error:
            fail(describe(error))
        except Exception as error:  # Hydra would go on
            traceback.print_exc()
            raise SystemExit(1) from error


def _check_text(data: DictConfig) -> None:
    """Raise `UserError` where the options of a text are wrong, or it is not there; a known text is found later.

    Paths become absolute, as the run may go on from another working directory.
    """
    plain = OmegaConf.to_container(data, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    names = {field.name for field in fields(CorpusOptions)}
    if "path" not in plain:
        raise UserError("data.path must be given: data.path=...")
    options = CorpusOptions(**{str(name): value for name, value in plain.items() if name in names})
    if plain.get("sha256") is None:
        for name in ("path", "val_path", "test_path"):
            if getattr(options, name) is not None:
                data[name] = str(locate(getattr(options, name)))
