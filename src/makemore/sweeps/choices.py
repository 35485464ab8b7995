"""Sweeps over the choices of a group whose keys differ: a job whose choices lack a key fails by name, the others run.

Launchers, sweepers and their worker processes all compose a job by Hydra's config loader, so that is what changes.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import hydra._internal.hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

# the key of a job's config with the reason for which it may not run
REFUSAL = "refusal"


class JobLoader(ConfigLoaderImpl):
    """Hydra's loader, which leaves it to the jobs of a sweep whether keys fit the choices of groups.

    The config of a sweep itself, made of the default choices, lacks those that do not fit; so does that of a job,
    which has a REFUSAL then.
    """

    def _load_configuration_impl(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, *args: Any, **others: Any
    ) -> DictConfig:
        """Compose a config, by whatever way it is asked for; that of a sweep also where overrides do not fit it."""
        compose = super()._load_configuration_impl
        try:
            return compose(config_name, overrides, run_mode, *args, **others)
        except ConfigCompositionException:
            if run_mode != RunMode.MULTIRUN:
                raise
            # 1.4 has them parsed already
            others.pop("parsed_overrides", None)
            given = self._parsed(overrides)
            config = compose(config_name, self._choices(given), run_mode, *args, **others)
            if not (unfit := _unfit(config, given)):
                raise
        config = compose(config_name, _lines(given, without=unfit), run_mode, *args, **others)
        set_overrides(config.hydra, given)
        return config

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Compose the config of a job, with a REFUSAL where its values do not fit its choices."""
        try:
            return super().load_sweep_config(master_config, sweep_overrides)
        except ConfigCompositionException:
            given = self._parsed(sweep_overrides)
            config = super().load_sweep_config(master_config, self._choices(given))
            if not (unfit := _unfit(config, given)) or (refusal := _refusal(config, unfit[0])) is None:
                raise
        config = super().load_sweep_config(master_config, _lines(given, without=unfit))
        with open_dict(config):
            config[REFUSAL] = refusal
        set_overrides(config.hydra, given)
        return config

    def _parsed(self, overrides: Sequence[str]) -> list[Override]:
        return OverridesParser.create(config_loader=self).parse_overrides(list(overrides))

    def _choices(self, given: Sequence[Override]) -> list[str]:
        """Return the overrides that choose, and Hydra's own."""
        return [
            str(each.input_line) for each in given if each.is_hydra_override() or is_group(self, each.key_or_group)
        ]


def register() -> None:
    """Let Hydra compose by a `JobLoader` in this process; it has no hook for that."""
    hydra._internal.hydra.ConfigLoaderImpl = JobLoader  # type: ignore[attr-defined]
    # 1.4 refuses a sweep with other options of its launcher than its jobs have; `launchers.set_defaults` gives it some
    ConfigLoaderImpl._ensure_sweep_config_controller_unchanged = staticmethod(lambda **_: None)  # type: ignore[attr-defined]


def is_group(loader: ConfigLoader, key: str) -> bool:
    """Return whether a key is that of a group of configs, of files or of directories of them."""
    return bool(loader.get_group_options(key, results_filter=None))


def _lines(given: Iterable[Override], without: Sequence[Override] = ()) -> list[str]:
    return [str(each.input_line) for each in given if each not in without]


def set_overrides(hydra: DictConfig, given: Sequence[Override]) -> None:
    """Let Hydra's part of a config know all overrides that were given, but its own."""
    task = [each for each in given if not each.is_hydra_override()]
    how = hydra.job.config.override_dirname
    # as Hydra 1.3 joins them; 1.4 does so by a resolver
    named = sorted(_lines(each for each in task if each.key_or_group not in how.exclude_keys))
    with read_write(hydra), open_dict(hydra):
        hydra.overrides.task = _lines(task)
        hydra.job.override_dirname = how.item_sep.join(named).replace("=", how.kv_sep)


def _unfit(config: DictConfig, given: Sequence[Override]) -> list[Override]:
    """Return the overrides that do not fit the choices of a config: of keys that it lacks, or added that it has."""
    values = [
        each
        for each in given
        if not (each.is_hydra_override() or each.is_force_add() or each.key_or_group in config.hydra.runtime.choices)
    ]
    return [each for each in values if each.is_add() == _has(config, each.key_or_group)]


def _has(config: DictConfig, key: str) -> bool:
    """Return whether a config has a dotted key, if only for a value that is still to be given."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return isinstance(node, DictConfig) and name in node.keys()  # noqa: SIM118 (`in` is false for such a value)


def _refusal(config: DictConfig, unfit: Override) -> str | None:
    """Return in one line why an override does not fit, by the choice that its key is of; None for a key of none."""
    choices: dict[str, Any] = config.hydra.runtime.choices
    parts = unfit.key_or_group.split(".")
    for length in range(len(parts) - 1, 0, -1):
        group, key = "/".join(parts[:length]), ".".join(parts[length:])
        if group in choices:
            what = f"{group}={choices[group]}"
            if unfit.is_add():
                return f"{what} has {key} already; take out the +"
            present = [str(name) for name in config.get(group) or () if not str(name).startswith("_")]
            near = difflib.get_close_matches(key, present, n=1)
            mend = (
                f"did you mean {'.'.join([*parts[:length], *near])}?"
                if near
                else f"it has {', '.join(present) or 'no keys'}"
            )
            return f"{what} has no {key}; {mend}"
    return None
