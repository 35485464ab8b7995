"""`hydra/launcher=vectorized`: jobs that differ in what can be a tensor over members are trained at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn


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
        n_jobs: processes that train at a time, each a part of the jobs; -1 is as many as there are cores. Jobs with
            threads above 1 are trained by one process, and so are those on a GPU.
        max_members: that a process trains at once; null is as many as there is memory for. More run in waves.
        halving: when members are pruned.
    """

    _target_: str = "hydra_plugins.makemore_vectorized.vectorized_launcher.VectorizedLauncher"
    n_jobs: int = -1
    max_members: int | None = None
    halving: HalvingConf = field(default_factory=HalvingConf)


ConfigStore.instance().store(
    group="hydra/launcher", name="vectorized", node=VectorizedConf, provider="makemore_vectorized"
)


class VectorizedLauncher(BasicLauncher):
    """Hands batches of jobs on; all that it does is imported when there are some, as Hydra imports every plugin."""

    def __init__(self, n_jobs: int, max_members: int | None, halving: HalvingConf) -> None:
        # read from the config of the sweep, where what is left open has been set
        del n_jobs, max_members, halving
        super().__init__()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of jobs, and return what came of each."""
        from makemore.sweeps.vectorized.launching import launch  # seconds

        return launch(self, job_overrides, initial_job_idx)


class QuickSweeper(BasicSweeper):
    """The basic sweeper without its check that each job composes, which takes a tenth of a second a job."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Leave it to the launcher."""
