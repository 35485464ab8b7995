"""The jobs of a sweep, as far as its sweeper determines them in advance, and whether any of them could run."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.utils import filter_overrides
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from makemore.errors import UserError
from makemore.overrides import describe
from makemore.sweeps.choices import REFUSAL, is_group

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
# the same for the vectorised launcher
QUICK_SWEEPER = "hydra_plugins.makemore_vectorized.vectorized_launcher.QuickSweeper"
BASIC_SWEEPERS = (BASIC_SWEEPER, QUICK_SWEEPER)


@dataclass(frozen=True)
class Plan:
    """The jobs of a sweep."""

    keys: list[str]  # the swept keys, in the order in which they are given
    fixed: list[str]  # the other keys that are given
    jobs: list[list[str]] | None  # the overrides of each job; None for a search, which draws them one after the other
    total: int | None  # the number of jobs; None where the sweeper does not say
    examples: list[list[str]]  # the overrides of jobs with each choice of swept groups, of other keys the first


def make_plan(config: DictConfig) -> Plan:
    """Return the jobs of a sweep, given its config with Hydra's part.

    Overrides that the sweeper cannot read raise `HydraException`; those that no sweep can have, `UserError`.
    """
    task = task_overrides(config)
    if any(override.startswith("resume=") for override in task):
        raise UserError(
            "resume takes one run; take out -m, or resume a sweep by its own command and hydra.sweep.dir=DIR"
        )
    # as text, for its interpolations cannot be resolved yet
    given = OmegaConf.to_yaml(config.hydra.overrides.hydra)
    if nested := re.search(r"hydra\.sweep\.subdir=.*/.*", given):
        raise UserError(f"{nested[0]}: the directory of a job is one name; take out the /")
    sweeper = config.hydra.sweeper
    params = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    loader = GlobalHydra.instance().config_loader()
    parser = OverridesParser.create(config_loader=loader)
    overrides = parser.parse_overrides([*params, *task])
    # the command line replaces the config's own space, as in the sweepers
    by_key = {override.get_key_element(): override for override in overrides}
    swept = [override.key_or_group for override in by_key.values() if override.is_sweep_override()]
    fixed = [override.key_or_group for override in by_key.values() if not override.is_sweep_override()]
    values = [_values(each, of_group=is_group(loader, each.key_or_group)) for each in by_key.values()]
    examples = [list(each) for each in product(*values)]
    if sweeper._target_ != BASIC_SWEEPER:
        return Plan(swept, fixed, None, sweeper.get("n_trials"), examples)
    (batch,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    jobs = [list(job) for job in dict.fromkeys(tuple(filter_overrides(job)) for job in batch)]
    return Plan(swept, fixed, jobs, len(jobs), examples)


def task_overrides(config: DictConfig) -> list[str]:
    """Return the overrides that were given, but Hydra's own, as they were given: one may refer to a swept key."""
    overrides = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    assert isinstance(overrides, list)
    return [str(override) for override in overrides]


def check_jobs(config: DictConfig, plan: Plan, check: Callable[[DictConfig], list[str]]) -> list[str]:
    """Raise what a check finds wrong with the first job of a sweep, unless another passes it; return what that gives.

    It takes the config of a job, or of an example for a search, as Hydra will compose it.
    """
    first: Exception | None = None
    loader = GlobalHydra.instance().config_loader()
    for overrides in plan.jobs or plan.examples:
        try:
            composed = loader.load_sweep_config(config, overrides)
            if REFUSAL in composed:
                raise UserError(composed[REFUSAL])
            return check(composed)
        except (UserError, HydraException, OmegaConfBaseException) as error:
            first = first or error
    assert first is not None
    raise UserError(f"none of the sweep's jobs could run; the first: {describe(first)}") from first


def _values(override: Override, of_group: bool) -> list[str]:
    """Return an override with the first of its values, or with each choice of a group."""
    key = override.get_key_element()
    if override.is_discrete_sweep():
        values = [f"{key}={value}" for value in override.sweep_string_iterator()]
        if not values:
            raise HydraException(f"{override.input_line}: has no values; give at least one")
        return values if of_group else values[:1]
    value = override.value()
    return [f"{key}={value.start if isinstance(value, IntervalSweep) else override.get_value_element_as_str()}"]
