"""Run parts of groups as the tasks of an engine, on whichever machines it has: tasks of Ray, or jobs of SLURM.

What a task leaves is in the directories of its jobs, on a disk that all machines share. An engine runs a task again
whose process or machine has died; its jobs resume from their checkpoints. See docs/sweeps/ray.md and submitit.md.
"""

import gc
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from omegaconf import DictConfig, OmegaConf

from makemore.errors import UserError, first_line
from makemore.runs.own_models import import_own_models
from makemore.sweeps.vectorized.workers import as_sent

# what came of each job, by its number
Results = dict[int, JobReturn]
# seconds between two looks for results, and between two questions to SLURM
_LOOK, _ASK = 0.2, 5.0
# what submitit's own names are for all its executors; the others have a prefix
_SHARED = ("name", "timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node")


class Task:
    """A call for another process, which gets the directory, Hydra's state and the garbage collection of this one."""

    def __init__(self, run: Callable[[], Results]) -> None:
        self.run = run
        self.directory = Path.cwd()
        self.collected_at = gc.get_threshold()
        self.singletons = Singleton.get_state()

    def __call__(self) -> Results | Exception:
        """Run it in a process of an engine; return what it returns or raises."""
        try:
            os.chdir(self.directory)
            gc.set_threshold(*self.collected_at)
            setup_globals()
            Singleton.set_state(self.singletons)
            import_own_models()
            return self.run()
        except Exception as error:
            return as_sent(error)

    def checkpoint(self) -> Any:
        """Return what submitit queues again when the time of its job is up: the same task."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def run_tasks(launcher: DictConfig, sweep_dir: Path, tasks: Sequence[Task]) -> list[Results | None]:
    """Return what came of each task; None of one that the engine has lost for good, or that was cancelled.

    Args:
        launcher: the options of the vectorised launcher, with its engine.
        sweep_dir: where submitit keeps what it needs.
        tasks: to run, each with the resources of the options.

    Raises:
        UserError: the engine refuses its options, or a task has raised one; all have ended then.
        RuntimeError: a task has raised another exception.
        Stopped: a signal.
    """
    is_ray = launcher.engine.name == "ray"
    ended = _run_on_ray(launcher.ray, tasks) if is_ray else _run_on_slurm(launcher.slurm, sweep_dir, tasks)
    for result in ended:
        if isinstance(result, Exception):
            raise result
    return [result for result in ended if not isinstance(result, Exception)]


def workers_of(launcher: DictConfig) -> int:
    """Return how many tasks an engine can run at a time, as far as it says; at least one."""
    if launcher.engine.name == "ray":
        import ray

        kind = "gpu" if launcher.ray.remote.get("num_gpus") else "cpu"
        there: float = ray.cluster_resources().get(kind.upper(), 0)
        needed: float = launcher.ray.remote[f"num_{kind}s"] or 1
        return max(1, int(there / needed))
    options = launcher.slurm
    partition = [] if options.partition is None else [f"--partition={options.partition}"]
    asked = subprocess.run(
        ["sinfo", "--noheader", "--responding", "--format=%C", *partition], capture_output=True, text=True, check=False
    )
    if options.gpus_per_node or asked.returncode != 0:
        return int(options.array_parallelism)
    # allocated, idle, other, all
    counts = [[int(count) for count in line.split("/")] for line in asked.stdout.split()]
    cores = sum(allocated + idle for allocated, idle, *_ in counts)
    return max(1, min(int(options.array_parallelism), cores // int(options.cpus_per_task)))


def _run_on_ray(options: DictConfig, tasks: Sequence[Task]) -> list[Results | Exception | None]:
    import ray

    remote: Any = OmegaConf.to_container(options.remote, resolve=True)
    try:
        references = [ray.remote(**remote)(_called).remote(task) for task in tasks]
    except (TypeError, ValueError) as error:
        raise UserError(f"hydra.launcher.ray.remote: {first_line(error)}") from error
    ended: list[Results | Exception | None] = []
    for reference in references:
        try:
            ended.append(ray.get(reference))
        except ray.exceptions.RayTaskError as error:
            # such as of a machine that lacks what the task needs to be read there
            ended.append(RuntimeError(str(error)))
        except ray.exceptions.RayError:
            ended.append(None)
    return ended


def _called(task: Task) -> Results | Exception:
    return task()


def _run_on_slurm(options: DictConfig, sweep_dir: Path, tasks: Sequence[Task]) -> list[Results | Exception | None]:
    import submitit

    given: Any = OmegaConf.to_container(options, resolve=True)
    of_executor = {"slurm_max_num_timeout": given.pop("max_num_timeout")}
    parameters = {name if name in _SHARED else f"slurm_{name}": value for name, value in given.items()}
    try:
        executor = submitit.AutoExecutor(sweep_dir / ".submitit" / "%j", cluster="slurm", **of_executor)
        executor.update_parameters(**{name: value for name, value in parameters.items() if value is not None})
        jobs = executor.submit_array(tasks)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"hydra.launcher.slurm: {' '.join(str(error).split())}") from error
    ended: dict[str, Results | Exception | None] = {}
    asked, gone = time.monotonic(), set[str]()
    while len(ended) < len(jobs):
        time.sleep(_LOOK)
        left = [job for job in jobs if job.job_id not in ended]
        for job in (each for each in left if each.paths.result_pickle.exists()):
            # without a result where its time was up too often, or this machine's Python cannot be had there
            lacking = job.exception()
            is_over = "Job not requeued because" in str(lacking)
            ended[job.job_id] = None if is_over else lacking or job.result()
        if time.monotonic() - asked > _ASK:
            asked, queued = time.monotonic(), _queued()
            if queued is not None:
                # twice: between a result and its file there may be a shared disk
                ended |= {job.job_id: None for job in left if job.job_id in gone - queued - ended.keys()}
                gone = {job.job_id for job in left} - queued
    return [ended[job.job_id] for job in jobs]


def _queued() -> set[str] | None:
    """Return the numbers of the user's jobs that SLURM has in its queue, running or not; None where it does not say.

    Submitit asks `sacct`, which many clusters lack.
    """
    command = ["squeue", "--noheader", "--array", "--me", "--format=%i"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return set(asked.stdout.split()) if asked.returncode == 0 else None
