"""One job of a sweep, in whichever process a launcher runs it: begun, gone on with, or done already."""

import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from makemore import signals
from makemore.atomic import replacing
from makemore.command import describe, with_what_it_needs
from makemore.data.text import absolute
from makemore.errors import UserError
from makemore.resuming import refuse_links
from makemore.run_directory import sole_writer
from makemore.saved_config import flat, load_saved_config, saved_config_of
from makemore.sweeps.naming import differing
from makemore.sweeps.plan import BASIC_SWEEPER
from makemore.sweeps.records import STOP, read_job, write_job
from makemore.training import train_alone

log = logging.getLogger(__name__)


class JobError(RuntimeError):
    """A job did not finish; what came between is in its record, its log and the sweep's table."""


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
    hydra = HydraConfig.get()
    sweep_dir = Path(hydra.sweep.dir)
    if (sweep_dir / STOP).exists():
        return _not_finished("the sweep was asked to stop")
    cfg = _with_absolute_paths(cfg)
    overrides = list(hydra.overrides.task)
    differs = differing(overrides, hydra.job.config.override_dirname.exclude_keys)
    here = signals.is_answering()
    no_orphan = nullcontext() if here else _no_orphan()
    with no_orphan, signals.answering(for_another=not here), sole_writer(run_dir, wait=True):
        began = saved_config_of(run_dir).exists()
        if began:
            _refuse_another(cfg, run_dir, sweep_dir)
        job = read_job(run_dir)
        if job is not None and job.status == "finished":
            return job.nll
        if not began:
            _save_config(cfg, run_dir)
        cfg.resume = str(run_dir) if began else None
        return _run(cfg, run_dir, sweep_dir, partial(write_job, run_dir, overrides, differs))


def _run(cfg: DictConfig, run_dir: Path, sweep_dir: Path, record: Callable[..., None]) -> float:
    """Train, and record what came of it."""
    record("running")
    if (sweep_dir / STOP).exists():
        # asked since we looked: who asked may not have seen our record
        record("stopped")
        return _not_finished("the sweep was asked to stop")
    try:
        with with_what_it_needs():
            result = train_alone(cfg, run_dir)
    except signals.Stopped:
        record("stopped")
        if not signals.is_for_another():
            raise
        return _not_finished("it was asked to stop")
    except (Exception, SystemExit) as error:
        # Hydra would let the latter end the whole sweep, with its exit code
        message = _message(error)
        log.error(message, exc_info=not isinstance(error, UserError))
        record("failed", message)
        return _not_finished(message)
    record("finished")
    return result.objective


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


def _not_finished(message: str) -> float:
    """Tell the sweeper in the way that it understands."""
    if HydraConfig.get().sweeper._target_ == BASIC_SWEEPER:
        return math.nan
    raise JobError(message)


def _message(error: Exception | SystemExit) -> str:
    """Return what an error says in one line, with its name where it is no error of a user."""
    said = " ".join((describe(error) if isinstance(error, Exception) else str(error)).split())
    return said if isinstance(error, UserError) else f"{type(error).__name__}: {said}"


def _with_absolute_paths(cfg: DictConfig) -> DictConfig:
    """Return a config whose texts are found from other working directories too; a known text is found later."""
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    if cfg.data.get("sha256") is None:
        for name in ("path", "val_path", "test_path"):
            if isinstance(cfg.data.get(name), str):
                cfg.data[name] = str(absolute(cfg.data[name]))
    return cfg


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
    contents = {"hydra.yaml": OmegaConf.create({"hydra": hydra}), "overrides.yaml": hydra.overrides.task}
    # the config last: with it the job has begun
    for name, content in [*contents.items(), ("config.yaml", cfg)]:
        with replacing(saved_config_of(run_dir).with_name(name)) as file:
            file.write(OmegaConf.to_yaml(content).encode())
