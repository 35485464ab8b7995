"""What the command line gave a run, of a sweep's job what its sweep varies: what one compares runs by."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from makemore.overrides import differing
from makemore.runs.saved_config import saved_config_of
from makemore.training.loggers import hyperparameters

log = logging.getLogger(__name__)

# what does not act on the model
_BESIDE = {"callbacks", "logger", "name", "num_samples", "resume", "task", "watch"}


@dataclass(frozen=True)
class Given:
    """The keys and choices that a run was given, with their values."""

    is_job: bool  # of a sweep
    values: dict[str, Any]

    def hyperparameters(self, cfg: DictConfig) -> dict[str, float | str]:
        """Return them for TensorBoard's HPARAMS, numbers as `cfg` has them and choices as text."""
        found = {}
        for key, choice in self.values.items():
            if key.partition(".")[0] not in _BESIDE:
                value = OmegaConf.select(cfg, key)
                # the name of a choice stands for its config, which may be empty
                is_choice = choice is not None and (value is None or OmegaConf.is_dict(value))
                found[key] = str(choice) if is_choice else value
        return hyperparameters(found)


def read_given(run_dir: Path) -> Given | None:
    """Return what a run was given; None where Hydra has not started it, or its part of the config is damaged.

    A job has the keys in which its sweep's jobs differ, any other run all of the command line and its model's name.
    """
    try:
        if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
            # reading a file would be felt by thousands of jobs
            hydra: Any = HydraConfig.get()
        else:
            hydra = yaml.load(saved_config_of(run_dir).with_name("hydra.yaml").read_bytes(), yaml.CSafeLoader)["hydra"]
        is_job = hydra["mode"] in (RunMode.MULTIRUN, RunMode.MULTIRUN.name)
        fixed = hydra["job"]["config"]["override_dirname"]["exclude_keys"] if is_job else ()
        model = {} if is_job else {"model": hydra["runtime"]["choices"]["model"]}
        return Given(is_job, model | differing(hydra["overrides"]["task"], fixed))
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever a damaged file makes the parsers raise
        log.warning("%s: cannot be read (%s)", saved_config_of(run_dir).with_name("hydra.yaml"), type(error).__name__)
        return None
