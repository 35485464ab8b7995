"""What a sweep will run, as far as its sweeper lets one know before it starts."""

from collections.abc import Iterator
from dataclasses import dataclass

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.utils import filter_overrides
from hydra.errors import HydraException
from omegaconf import DictConfig

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
# the same, for the vectorised launcher
QUICK_SWEEPER = "hydra_plugins.makemore_vectorized.quick_sweeper.QuickSweeper"
BASIC_SWEEPERS = (BASIC_SWEEPER, QUICK_SWEEPER)


@dataclass(frozen=True)
class Plan:
    """What a sweep will run.

    Args:
        keys: the swept keys, in the order in which they are given.
        fixed: the other keys that are given.
        jobs: the overrides of each job; None where a search makes them up as it goes.
        total: how many there will be; None where the sweeper does not say.
        example: the overrides of a job like those of a search, each swept key at its first value.
    """

    keys: list[str]
    fixed: list[str]
    jobs: list[list[str]] | None
    total: int | None
    example: list[str]


def make_plan(config: DictConfig) -> Plan:
    """Return what the sweep of a composed config, Hydra's part included, will run.

    Raises:
        HydraException: overrides that the sweeper cannot read.
    """
    sweeper = config.hydra.sweeper
    params = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides = parser.parse_overrides([*params, *config.hydra.overrides.task])
    # as sweepers have it: the command line before the config's own space
    by_key = {override.get_key_element(): override for override in overrides}
    swept = [override.key_or_group for override in by_key.values() if override.is_sweep_override()]
    fixed = [override.key_or_group for override in by_key.values() if not override.is_sweep_override()]
    example = [_first(override) for override in by_key.values()]
    if sweeper._target_ != BASIC_SWEEPER:
        return Plan(swept, fixed, None, sweeper.get("n_trials"), example)
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    (batch,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    jobs = [list(job) for job in dict.fromkeys(tuple(filter_overrides(job)) for job in batch)]
    return Plan(swept, fixed, jobs, len(jobs), example)


def compositions(config: DictConfig, plan: Plan) -> Iterator[DictConfig]:
    """Yield the config of each job, of the example where there is no list, as Hydra will compose it."""
    loader = GlobalHydra.instance().config_loader()
    for overrides in plan.jobs or [plan.example]:
        yield loader.load_sweep_config(config, overrides)


def _first(override: Override) -> str:
    """Return an override without its sweep: its first value."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return f"{key}={override.get_value_element_as_str()}"
    if override.is_discrete_sweep():
        for first in override.sweep_string_iterator():
            return f"{key}={first}"
        raise HydraException(f"{override.input_line}: there is no such value; give one at least")
    value = override.value()
    if not isinstance(value, IntervalSweep):
        raise HydraException(f"{override.input_line}: such a sweep is not known here")
    return f"{key}={value.start}"
