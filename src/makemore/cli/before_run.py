"""The Hydra callback of `makemore train`: checks a run or a sweep before a directory is made for it."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write
from rich.text import Text

from makemore.cli.command import exit_on_error, exit_stack
from makemore.data.options import CorpusOptions, make_paths_absolute
from makemore.data.text import locate
from makemore.errors import UserError
from makemore.overrides import hint, shell_quoted
from makemore.runs.own_models import import_own_models
from makemore.sweeps.launchers import is_elsewhere
from makemore.sweeps.plan import check_jobs, make_plan, task_overrides
from makemore.sweeps.records import Reference
from makemore.sweeps.vectorized.halving import halving_of
from makemore.system.console import MESSAGES
from makemore.system.files import CONF


class CheckBeforeRun(Callback):
    """Check a training run, or the jobs of a sweep, before anything is written.

    Hydra swallows an ordinary exception here; `SystemExit` ends the command.

    Args:
        reference: known figures that a sweep shows beside its own, as `Reference` takes them.
    """

    def __init__(self, reference: Mapping[str, Any] | None = None) -> None:
        self.reference = None if reference is None else Reference(**reference)

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check the config of a run; with `resume`, replace it by that of the run to resume, for Hydra to use."""
        with exit_on_error():
            import_own_models()
            if config.resume is not None or "SLURM_RESTART_COUNT" in os.environ:
                from makemore.runs import resuming  # seconds, which others need not wait for yet

                resume = resuming.take_over_requeued if config.resume is None else resuming.take_over
                resume(config)
            _check_name(config.name)
            _check(config, Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check that some job of a sweep could run, and begin the sweep, which ends with the command."""
        with exit_on_error():
            _check_name(config.name)
            import_own_models()
            plan = make_plan(config)
            from makemore.sweeps import lifecycle  # seconds, which a wrong override need not wait for

            sweep_dir = lifecycle.find_requeued(config) or Path(config.hydra.sweep.dir)
            for note in check_jobs(config, plan, partial(_check, run_dir=sweep_dir)):
                MESSAGES.print(Text(note), soft_wrap=True)
            lifecycle.prepare(config, plan, sweep_dir)
            exit_stack.enter_context(lifecycle.running_sweep(config, plan, self.reference))


def _check_name(name: Any) -> None:
    """Raise `UserError` where `name` is not that of one directory."""
    if name is not None and (Path(str(name)).name != str(name) or name in ("", "..")):
        raise UserError(f"name={name}: is not the name of one directory; task= names the directories above it")


def _check_added(config: DictConfig) -> None:
    """Raise `UserError` where an override adds a key at the top, such as +lr=0.1, that no value refers to."""
    added = [line for line in task_overrides(config) if line.startswith("+")]
    if not added:
        return
    ours = {*OmegaConf.load(CONF / "train.yaml"), *config.hydra.runtime.choices}
    for each in OverridesParser.create().parse_overrides(added):
        key = each.key_or_group
        if "." in key or key in ours or each.package is not None:
            continue
        # ${key}, ${.key}, ${oc.select:key}, but not ${trainer.key}, ${hydra:key} or ${key:...}, which is a resolver
        if re.search(rf"\$\{{[^}}]*(?<![\w\]]\.)(?<!hydra:)\b{re.escape(key)}\b(?!\s*:)", OmegaConf.to_yaml(config)):
            continue
        others = OmegaConf.masked_copy(config, [str(name) for name in config if name != key])
        meant = hint(others, key)
        reference = shell_quoted(f"model.block_size=${{{key}}}")
        mend = f"did you mean {' or '.join(meant)}?" if meant else f"a value may, as in {reference}"
        raise UserError(f"{each.input_line}: nothing refers to {key}; {mend}")


def _check(config: DictConfig, run_dir: Path) -> list[str]:
    """Check a composed config with Hydra's part, as `check` does; make the paths of its text absolute."""
    _check_added(config)
    data = OmegaConf.to_container(config.data, resolve=True, throw_on_missing=True)
    assert isinstance(data, dict)
    if "path" not in data:
        raise UserError("data.path must be given: data.path=...")
    names = {field.name for field in fields(CorpusOptions)}
    options = CorpusOptions(**{str(name): value for name, value in data.items() if name in names})
    if data.get("sha256") is None:
        for path in options.paths.values():
            locate(path)
    make_paths_absolute(config.data)
    cfg = config.copy()
    OmegaConf.set_struct(cfg, False)
    if is_elsewhere(config.hydra.launcher):
        # where the job runs, it says itself what is missing
        cfg.trainer.accelerator = "cpu"
    from makemore.runs.assemble import check  # seconds, which a wrong path need not wait for

    with _as_hydra_starts(cfg, run_dir):
        del cfg["hydra"]
        return check(cfg, run_dir, is_compared=halving_of(config.hydra) is not None)


@contextmanager
def _as_hydra_starts(cfg: DictConfig, run_dir: Path) -> Iterator[None]:
    """Let values refer to Hydra's part within the block, such as to the run's directory, as Hydra does for a run."""
    with read_write(cfg.hydra.runtime):
        cfg.hydra.runtime.output_dir = str(run_dir.absolute())
    hydra = HydraConfig.instance()
    before = hydra.cfg
    hydra.set_config(cfg)
    try:
        yield
    finally:
        hydra.cfg = before
