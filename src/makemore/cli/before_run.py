"""Before a run's directory is made: the config of a run to go on with is found, and everything is checked."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from makemore.cli.command import one_line, until_the_end
from makemore.data.options import CorpusOptions
from makemore.data.text import locate
from makemore.errors import UserError
from makemore.overrides import describe
from makemore.sweeps.plan import compositions, make_plan
from makemore.sweeps.records import Reference


class CheckBeforeRun(Callback):
    """A Hydra callback that checks a training run before its directory is made.

    An ordinary exception would be swallowed here; `SystemExit` leaves nothing behind. With `resume`, the config
    becomes that of the run to go on with; Hydra uses it from here on.

    Args:
        reference: known figures that a sweep shows beside its own, as `Reference` takes them.
    """

    def __init__(self, reference: Mapping[str, Any] | None = None) -> None:
        self.reference = None if reference is None else Reference(**reference)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Find a job of the sweep that could run, make its directory and show where it is from here on."""
        with one_line():
            if any(override.startswith("resume=") for override in config.hydra.overrides.task):
                raise UserError(
                    "resume goes on with one run, in its directory; take out -m, or go on with a sweep by its own "
                    "command and hydra.sweep.dir=DIR"
                )
            plan = make_plan(config)
            from makemore.sweeps.lifecycle import (  # seconds, after what is wrong at a glance
                find_requeued,
                prepare,
                sweep,
            )

            sweep_dir = find_requeued(config) or Path(config.hydra.sweep.dir)
            _check_subdir(config)
            _check_jobs(compositions(config, plan), sweep_dir)
            prepare(config, plan, sweep_dir)
            until_the_end.enter_context(sweep(config, plan, self.reference))

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Build the parts of the run; the first thing wrong with them ends it."""
        with one_line():
            if config.resume is not None or "SLURM_RESTART_COUNT" in os.environ:
                from makemore.runs import resuming  # seconds, which others need not wait for yet

                resume = resuming.take_over_requeued if config.resume is None else resuming.take_over
                resume(config)
            _check(config, Path(config.hydra.run.dir))


def _check(config: DictConfig, run_dir: Path) -> None:
    """Check the config of a run before anything is written."""
    _check_text(config.data)
    cfg = config.copy()
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    from makemore.runs.preflight import check  # seconds, which a wrong path need not wait for

    check(cfg, run_dir)


def _check_subdir(config: DictConfig) -> None:
    """Raise `UserError` where the directories of jobs are not to be in that of the sweep itself."""
    # as text, for what it refers to is not known yet
    given = OmegaConf.to_yaml(config.hydra.overrides.hydra)
    if slashed := re.search(r"hydra\.sweep\.subdir=.*/.*", given):
        raise UserError(f"{slashed[0]}: the directory of a job has one name; take out the /")


def _check_jobs(configs: Iterable[DictConfig], sweep_dir: Path) -> None:
    """Raise what is wrong with the first job of a sweep where there is not one that could run."""
    first: Exception | None = None
    for config in configs:
        try:
            return _check(config, sweep_dir)
        except (UserError, OmegaConfBaseException) as error:
            first = first or error
    assert first is not None
    raise UserError(f"none of the sweep's jobs could run; the first: {describe(first)}") from first


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
