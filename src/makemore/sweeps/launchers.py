"""What Hydra's launchers and sweepers are told where a user has not: cores a job, and a search that can go on."""

import os
from pathlib import Path

from omegaconf import DictConfig

# the extra of the package that brings each, by Hydra's name
EXTRAS = {
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/ray": "ray",
    "hydra/launcher/submitit_local": "submitit",
    "hydra/launcher/submitit_slurm": "submitit",
    "hydra/sweeper/optuna": "optuna",
}


def set_defaults(config: DictConfig, sweep_dir: Path) -> None:
    """Set what a sweep's launcher and sweeper have left open.

    Args:
        config: of a sweep, as composed, open for new keys; it is changed.
        sweep_dir: its directory, from the root.
    """
    launcher, sweeper = config.hydra.launcher, config.hydra.sweeper
    if launcher.get("n_jobs") == -1:  # joblib
        launcher.n_jobs = max(1, len(os.sched_getaffinity(0)) // config.threads)
    if "cpus_per_task" in launcher and launcher.cpus_per_task is None:  # submitit
        launcher.cpus_per_task = config.threads
    if "ray" in launcher:
        # each job has a log of its own
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "WARNING"}
        launcher.ray.init = {**quiet, **launcher.ray.init}
        # a job that is lost goes on when the sweep does
        launcher.ray.remote = {"num_cpus": config.threads, "max_retries": 0, **launcher.ray.remote}
    if "n_trials" in sweeper:  # optuna
        sweeper.max_failure_rate = 1.0
        sweeper.study_name = sweeper.study_name or "sweep"
        if "seed" in sweeper.sampler and sweeper.sampler.seed is None:
            sweeper.sampler.seed = config.seed
        if sweeper.storage is None:
            sweeper.storage = f"sqlite:///{study_of(sweep_dir)}"


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
