"""The configs of a batch of jobs, each kind of them composed once, and which jobs can be members of one group."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from makemore.building import instantiate
from makemore.data.batches import Minibatches
from makemore.draws import side_effects
from makemore.errors import UserError, first_line
from makemore.language_model import NeuralLanguageModel
from makemore.models import Network, build
from makemore.saved_config import flat, plain
from makemore.updates import has_functional_form
from makemore.vectorized.layout import Layout
from makemore.vectorized.member import MEMBER_KEYS
from makemore.vectorized.stack import Stack

log = logging.getLogger(__name__)


class Kind:
    """Jobs whose configs differ in the values of MEMBER_KEYS alone, and the config of the one that it is turned to.

    Composing takes Hydra 0.1 s, most of it for the defaults list, on which these values have no influence; so one job
    of a kind is composed, and the others by giving its config their values.

    Args:
        config: as Hydra composed it for one of them.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.turned_to: int | None = None
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(config)
        # a copy of Hydra's part, below the config
        self.hydra: Any = HydraConfig.instance().cfg
        HydraConfig.instance().cfg = before

    def turn_to(self, job: "Composed") -> None:
        """Let the config, and what `HydraConfig` is to have, be those of a job."""
        if self.turned_to == job.number:
            return
        self.turned_to = job.number
        with read_write(self.config), open_dict(self.config):
            for override in filter(_of_member, job.overrides):
                OmegaConf.update(self.config, override.key_or_group, override.value(), merge=True)
        task = [each for each in job.overrides if not each.key_or_group.startswith("hydra.")]
        for config in (self.config, self.hydra):
            with read_write(config.hydra), open_dict(config.hydra):
                config.hydra.overrides.task = [each.input_line for each in task]
                how = config.hydra.job.config.override_dirname
                config.hydra.job.override_dirname = get_overrides_dirname(
                    task, how.exclude_keys, how.item_sep, how.kv_sep
                )
                config.hydra.job.id = config.hydra.job.num = job.number

    @contextmanager
    def current(self, job: "Composed") -> Iterator[Path]:
        """Let Hydra's config and the log be a job's within the block, as Hydra has it; yields its directory."""
        self.turn_to(job)
        before, HydraConfig.instance().cfg = HydraConfig.instance().cfg, self.hydra
        try:
            hydra = self.hydra.hydra
            run_dir = Path(hydra.sweep.dir, hydra.sweep.subdir).absolute()
            for runtime in (self.config.hydra.runtime, hydra.runtime):
                with read_write(runtime), open_dict(runtime):
                    runtime.output_dir = str(run_dir)
            run_dir.mkdir(parents=True, exist_ok=True)
            configure_log(hydra.job_logging, hydra.verbose)
            yield run_dir
        finally:
            HydraConfig.instance().cfg = before


@dataclass(frozen=True)
class Composed:
    """A job of a batch.

    Args:
        number: of the job in the sweep.
        overrides: as they are understood.
        kind: with its config among others.
    """

    number: int
    overrides: list[Override]
    kind: Kind

    @property
    def lines(self) -> list[str]:
        """The overrides as they were given."""
        return [str(override.input_line) for override in self.overrides]

    def cfg(self) -> DictConfig:
        """Return a copy of its config, without Hydra's part."""
        self.kind.turn_to(self)
        config = self.kind.config
        copied = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        OmegaConf.copy_cache(from_config=config, to_config=copied)
        return copied


class Composer:
    """Composes configs as Hydra does, those of a kind once.

    Args:
        loader: Hydra's.
        master: the config of the sweep.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader = loader
        self.master = master
        self.parser = OverridesParser.create(config_loader=loader)
        self.kinds: dict[tuple[str, ...], Kind] = {}

    def compose(self, number: int, overrides: Sequence[str]) -> Composed:
        """Return a job.

        Raises:
            HydraException: it cannot be composed.
        """
        parsed = self.parser.parse_overrides(list(overrides))
        kind = tuple(each.key_or_group if _of_member(each) else str(each.input_line) for each in parsed)
        if kind not in self.kinds:
            self.kinds[kind] = Kind(self.loader.load_sweep_config(self.master, list(overrides)))
        return Composed(number, parsed, self.kinds[kind])


def _of_member(override: Override) -> bool:
    """Say whether an override only gives a key a value that members may differ in."""
    return (
        override.key_or_group in MEMBER_KEYS
        and not (override.is_add() or override.is_force_add() or override.is_delete())
        and override.package is None
    )


def groups_of(jobs: Sequence[Composed]) -> list[list[Composed]]:
    """Return the jobs that can be members of one group together; one that fits no group is alone."""
    groups: dict[str, list[Composed]] = {}
    for job in jobs:
        groups.setdefault(_shared(job) or f"alone: {job.number}", []).append(job)
    found = []
    for group in groups.values():
        found += [group] if len(group) == 1 or _fits(group[0].kind.config) else [[job] for job in group]
    return found


def _shared(job: Composed) -> str | None:
    """Return all but the values of MEMBER_KEYS, what refers to them included; None where something is missing."""
    job.kind.turn_to(job)
    config = job.kind.config
    try:
        values = flat(plain(config, [str(key) for key in config if key != "hydra"]))
    except OmegaConfBaseException:
        return None
    shared = {key: value for key, value in values.items() if key not in MEMBER_KEYS}
    return json.dumps(shared, sort_keys=True, default=repr)


def _fits(config: DictConfig) -> bool:
    """Say whether jobs with such a config can be members: they learn by gradient descent, by rules that we have."""
    hydra = config.hydra
    # what is called around a job, or at each step of one run
    if set(hydra.callbacks) != {"check"} or hydra.job.env_set or hydra.job.chdir or config.callbacks:
        return False
    if config.trainer.get("precision") not in (None, 32, "32", "32-true"):
        return False
    try:
        make_model, make_optimizer = (instantiate(config[group], group) for group in ("model", "optimizer"))
        if getattr(make_model, "func", None) is not NeuralLanguageModel:
            return False
        arguments = {key: value for key, value in make_model.keywords.items() if key not in ("architecture", "l2")}
        network = build(make_model.keywords["architecture"], 2, arguments, seed=0)
        # whatever the rates of the members are
        optimizer = make_optimizer(network.parameters(), lr=0.1)
    except (UserError, LookupError, TypeError, ValueError, RuntimeError):
        # by itself it says what is wrong
        return False
    return has_functional_form(optimizer) and _can_be_mapped(network, optimizer)


def _can_be_mapped(network: Network, optimizer: torch.optim.Optimizer) -> bool:
    what = type(network).__name__
    if effects := side_effects(network):
        log.warning("%s %s; its jobs run one by one", what, effects)
        return False
    stack = Stack([network], [optimizer], [1.0], Minibatches.members_dim, Layout([0], 1))
    tokens = torch.zeros((1, 1, 2, network.block_size + 1), dtype=torch.int64)
    try:
        stack.eager_steps()(Minibatches(0, tokens[..., :-1], tokens[..., -1]), [[0.1]])
    except RuntimeError as error:
        log.warning("%s cannot be mapped over members (%s); its jobs run one by one", what, first_line(error))
        return False
    return True
