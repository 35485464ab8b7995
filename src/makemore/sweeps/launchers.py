"""What Hydra's launchers and sweepers are told where a user has not: cores a job, and a search that can go on."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from makemore import signals
from makemore.errors import UserError, first_line, whole_number
from makemore.sweeps.plan import BASIC_SWEEPER, QUICK_SWEEPER


def set_defaults(config: DictConfig, sweep_dir: Path, threads: int) -> None:
    """Set what a sweep's launcher and sweeper have left open.

    Args:
        config: of a sweep, as composed, open for new keys; it is changed.
        sweep_dir: its directory, from the root.
        threads: of the job that has most.

    Raises:
        UserError: a study cannot be kept in such a directory.
    """
    launcher, sweeper = config.hydra.launcher, config.hydra.sweeper
    if launcher.get("n_jobs") == -1:  # joblib
        launcher.n_jobs = max(1, _cores() // threads)
    if "cpus_per_task" in launcher and launcher.cpus_per_task is None:  # submitit
        launcher.cpus_per_task = threads
    if launcher._target_.endswith(".LocalLauncher"):
        # Ctrl-C is the sweep's to answer, which passes it on; submitit's own processes would end in tracebacks
        with open_dict(launcher):
            launcher.setup = ["trap '' INT", *(launcher.get("setup") or [])]
    if "ray" in launcher:
        _set_ray(launcher.ray, threads)
    if "max_members" in launcher:
        whole_number("hydra.launcher.n_jobs", launcher.n_jobs, at_least=1)
        if launcher.max_members is not None:
            whole_number("hydra.launcher.max_members", launcher.max_members, at_least=1)
        if sweeper._target_ == BASIC_SWEEPER:
            sweeper._target_ = QUICK_SWEEPER
    if "n_trials" in sweeper:  # optuna
        if not any(
            override.startswith("hydra.sweeper.max_failure_rate=") for override in config.hydra.overrides.hydra
        ):
            # a trial that fails stops no other
            sweeper.max_failure_rate = 1.0
        sweeper.study_name = sweeper.study_name or "sweep"
        if "seed" in sweeper.sampler and sweeper.sampler.seed is None:
            sweeper.sampler.seed = config.seed
        if sweeper.storage is None:
            if "?" in str(sweep_dir):
                raise UserError(f"{sweep_dir}: no URL of a study has a question mark; choose another hydra.sweep.dir")
            sweeper.storage = f"sqlite:///{study_of(sweep_dir)}"


def _set_ray(ray: DictConfig, threads: int) -> None:
    """Set what Ray is told: on a cluster, which has its own resources, nothing of them."""
    # each job has a log of its own
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if (ray.init.get("address") or os.environ.get("RAY_ADDRESS")) not in (None, "local"):
        # None, as the plugin would set it otherwise, which Ray refuses there
        ray.init = {**quiet, "object_store_memory": None, **ray.init}
    else:
        # as little memory as Ray allows: a job returns a number
        own = {"num_cpus": _cores(), "object_store_memory": 75 * 2**20, "include_dashboard": False}
        ray.init = {**quiet, **own, **ray.init}
    # a job that is lost goes on when the sweep does
    ray.remote = {"num_cpus": threads, "max_retries": 0, **ray.remote}


def _cores() -> int:
    # where one cannot ask which of them this process may use, all there are
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def started(hydra: DictConfig) -> Iterator[None]:
    """Have Ray running within the block, where a sweep's launcher is Ray's; let Optuna say no more than warnings.

    Ray takes SIGTERM for itself when it starts, which is taken back.

    Args:
        hydra: Hydra's part of the sweep's config, with the defaults set.

    Raises:
        UserError: Ray does not start, or there is no cluster at the address.
    """
    if "n_trials" in hydra.sweeper:
        import optuna  # seconds

        optuna.logging.set_verbosity(logging.WARNING)
    if "ray" not in hydra.launcher:
        yield
        return
    import ray  # seconds

    options: Any = OmegaConf.to_container(hydra.launcher.ray.init, resolve=True)
    try:
        ray.init(**options)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"hydra.launcher.ray.init: {first_line(error)}") from error
    signals.install()
    try:
        yield
    finally:
        ray.shutdown()


def study_of(sweep_dir: Path) -> Path:
    """Return where a search keeps its study, unless it was given a storage."""
    return sweep_dir / "study.db"


def replay(sweep_dir: Path) -> None:
    """Let a search that goes on begin with an empty study, and the old one stay beside it.

    Its sampler draws the same trials again, whose jobs have finished and return at once. So it is the search that was
    never interrupted, to the digit; a study that went on would have a sampler that begins anew.
    """
    if study_of(sweep_dir).exists():
        study_of(sweep_dir).replace(sweep_dir / "study.before.db")
