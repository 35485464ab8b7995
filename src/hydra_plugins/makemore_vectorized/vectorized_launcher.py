"""`hydra/launcher=vectorized`: jobs that differ in what can be a tensor over members are trained at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class VectorizedConf:
    """What `hydra.launcher` holds.

    Args:
        max_members: of a group at the most; null is as many as there is memory for. More jobs run in waves.
    """

    _target_: str = "hydra_plugins.makemore_vectorized.vectorized_launcher.VectorizedLauncher"
    max_members: int | None = None


ConfigStore.instance().store(
    group="hydra/launcher", name="vectorized", node=VectorizedConf, provider="makemore_vectorized"
)


class VectorizedLauncher(Launcher):
    """Hands batches of jobs on; all that it does is imported when there are some, as Hydra imports every plugin."""

    def __init__(self, max_members: int | None) -> None:
        self.max_members = max_members

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra knows."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of jobs, and return what came of each."""
        from makemore.vectorized.launching import launch  # seconds

        return launch(
            self.hydra_context, self.config, self.task_function, self.max_members, job_overrides, initial_job_idx
        )
