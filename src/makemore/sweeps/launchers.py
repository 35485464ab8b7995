"""Defaults of Hydra's launchers and sweepers: cores by threads, a search that can be resumed, and Ray's start."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from makemore.errors import UserError, first_line, whole_number
from makemore.overrides import install
from makemore.sweeps.plan import BASIC_SWEEPER, QUICK_SWEEPER
from makemore.sweeps.vectorized import halving
from makemore.system import signals

# how often an engine runs a task again whose process or machine has died: a job fails after the third time
# (makemore.sweeps.job), and a group may have several such jobs
_MOST_RETRIES = 10


def set_defaults(config: DictConfig, sweep_dir: Path, threads: int) -> None:
    """Set the options of a sweep's launcher and sweeper that are not given; `threads` is the most that a job has.

    A wrong option of the vectorised launcher, or a directory in which no study can be kept, raises `UserError`.
    """
    launcher, sweeper = config.hydra.launcher, config.hydra.sweeper
    _set_launcher(launcher, threads)
    if "engine" in launcher and sweeper._target_ == BASIC_SWEEPER:
        sweeper._target_ = QUICK_SWEEPER
    if "n_trials" in sweeper:  # optuna
        _set_search(config, sweep_dir)


def _set_launcher(launcher: DictConfig, threads: int) -> None:
    if launcher.get("n_jobs") == -1:  # joblib, vectorized
        launcher.n_jobs = max(1, _cores() // threads)
    if "cpus_per_task" in launcher and launcher.cpus_per_task is None:  # submitit
        launcher.cpus_per_task = threads
    if launcher._target_.endswith(".LocalLauncher"):
        # only the sweep answers Ctrl-C, and passes it on; submitit's own processes would end in tracebacks
        with open_dict(launcher):
            launcher.setup = ["trap '' INT", *(launcher.get("setup") or [])]
    if uses_ray(launcher):
        _set_ray(launcher.ray, threads)
    if (slurm := _slurm_of(launcher)) is not None:
        _set_slurm(slurm, threads)
    if "engine" in launcher:  # vectorized
        whole_number("hydra.launcher.n_jobs", launcher.n_jobs, at_least=1)
        for name in ("max_members", "members_per_group"):
            if launcher[name] is not None:
                whole_number(f"hydra.launcher.{name}", launcher[name], at_least=1)
        halving.check_options(launcher.halving)
        _check_installed(launcher.engine.name)


def _check_installed(engine: str) -> None:
    """Raise `UserError` where an engine of the vectorised launcher lacks its package."""
    package = {"ray": "ray", "slurm": "submitit"}.get(engine)
    if package is not None and find_spec(package) is None:
        raise UserError(f"hydra.launcher.engine={engine} needs {package}: {install(package)}")


def _set_search(config: DictConfig, sweep_dir: Path) -> None:
    sweeper = config.hydra.sweeper
    if not any(given.startswith("hydra.sweeper.max_failure_rate=") for given in config.hydra.overrides.hydra):
        # a failed trial does not end the search
        sweeper.max_failure_rate = 1.0
    sweeper.study_name = sweeper.study_name or "sweep"
    if "seed" in sweeper.sampler and sweeper.sampler.seed is None:
        sweeper.sampler.seed = config.seed
    if sweeper.storage is None:
        if "?" in str(sweep_dir):
            raise UserError(f"{sweep_dir}: no URL of a study has a question mark; choose another hydra.sweep.dir")
        sweeper.storage = f"sqlite:///{study_of(sweep_dir)}"


def _set_ray(ray: DictConfig, threads: int) -> None:
    """Set Ray's options: on a cluster, which has its own resources, none of those."""
    # each job has a log of its own
    init: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if _is_cluster(ray):
        # Ray refuses a number there, which the plugin would set
        init["object_store_memory"] = None
    else:
        # as little memory as Ray allows: a job returns a number
        init |= {"num_cpus": _cores(), "object_store_memory": 75 * 2**20, "include_dashboard": False}
    ray.init = {**init, **ray.init}
    ray.remote = {"num_cpus": threads, "max_retries": _MOST_RETRIES, **ray.remote}


def _set_slurm(options: DictConfig, threads: int) -> None:
    """Let SLURM queue a job again whose machine has failed, or whose process was killed (by the signal 9, 128 + 9)."""
    options.cpus_per_task = options.cpus_per_task or threads
    restarts = _MOST_RETRIES + options.max_num_timeout
    condition = f"[ $? = 137 ] && [ $((SLURM_RESTART_COUNT)) -lt {restarts} ]"
    options.setup = [f"trap '{condition} && scontrol requeue $SLURM_JOB_ID' EXIT", *(options.setup or [])]
    options.additional_parameters = {"requeue": True, **options.additional_parameters}


def uses_ray(launcher: DictConfig) -> bool:
    """Return whether a launcher's jobs run on Ray."""
    return "ray" in launcher and ("engine" not in launcher or launcher.engine.name == "ray")


def _slurm_of(launcher: DictConfig) -> DictConfig | None:
    """Return the options of SLURM for a launcher whose jobs run there; None for another."""
    if launcher._target_.endswith(".SlurmLauncher"):
        return launcher
    return launcher.slurm if "engine" in launcher and launcher.engine.name == "slurm" else None


def _is_cluster(ray: DictConfig) -> bool:
    return (ray.init.get("address") or os.environ.get("RAY_ADDRESS")) not in (None, "local")


def is_elsewhere(launcher: DictConfig) -> bool:
    """Return whether a launcher's jobs run on other machines, which may have devices that this one lacks."""
    return _slurm_of(launcher) is not None or (uses_ray(launcher) and _is_cluster(launcher.ray))


def _cores() -> int:
    # not every system tells which cores this process may use
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def launcher_started(hydra: DictConfig) -> Iterator[None]:
    """Run Ray within the block where a sweep's launcher needs it, and let Optuna log only warnings.

    The defaults of `hydra` have been set. Ray takes over SIGTERM when it starts; our handler is installed again. A Ray
    that does not start, or no cluster at the address, raises `UserError`.
    """
    if "n_trials" in hydra.sweeper:
        import optuna  # seconds

        optuna.logging.set_verbosity(logging.WARNING)
    if not uses_ray(hydra.launcher):
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
    """Return the path of a search's study, unless it was given a storage."""
    return sweep_dir / "study.db"


def set_study_aside(sweep_dir: Path) -> None:
    """Let a resumed search begin with an empty study, and keep the old one beside it.

    Its sampler draws the same trials again, whose finished jobs return at once, so that it ends as a search that was
    never interrupted, to the digit. Continuing the old study would restart the sampler in the middle.
    """
    if study_of(sweep_dir).exists():
        study_of(sweep_dir).replace(sweep_dir / "study.before.db")
