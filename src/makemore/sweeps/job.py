"""One job of a sweep, in whichever process a launcher runs it: begun, resumed, or finished before."""

import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from makemore.data.options import make_paths_absolute
from makemore.errors import UserError
from makemore.overrides import describe, differing, resource_errors
from makemore.runs.directory import sole_writer
from makemore.runs.outcome import TrainingResult
from makemore.runs.resuming import refuse_links
from makemore.runs.saved_config import flat, load_saved_config, saved_config_of
from makemore.runs.train import train_locked
from makemore.sweeps.choices import REFUSAL
from makemore.sweeps.plan import BASIC_SWEEPERS
from makemore.sweeps.records import STOP, read_job, write_job
from makemore.system import signals
from makemore.system.files import replacing

log = logging.getLogger(__name__)


# processes that may die of a job before it has failed
MOST_LOSSES = 3


class JobError(RuntimeError):
    """A job did not finish; the reason is in its record, its log and the sweep's table."""


@dataclass(frozen=True)
class Claim:
    """A job that this process runs."""

    cfg: DictConfig  # conf/train.yaml, composed for it; with `resume` where it has begun before
    run_dir: Path  # its directory, to which no other process writes
    record: Callable[..., None]  # writes its status
    losses: int = 0  # processes that died one after the other while they ran it

    def finished(self, result: TrainingResult) -> float:
        """Record that the job has finished; return the NLL to minimise."""
        self.record("finished")
        return result.objective

    def pruned(self, result: TrainingResult, steps: int) -> float:
        """Record that the job was pruned after so many steps; return the NLL to minimise."""
        self.record("pruned", steps=steps)
        return result.objective

    def failed(self, error: Exception | SystemExit) -> float:
        """Record and log why the job has failed, and tell the sweeper."""
        message = " ".join((describe(error) if isinstance(error, Exception) else str(error)).split())
        if not isinstance(error, UserError):
            message = f"{type(error).__name__}: {message}"
        log.error(message, exc_info=None if isinstance(error, UserError) else error)
        self.record("failed", message)
        return not_finished(message)


def run_job(cfg: DictConfig, run_dir: Path) -> float:
    """Run a job in its directory, which exists; return the NLL to minimise, at once where it has finished before.

    A job that began before is resumed from its newest checkpoint. One that another process still runs, such as a
    worker of a launcher that was killed, is waited for. One whose process has died MOST_LOSSES times has failed.

    Raises:
        JobError: it did not finish. For the basic sweeper, which would end the sweep, the NLL is NaN instead.
        UserError: the directory is of a job with another config.
        Stopped: a signal, in the process that runs the sweep.
    """
    here = signals.is_answering()
    ending = nullcontext() if here else _ending_as_orphan()
    with ending, signals.answering(for_another=not here), claim(cfg, run_dir) as job:
        if not isinstance(job, Claim):
            return job
        try:
            with resource_errors():
                result = train_locked(job.cfg, run_dir)
        except signals.Stopped:
            job.record("stopped")
            if not signals.is_for_another():
                raise
            return not_finished("it was asked to stop")
        except (Exception, SystemExit) as error:
            # Hydra would let SystemExit end the whole sweep
            return job.failed(error)
        return job.finished(result)


def given_up(cfg: DictConfig, run_dir: Path) -> float:
    """Return what comes of a job that no process runs any more, though it was to; record that it has failed.

    One that has not begun, or was stopped, has not failed. Raises what `run_job` does.
    """
    before = read_job(run_dir)
    if before is None or before.status == "stopped":
        return not_finished("it was not run to its end")
    with claim(cfg, run_dir) as job:
        if not isinstance(job, Claim):
            return job
        return job.failed(UserError("its process was killed or cancelled, and it was not run again"))


@contextmanager
def claim(cfg: DictConfig, run_dir: Path) -> Iterator[Claim | float]:
    """Hold a job's directory within the block, its config saved and its status "running"; `cfg` is changed.

    Yields the claim; or the NLL to minimise of a job that has finished before, or that of one that may not begin now.
    Raises what `run_job` does.
    """
    hydra = HydraConfig.get()
    sweep_dir = Path(hydra.sweep.dir)
    stop, stopped = sweep_dir / STOP, "the sweep was asked to stop"
    if stop.exists():
        yield not_finished(stopped)
        return
    overrides = list(hydra.overrides.task)
    differs = differing(overrides, hydra.job.config.override_dirname.exclude_keys)
    with sole_writer(run_dir, wait=True):
        before = read_job(run_dir)
        # whoever ran it is gone, without a word
        losses = before.losses + 1 if before is not None and before.status == "running" else 0
        job = Claim(cfg, run_dir, partial(write_job, run_dir, overrides, differs, losses=losses), losses)
        if REFUSAL in cfg:
            yield job.failed(UserError(cfg[REFUSAL]))
            return
        make_paths_absolute(cfg.data)
        began = saved_config_of(run_dir).exists()
        if began:
            _refuse_other_config(cfg, run_dir, sweep_dir)
        if before is not None and before.is_complete:
            yield before.nll
            return
        if losses >= MOST_LOSSES:
            yield job.failed(UserError(f"its process was killed {losses} times; out of memory, perhaps"))
            return
        if not began:
            _save_config(cfg, run_dir)
        cfg.resume = str(run_dir) if began else None
        job.record("running")
        if stop.exists():
            # it is newer than the check above, and whoever made it may not have seen our record
            job.record("stopped")
            yield not_finished(stopped)
            return
        yield job


@contextmanager
def _ending_as_orphan() -> Iterator[None]:
    """End this process after the block where its parent has been killed: nobody would take what it returns."""
    parent = os.getppid()
    try:
        yield
    finally:
        if os.getppid() != parent:
            logging.shutdown()
            os._exit(0)


def not_finished(message: str) -> float:
    """Return NaN to the basic sweeper for a job that did not finish; raise `JobError` to another, which handles it."""
    if HydraConfig.get().sweeper._target_ in BASIC_SWEEPERS:
        return math.nan
    raise JobError(message)


def _refuse_other_config(cfg: DictConfig, run_dir: Path, sweep_dir: Path) -> None:
    """Raise `UserError` where a job's saved config is another than `cfg`, which loses what conf/ has gained since.

    A search would take it for a failed trial, so the error is left for the sweep too.
    """
    given = [override.lstrip("+").partition("=")[0] for override in HydraConfig.get().overrides.task]
    try:
        refuse_links(run_dir)
        saved = load_saved_config(run_dir)
        before, now = (flat(OmegaConf.to_container(config, resolve=False)) for config in (saved, cfg))
        # a part that is another says more than its numbers
        for key in sorted([*now, *before], key=lambda key: not key.endswith("_target_")):
            if key not in before and key not in given:
                # the job began without it, and goes on so
                parent, _, name = key.rpartition(".")
                with open_dict(cfg):
                    del (OmegaConf.select(cfg, parent) if parent else cfg)[name]
            elif repr(before.get(key)) != repr(now.get(key)):
                raise UserError(
                    f"{run_dir}: its job began with {key}={before.get(key)}, which is {now.get(key)} now; "
                    "put that back, or choose another hydra.sweep.dir"
                )
    except UserError as error:
        (sweep_dir / STOP).write_text(str(error))
        raise


def _save_config(cfg: DictConfig, run_dir: Path) -> None:
    """Save a job's config as Hydra would, but only once, and each file whole or not at all."""
    hydra = OmegaConf.to_container(HydraConfig.get(), enum_to_str=True)
    contents = {
        "hydra.yaml": _yaml({"hydra": hydra}),
        "overrides.yaml": _yaml(OmegaConf.to_container(HydraConfig.get().overrides.task)),
        # the last: with it the job has begun
        "config.yaml": _yaml(OmegaConf.to_container(cfg, enum_to_str=True)),
    }
    for name, content in contents.items():
        with replacing(saved_config_of(run_dir).with_name(name)) as file:
            file.write(content.encode())


class _Dumper(yaml.CSafeDumper):  # type: ignore[misc]
    """Writes YAML that OmegaConf reads, by libyaml."""


def _represent_text(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    """Quote what OmegaConf reads as a number, and YAML 1.1 as text, such as 1e-3."""
    try:
        float(text)
    except ValueError:
        return dumper.represent_str(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'")


_Dumper.add_representer(str, _represent_text)


def _yaml(value: Any) -> str:
    """Return YAML that OmegaConf reads as `value`; its own dumper takes fifty times as long, which many jobs feel."""
    text: str = yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False)
    return text
