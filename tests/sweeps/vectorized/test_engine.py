"""Tasks of an engine, and what SLURM's commands say of them; tests/cluster has real engines."""

import logging
import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest
from hydra.core.singleton import Singleton
from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.makemore_vectorized.vectorized_launcher import Engine, SlurmConf, VectorizedConf
from makemore.errors import UserError
from makemore.sweeps.vectorized import batch, engine
from makemore.sweeps.vectorized.engine import Task, run_tasks, workers_of
from makemore.sweeps.vectorized.part import GroupPart


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of commands that come before all others."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    return directory


def write(command: Path, script: str) -> None:
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


def slurm(**options: Any) -> DictConfig:
    given = SlurmConf(**{"cpus_per_task": 2, "name": "train"} | options)
    config: DictConfig = OmegaConf.structured(VectorizedConf(engine=Engine.slurm, slurm=given))
    return config


def told(error: type[Exception] | None = None) -> Any:
    if error is not None:
        raise error("what and where")
    return {3: os.getcwd()}


def test_a_task_is_called_in_the_directory_and_with_the_state_of_its_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = cloudpickle.loads(cloudpickle.dumps(Task(told)))
    monkeypatch.chdir("/")
    kept = Singleton.get_state()
    assert task() == {3: str(tmp_path)}
    assert Singleton.get_state().keys() == kept.keys()


def test_what_a_task_raises_is_returned_and_raised_here() -> None:
    assert str(Task(partial(told, UserError))()) == "what and where"
    bug = Task(partial(told, LookupError))()
    assert isinstance(bug, RuntimeError)
    assert "LookupError: what and where" in str(bug)
    assert "Traceback" in str(bug)


def test_what_an_engine_says_after_a_task_is_in_no_log_of_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def logging_to(*handlers: dict[str, Any]) -> DictConfig:
        named = {str(number): handler for number, handler in enumerate(handlers)}
        return OmegaConf.create({"version": 1, "root": {"level": "INFO", "handlers": list(named)}, "handlers": named})

    def run_part(*_: Any) -> dict[int, Any]:
        configure_log(logging_to({"class": "logging.FileHandler", "filename": str(tmp_path / "train.log")}))
        logging.info("of the job")
        return {}

    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(batch, "_run_part", run_part)
    hydra = {"launcher": {"max_members": None}, "hydra_logging": logging_to(), "verbose": False}
    launcher: Any = SimpleNamespace(config=OmegaConf.create({"hydra": hydra}))
    jobs: Any = [None, None]
    batch._run_elsewhere(launcher, GroupPart(jobs))
    logging.info("Job completed successfully")
    assert (tmp_path / "train.log").read_text() == "of the job\n"


def test_slurm_has_as_many_workers_as_cores_for_their_threads(commands: Path) -> None:
    # allocated, idle, other (down) and all cores, of two kinds of nodes
    write(commands / "sinfo", "echo 4/8/16/28; echo 0/3/0/3; echo $@ >> $0.asked")
    assert workers_of(slurm()) == 7
    assert workers_of(slurm(array_parallelism=5, partition="cpu")) == 5
    assert "--partition=cpu" in (commands / "sinfo.asked").read_text().splitlines()[1]
    # which has no cards in its table, and may not answer
    assert workers_of(slurm(gpus_per_node=1)) == 64
    write(commands / "sinfo", "exit 1")
    assert workers_of(slurm()) == 64


def test_what_sbatch_refuses_is_one_line(commands: Path, tmp_path: Path) -> None:
    write(commands / "srun", "")
    write(commands / "sbatch", "echo no such partition >&2; exit 1")
    with pytest.raises(UserError, match=r"^hydra\.launcher\.slurm: .*no such partition$"):
        run_tasks(slurm(partition="x"), tmp_path, [Task(told)])
    with pytest.raises(UserError, match=r"^hydra\.launcher\.slurm: .*"):
        run_tasks(slurm(), tmp_path, [Task(told)])


def test_a_job_that_is_in_the_queue_no_more_and_has_no_result_is_given_up(
    commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_ASK", 0.0)
    write(commands / "srun", "")
    write(commands / "sbatch", "echo Submitted batch job 7")
    # queued, then a controller that does not answer, then gone
    script = "echo >> $0.asked; n=$(wc -l < $0.asked); [ $n -eq 2 ] && exit 1; [ $n -gt 4 ] || echo 7 7_N/A"
    write(commands / "squeue", script)
    assert run_tasks(slurm(), tmp_path, [Task(told)]) == [None]
    assert len((commands / "squeue.asked").read_text().splitlines()) == 6
