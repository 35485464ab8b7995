"""Compose the configs of a batch of jobs, and find the jobs that can be members of one group."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from makemore.data.batches import Minibatches
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError, first_line
from makemore.models.network import trial_tokens
from makemore.runs.assemble import make_model
from makemore.runs.planned_numbers import planned
from makemore.runs.saved_config import flat
from makemore.sweeps.choices import set_overrides
from makemore.sweeps.vectorized.layout import Layout
from makemore.sweeps.vectorized.member import MEMBER_KEYS
from makemore.sweeps.vectorized.stack import Stack, blank_minibatches
from makemore.training.draws import side_effects
from makemore.training.module import NeuralLanguageModel
from makemore.training.optimizers import has_functional_form

log = logging.getLogger(__name__)


class ConfigTemplate:
    """The config of jobs that differ in the values of MEMBER_KEYS alone, filled in for one of them at a time.

    Composing a config takes Hydra 0.1 s, most of it for the defaults list, which these values do not change. So one
    job is composed by Hydra, and the others are made from its config by setting their values.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.filled_in_for: int | None = None
        shared = flat(OmegaConf.to_container(OmegaConf.masked_copy(config, _keys(config)), resolve=False))
        shared = {key: value for key, value in shared.items() if key not in MEMBER_KEYS}
        self.references = [key for key, value in shared.items() if "${" in repr(value)]
        constants = {key: value for key, value in shared.items() if key not in self.references}
        self.constants = json.dumps(constants, sort_keys=True, default=repr)
        self.is_complete = "???" not in constants.values()

    def fill_in(self, job: "ComposedJob") -> None:
        """Set the values of a job in the config."""
        if self.filled_in_for == job.number:
            return
        self.filled_in_for = job.number
        hydra = self.config.hydra
        with read_write(self.config), open_dict(self.config), read_write(hydra), open_dict(hydra):
            for override in filter(_sets_member_key, job.overrides):
                OmegaConf.update(self.config, override.key_or_group, override.value(), merge=True)
            hydra.job.num, hydra.job.id = job.number, str(job.number)
        set_overrides(hydra, job.overrides)


@dataclass(frozen=True)
class ComposedJob:
    """A job of a batch with its config."""

    number: int  # of the job in the sweep
    overrides: list[Override]  # as Hydra parsed them
    template: ConfigTemplate  # has the job's config when it is filled in

    @property
    def lines(self) -> list[str]:
        """The overrides as they were given."""
        return [str(override.input_line) for override in self.overrides]

    def cfg(self) -> DictConfig:
        """Return a copy of its config, without Hydra's part."""
        self.template.fill_in(self)
        config = self.template.config
        copied = OmegaConf.masked_copy(config, _keys(config))
        OmegaConf.copy_cache(from_config=config, to_config=copied)
        return copied

    def shared(self) -> str | None:
        """Return its config but for MEMBER_KEYS, with references resolved, as JSON; None where a value is missing."""
        self.template.fill_in(self)
        config = self.template.config
        try:
            values = [repr(OmegaConf.select(config, key, throw_on_missing=True)) for key in self.template.references]
        except OmegaConfBaseException:
            return None
        return self.template.constants + json.dumps(values) if self.template.is_complete else None

    @contextmanager
    def active(self, writing: bool = True) -> Iterator[Path]:
        """Make Hydra's config that of the job within the block; yields the job's directory.

        With `writing` the directory is made, and has the log.
        """
        self.template.fill_in(self)
        instance: Any = HydraConfig.instance()
        before, instance.cfg = instance.cfg, self.template.config
        try:
            hydra = self.template.config.hydra
            run_dir = Path(hydra.sweep.dir, hydra.sweep.subdir).absolute()
            with read_write(hydra.runtime), open_dict(hydra.runtime):
                hydra.runtime.output_dir = str(run_dir)
            if writing:
                run_dir.mkdir(parents=True, exist_ok=True)
                configure_log(hydra.job_logging, hydra.verbose)
            yield run_dir
        finally:
            instance.cfg = before


class Composer:
    """Composes the configs of jobs as Hydra does, once for all that share a template."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader = loader
        self.master = master
        self.parser = OverridesParser.create(config_loader=loader)
        self.templates: dict[tuple[str, ...], ConfigTemplate] = {}

    def compose(self, number: int, overrides: Sequence[str]) -> ComposedJob:
        """Return a job; raise `HydraException` where it cannot be composed."""
        parsed = self.parser.parse_overrides(list(overrides))
        key = tuple(each.key_or_group if _sets_member_key(each) else str(each.input_line) for each in parsed)
        if key not in self.templates:
            self.templates[key] = ConfigTemplate(self.loader.load_sweep_config(self.master, list(overrides)))
        return ComposedJob(number, parsed, self.templates[key])


def _keys(config: DictConfig) -> list[str]:
    return [str(key) for key in config if key != "hydra"]


def _sets_member_key(override: Override) -> bool:
    """Return whether an override only sets a key in which members may differ."""
    return (
        override.key_or_group in MEMBER_KEYS
        and not (override.is_add() or override.is_force_add() or override.is_delete())
        and override.package is None
    )


def groups_of(jobs: Sequence[ComposedJob]) -> list[list[ComposedJob]]:
    """Return the jobs in groups that can be trained together; a job that fits no group is one of its own."""
    groups: dict[str, list[ComposedJob]] = {}
    for job in jobs:
        groups.setdefault(job.shared() or f"alone: {job.number}", []).append(job)
    found = []
    for group in groups.values():
        found += [group] if len(group) == 1 or _fits(group[0].template.config) else [[job] for job in group]
    return found


# values of the keys in which members differ
_HARMLESS = {"seed": 0, "optimizer.lr": 0.1, "model.l2": 0.0, "scheduler.gamma": 1.0, "scheduler.milestones": []}


def _fits(config: DictConfig) -> bool:
    """Return whether jobs with such a config can be members: trained by gradient descent, with rules that we have."""
    hydra = config.hydra
    # callbacks and settings that act on one job or one run
    if set(hydra.callbacks) != {"check"} or hydra.job.env_set or hydra.job.chdir or config.callbacks:
        return False
    if set(config.trainer) - {"_target_", "max_steps", "accelerator"}:
        return False
    # whatever the values of the members are
    config = planned(OmegaConf.masked_copy(config, _keys(config)), tokens=1)
    for key, value in _HARMLESS.items():
        if OmegaConf.select(config, key) is not None:
            OmegaConf.update(config, key, value)
    try:
        model = make_model(config, Vocabulary("a"))
        if type(model) is not NeuralLanguageModel:
            return False
        (optimizer,), _ = model.configure_optimizers()
    except (UserError, LookupError, TypeError, ValueError, RuntimeError):
        # a job by itself reports the error
        return False
    return has_functional_form(optimizer) and _can_be_mapped(model, optimizer)


def _can_be_mapped(model: NeuralLanguageModel, optimizer: torch.optim.Optimizer) -> bool:
    network = model.network
    what = type(network).__name__
    if effects := side_effects(network):
        log.warning("%s %s in training; its jobs run one by one", what, " and ".join(effects))
        return False
    stack = Stack([network], [optimizer], [model.step_options()], [1.0], Minibatches.members_dim, Layout([0], 1))
    try:
        stack.eager_steps()(blank_minibatches(2, network, trial_tokens(network).shape[1]), [[0.1]])
    except RuntimeError as error:
        log.warning("%s cannot be mapped over members (%s); its jobs run one by one", what, first_line(error))
        return False
    return True
