"""`hydra/launcher=vectorized`: jobs that differ in what can be a tensor over members are trained at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn


class Engine(Enum):
    """Where groups are trained: by processes of this machine, or as the tasks of a cluster."""

    local = 0
    ray = 1
    slurm = 2


@dataclass
class RayConf:
    """The options of Ray: what `ray.init` and `ray.remote` take, as those of `hydra/launcher=ray`."""

    init: dict[str, Any] = field(default_factory=lambda: {"address": None})
    remote: dict[str, Any] = field(default_factory=dict)


@dataclass
class SlurmConf:
    """The options of SLURM: what a job of a group gets, as those of `hydra/launcher=submitit_slurm`.

    Args:
        partition: null is the cluster's own default.
        timeout_min: minutes that a job may take before it is queued again.
        max_num_timeout: how often it is queued again, to resume where it was.
        signal_delay_s: seconds before its time is up, in which it saves.
        cpus_per_task: null is the jobs' `threads`.
        mem_gb: gigabytes.
        gpus_per_node: for a group.
        array_parallelism: groups at a time.
        setup: commands before it starts.
        additional_parameters: all else that sbatch takes, by its own names.
    """

    partition: str | None = None
    timeout_min: int = 60
    max_num_timeout: int = 20
    signal_delay_s: int = 120
    cpus_per_task: int | None = None
    mem_gb: int | None = None
    gpus_per_node: int | None = None
    array_parallelism: int = 64
    setup: list[str] | None = None
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    name: str = "${hydra.job.name}"


@dataclass
class HalvingConf:
    """Asynchronous successive halving, see docs/vectorized.md.

    Args:
        first: optimiser steps up to the first rung; null is no halving.
        eta: of the members that reach a rung the best 1/eta go on, to one at eta times its steps.
        metric: by which they are compared; there is only this one.
    """

    first: int | None = None
    eta: int = 4
    metric: str = "val/nll"


@dataclass
class VectorizedConf:
    """What `hydra.launcher` holds.

    Args:
        engine: that trains the groups.
        members_per_group: the most that a task of Ray or a job of SLURM trains; null chooses by what it costs.
        n_jobs: processes that train at a time, each a part of the jobs; -1 is as many as there are cores. Jobs with
            threads above 1 are trained by one process, and so are those on a GPU.
        max_members: that a process trains at once; null is as many as there is memory for. More run in waves.
        halving: when members are pruned.
        ray: the options of `engine=ray`.
        slurm: the options of `engine=slurm`.
    """

    _target_: str = "hydra_plugins.makemore_vectorized.vectorized_launcher.VectorizedLauncher"
    engine: Engine = Engine.local
    members_per_group: int | None = None
    n_jobs: int = -1
    max_members: int | None = None
    halving: HalvingConf = field(default_factory=HalvingConf)
    ray: RayConf = field(default_factory=RayConf)
    slurm: SlurmConf = field(default_factory=SlurmConf)


ConfigStore.instance().store(
    group="hydra/launcher", name="vectorized", node=VectorizedConf, provider="makemore_vectorized"
)


class VectorizedLauncher(BasicLauncher):
    """Hands batches of jobs on; all that it does is imported when there are some, as Hydra imports every plugin."""

    def __init__(self, **options: Any) -> None:
        # read from the config of the sweep, where what is left open has been set
        del options
        super().__init__()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of jobs, and return what came of each."""
        from makemore.sweeps.vectorized.batch import launch  # seconds

        return launch(self, job_overrides, initial_job_idx)


class QuickSweeper(BasicSweeper):
    """The basic sweeper without its check that each job composes, which takes a tenth of a second a job."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Leave it to the launcher."""
