"""One job of a sweep, in whichever process a launcher runs it: begun, gone on with, or done already."""

import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import indent
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from makemore import signals
from makemore.data.text import absolute
from makemore.errors import UserError
from makemore.files import replacing
from makemore.overrides import describe, with_what_it_needs
from makemore.runs.directory import sole_writer
from makemore.runs.outcome import TrainingResult
from makemore.runs.resuming import refuse_links
from makemore.runs.saved_config import flat, load_saved_config, saved_config_of
from makemore.runs.train import train_locked
from makemore.sweeps.naming import differing
from makemore.sweeps.plan import BASIC_SWEEPERS
from makemore.sweeps.records import STOP, read_job, write_job

log = logging.getLogger(__name__)

_ASKED = "the sweep was asked to stop"


class JobError(RuntimeError):
    """A job did not finish; what came between is in its record, its log and the sweep's table."""


@dataclass(frozen=True)
class Claim:
    """A job that this process is at.

    Args:
        cfg: conf/train.yaml, composed for it; with `resume` where it has begun before.
        run_dir: its directory, which no other process writes to.
        record: writes how it is.
    """

    cfg: DictConfig
    run_dir: Path
    record: Callable[..., None]

    def finished(self, result: TrainingResult) -> float:
        """Record that it has finished; return the NLL to minimise."""
        self.record("finished")
        return result.objective

    def failed(self, error: Exception | SystemExit) -> float:
        """Record and log why it has failed, and tell the sweeper."""
        message = _message(error)
        log.error(message, exc_info=None if isinstance(error, UserError) else error)
        self.record("failed", message)
        return not_finished(message)


def run_job(cfg: DictConfig, run_dir: Path) -> float:
    """Run a job of a sweep and return the NLL to minimise, at once where the job has finished before.

    A job that began before goes on from its newest checkpoint. One that another process is still at, as launchers'
    own processes are for a while when the one that started them is killed, is waited for.

    Args:
        cfg: conf/train.yaml, composed for this job.
        run_dir: the job's directory; it exists.

    Raises:
        JobError: it did not finish; for the basic sweeper, which would stop there, the NLL is NaN instead.
        UserError: the directory is of a job with another config.
        Stopped: a signal, in the process that runs the sweep.
    """
    here = signals.is_answering()
    no_orphan = nullcontext() if here else _no_orphan()
    with no_orphan, signals.answering(for_another=not here), claim(cfg, run_dir) as job:
        return _run(job) if isinstance(job, Claim) else job


@contextmanager
def claim(cfg: DictConfig, run_dir: Path) -> Iterator[Claim | float]:
    """Hold a job's directory within the block, its config saved and its record saying that it runs; `cfg` is changed.

    Yields the NLL to minimise instead where it has finished before, or what tells the sweeper that it will not now.

    Raises:
        JobError, UserError: as `run_job` does.
    """
    hydra = HydraConfig.get()
    sweep_dir = Path(hydra.sweep.dir)
    if (sweep_dir / STOP).exists():
        yield not_finished(_ASKED)
        return
    _make_paths_absolute(cfg)
    overrides = list(hydra.overrides.task)
    differs = differing(overrides, hydra.job.config.override_dirname.exclude_keys)
    with sole_writer(run_dir, wait=True):
        began = saved_config_of(run_dir).exists()
        if began:
            _refuse_another(cfg, run_dir, sweep_dir)
        before = read_job(run_dir)
        if before is not None and before.status == "finished":
            yield before.nll
            return
        if not began:
            _save_config(cfg, run_dir)
        cfg.resume = str(run_dir) if began else None
        job = Claim(cfg, run_dir, partial(write_job, run_dir, overrides, differs))
        job.record("running")
        if (sweep_dir / STOP).exists():
            # asked since we looked: who asked may not have seen our record
            job.record("stopped")
            yield not_finished(_ASKED)
            return
        yield job


def _run(job: Claim) -> float:
    """Train, and record what came of it."""
    try:
        with with_what_it_needs():
            result = train_locked(job.cfg, job.run_dir)
    except signals.Stopped:
        job.record("stopped")
        if not signals.is_for_another():
            raise
        return not_finished("it was asked to stop")
    except (Exception, SystemExit) as error:
        # Hydra would let the latter end the whole sweep, with its exit code
        return job.failed(error)
    return job.finished(result)


@contextmanager
def _no_orphan() -> Iterator[None]:
    """End this process after the block where the one that started it is gone: nobody would take what it returns."""
    parent = os.getppid()
    try:
        yield
    finally:
        if os.getppid() != parent:
            logging.shutdown()
            os._exit(0)


def not_finished(message: str) -> float:
    """Tell the sweeper in the way that it understands.

    Raises:
        JobError: it is not the basic one.
    """
    if HydraConfig.get().sweeper._target_ in BASIC_SWEEPERS:
        return math.nan
    raise JobError(message)


def _message(error: Exception | SystemExit) -> str:
    """Return what an error says in one line, with its name where it is no error of a user."""
    said = " ".join((describe(error) if isinstance(error, Exception) else str(error)).split())
    return said if isinstance(error, UserError) else f"{type(error).__name__}: {said}"


def _make_paths_absolute(cfg: DictConfig) -> None:
    """Let the texts of a config be found from other working directories too; a known text is found later."""
    OmegaConf.set_struct(cfg, False)
    if cfg.data.get("sha256") is None:
        for name in ("path", "val_path", "test_path"):
            if isinstance(cfg.data.get(name), str):
                cfg.data[name] = str(absolute(cfg.data[name]))


def _refuse_another(cfg: DictConfig, run_dir: Path, sweep_dir: Path) -> None:
    """Raise `UserError` where a job's directory is that of another; a search hides it, so leave word for the sweep."""
    try:
        refuse_links(run_dir)
        saved = load_saved_config(run_dir)
        before, now = (flat(OmegaConf.to_container(config, resolve=False)) for config in (saved, cfg))
        if changed := [key for key in [*now, *before] if repr(before.get(key)) != repr(now.get(key))]:
            key = changed[0]
            raise UserError(
                f"{run_dir}: its job began with {key}={before.get(key)}, which is {now.get(key)} now; "
                "put that back, or choose another hydra.sweep.dir"
            )
    except UserError as error:
        (sweep_dir / STOP).write_text(str(error))
        raise


def _save_config(cfg: DictConfig, run_dir: Path) -> None:
    """Leave what Hydra would leave in a run's directory; it does so anew each time, and not all at once."""
    hydra = HydraConfig.get()
    contents = {"hydra.yaml": _hydra_yaml(hydra), "overrides.yaml": OmegaConf.to_yaml(hydra.overrides.task)}
    # the config last: with it the job has begun
    for name, content in [*contents.items(), ("config.yaml", OmegaConf.to_yaml(cfg))]:
        with replacing(saved_config_of(run_dir).with_name(name)) as file:
            file.write(content.encode())


# what each part of Hydra's config was in the last job, and its YAML
_parts: dict[Any, tuple[Any, str]] = {}


def _hydra_yaml(hydra: Any) -> str:
    """Return Hydra's part of a config as YAML; what is as in the job before is not made into text again."""
    content = OmegaConf.to_container(hydra)
    assert isinstance(content, dict)
    for key, value in content.items():
        if key not in _parts or _parts[key][0] != value:
            _parts[key] = value, indent(OmegaConf.to_yaml({key: value}), "  ")
    return "hydra:\n" + "".join(_parts[key][1] for key in content)
