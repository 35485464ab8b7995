"""Checks what launchers and sweepers are told where the user has not, and that all of them compose."""

import os
import subprocess
from pathlib import Path

import pytest
from hydra import compose
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from makemore.errors import UserError
from makemore.sweeps.job import MOST_LOSSES
from makemore.sweeps.launchers import is_elsewhere, set_defaults, study_of
from makemore.system.hydra_release import composing

CONF = Path(__file__).resolve().parents[2] / "conf"
SWEEP = Path("/sweeps/one")
CORES = len(os.sched_getaffinity(0))


def composed(*overrides: str) -> DictConfig:
    with composing():
        config = compose("train", [*overrides, f"hydra.sweep.dir={SWEEP}"], return_hydra_config=True)
    with read_write(config), read_write(config.hydra), open_dict(config):
        set_defaults(config, SWEEP, config.threads)
    return config


def test_joblib_runs_as_many_jobs_as_there_are_cores_for_their_threads() -> None:
    assert composed("hydra/launcher=joblib").hydra.launcher.n_jobs == CORES
    assert composed("hydra/launcher=joblib", f"threads={CORES}").hydra.launcher.n_jobs == 1
    assert composed("hydra/launcher=joblib", "threads=64").hydra.launcher.n_jobs == 1
    assert composed("hydra/launcher=joblib", "hydra.launcher.n_jobs=7").hydra.launcher.n_jobs == 7


def test_a_ray_of_ones_own_has_the_cores_and_a_job_its_threads() -> None:
    ray = composed("hydra/launcher=ray", "threads=2").hydra.launcher.ray
    assert (ray.init.num_cpus, ray.init.include_dashboard, ray.remote.num_cpus) == (CORES, False, 2)
    ray = composed("hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=5").hydra.launcher.ray
    assert ray.init.num_cpus == 5


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:6379", "ray://head:10001"])
def test_a_cluster_of_rays_is_told_nothing_of_resources(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_key = composed("hydra/launcher=ray", f"hydra.launcher.ray.init.address={address}")
    assert by_key.hydra.launcher.ray.init.address == address
    monkeypatch.setenv("RAY_ADDRESS", address)
    for config in (by_key, composed("hydra/launcher=ray")):
        init = config.hydra.launcher.ray.init
        assert "num_cpus" not in init
        # the plugin would set it where it is missing
        assert init.object_store_memory is None
        assert type(instantiate(config.hydra.launcher)).__name__ == "RayLauncher"


def test_slurm_composes_with_the_cores_of_a_jobs_threads() -> None:
    config = composed("hydra/launcher=submitit_slurm", "threads=4", "hydra.launcher.partition=gpu")
    launcher = instantiate(config.hydra.launcher)
    assert type(launcher).__name__ == "SlurmLauncher"
    assert (launcher.params["cpus_per_task"], launcher.params["partition"]) == (4, "gpu")
    assert (
        composed("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=2").hydra.launcher.cpus_per_task == 2
    )
    assert "setup" not in composed("hydra/launcher=submitit_local", "hydra/launcher=basic").hydra.launcher


@pytest.mark.parametrize(
    ("launcher", "options"),
    [
        (("hydra/launcher=submitit_slurm",), "hydra.launcher"),
        (("hydra/launcher=vectorized", "hydra.launcher.engine=slurm"), "hydra.launcher.slurm"),
    ],
)
def test_slurm_is_asked_to_queue_again_what_a_dead_machine_or_a_killed_process_has_lost(
    launcher: tuple[str, ...], options: str
) -> None:
    given = OmegaConf.select(composed(*launcher, f"{options}.setup=[echo]", f"{options}.max_num_timeout=5"), options)
    assert given.additional_parameters == {"requeue": True}
    trap, before = given.setup
    assert before == "echo"
    # as its shell runs it: for the signal 9 alone, and not for ever
    for code, restarts, expected in (
        (137, None, "requeue 7"),
        (137, 14, "requeue 7"),
        (137, 15, ""),
        (143, 0, ""),
        (0, 0, ""),
    ):
        counted = {} if restarts is None else {"SLURM_RESTART_COUNT": str(restarts)}
        script = f"scontrol() {{ echo $@; }}\n{trap}\nexit {code}"
        ended = subprocess.run(
            ["bash", "-c", script], env={"SLURM_JOB_ID": "7", **counted}, capture_output=True, text=True, check=False
        )
        assert ended.stdout.strip() == expected


def test_groups_on_an_engine_get_the_threads_of_their_jobs() -> None:
    vectorized = "hydra/launcher=vectorized"
    launcher = composed(vectorized, "hydra.launcher.engine=ray", "threads=3").hydra.launcher
    assert launcher.ray.remote.num_cpus == 3
    assert launcher.ray.remote.max_retries > MOST_LOSSES
    launcher = composed(vectorized, "hydra.launcher.engine=slurm", "threads=3").hydra.launcher
    assert launcher.slurm.cpus_per_task == 3
    # an engine that is not asked for is left alone
    launcher = composed(vectorized).hydra.launcher
    assert (dict(launcher.ray.remote), launcher.slurm.setup) == ({}, None)


def test_an_engine_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makemore.sweeps.launchers.find_spec", lambda _name: None)
    composed("hydra/launcher=vectorized")
    for engine, extra in (("ray", "ray"), ("slurm", "submitit")):
        with pytest.raises(UserError, match=rf"^hydra\.launcher\.engine={engine} needs {extra}: pip install"):
            composed("hydra/launcher=vectorized", f"hydra.launcher.engine={engine}")


def test_submitit_here_leaves_ctrl_c_to_the_sweep() -> None:
    config = composed("hydra/launcher=submitit_local", "+hydra.launcher.setup=[echo]")
    assert config.hydra.launcher.setup == ["trap '' INT", "echo"]


def test_a_search_is_kept_in_its_directory_and_seeded() -> None:
    sweeper = composed("sweep=optuna", "seed=3").hydra.sweeper
    assert sweeper.storage == f"sqlite:///{study_of(SWEEP)}"
    assert (sweeper.sampler.seed, sweeper.max_failure_rate, sweeper.study_name) == (3, 1.0, "sweep")
    sweeper = composed(
        "sweep=optuna", "hydra.sweeper.storage=sqlite:///x.db", "hydra.sweeper.sampler.seed=9"
    ).hydra.sweeper
    assert (sweeper.storage, sweeper.sampler.seed) == ("sqlite:///x.db", 9)


def test_jobs_on_other_machines_may_have_devices_that_this_one_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    for launcher in ("basic", "joblib", "vectorized", "submitit_local", "ray"):
        assert not is_elsewhere(composed(f"hydra/launcher={launcher}").hydra.launcher)
    assert is_elsewhere(composed("hydra/launcher=submitit_slurm").hydra.launcher)
    assert is_elsewhere(composed("hydra/launcher=vectorized", "hydra.launcher.engine=slurm").hydra.launcher)
    assert not is_elsewhere(composed("hydra/launcher=vectorized", "hydra.launcher.engine=ray").hydra.launcher)
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert is_elsewhere(composed("hydra/launcher=ray").hydra.launcher)
