"""Configs composed once: how Hydra 1.3 parses overrides, finds the files of a config and merges them.

Most tests compose a config of the same few files, of which only values differ. Without this a config takes 0.15 s of a
processor, with it a tenth of that.
"""

import copy
import pickle
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

CONF = Path(__file__).resolve().parents[1] / "conf"

_parse, _deepcopy = OverridesParser.parse_rule, DictConfig.__deepcopy__
_choices_so_far = defaults_list._create_interpolation_map
find_anew = config_loader_impl.create_defaults_list
merge_anew = ConfigLoaderImpl._compose_config_from_defaults_list

_found: dict[tuple[Any, ...], DefaultsList] = {}
_merged: dict[tuple[Any, ...], bytes] = {}


@cache
def _parsed_rule(text: str, rule: str) -> Any:
    return _parse(OverridesParser.create(), text, rule)


def parse_rule(_parser: OverridesParser, text: str, rule: str) -> Any:
    """Return a part of an override, or all of it, a copy of what the same text was parsed to before."""
    return copy.copy(_parsed_rule(text, rule))


def find(repo: Any, config_name: str | None, overrides_list: list[Any], **options: bool) -> DefaultsList:
    """Return the files of a config, found once for each choice of them, whatever values are overridden."""
    if _has_others(repo):
        return find_anew(repo, config_name, overrides_list, **options)
    overrides = Overrides(repo, overrides_list)
    values = [*overrides.config_overrides, *(each for each in overrides_list if each.is_sweep_override())]
    choices = tuple(each.input_line for each in overrides_list if each not in values)
    key = (_places(repo), config_name, choices, *options.values())
    if key not in _found:
        _found[key] = find_anew(repo, config_name, overrides_list, **options)
    found = _found[key]
    return DefaultsList(found.defaults, found.defaults_tree, overrides.config_overrides, found.overrides)


def choices_so_far(overrides: Overrides, among: list[Any], self_added: bool) -> Any:
    """Return the config that the names of files may refer to, which few do."""
    return _choices_so_far(overrides, among, self_added) if any(each.is_interpolation() for each in among) else None


def merge(loader: ConfigLoaderImpl, defaults: list[Any], repo: Any) -> Any:
    """Return the config of these files before values are overridden, a copy of what they were merged to before."""
    if _has_others(repo):
        return merge_anew(loader, defaults, repo)
    key = (_places(repo), repr(defaults))
    if key not in _merged:
        _merged[key] = pickle.dumps(merge_anew(loader, defaults, repo))
    return pickle.loads(_merged[key])


def deepcopy(config: DictConfig, memo: dict[int, Any]) -> DictConfig:
    """Return what `copy.deepcopy` does, several times as fast: a copy of the config below the same parent."""
    attributes = config.__dict__
    parent = attributes["_parent"]
    attributes["_parent"] = None
    try:
        copied: DictConfig | None = pickle.loads(pickle.dumps(config))
    except (pickle.PicklingError, AttributeError, TypeError):  # a value that cannot be pickled
        copied = None
    finally:
        attributes["_parent"] = parent
    if copied is None:
        return _deepcopy(config, memo)
    copied.__dict__["_parent"] = parent
    return copied


def _places(repo: Any) -> tuple[str, ...]:
    return tuple(source.full_path() for source in repo.get_sources())


def _has_others(repo: Any) -> bool:
    """Return whether files of a test are among those of a config, which it may change."""
    return any(source.scheme() == "file" and Path(source.path) != CONF for source in repo.get_sources())


def install() -> None:
    """Have Hydra compose so in this process."""
    DictConfig.__deepcopy__ = deepcopy  # type: ignore[method-assign]
    OverridesParser.parse_rule = parse_rule  # type: ignore[method-assign]
    config_loader_impl.create_defaults_list = find
    defaults_list._create_interpolation_map = choices_so_far
    ConfigLoaderImpl._compose_config_from_defaults_list = merge  # type: ignore[method-assign]
    # which takes its sources for others, and never changes them
    ConfigRepository.__deepcopy__ = lambda repo, _memo: copy.copy(repo)  # type: ignore[attr-defined]
