"""Checks that a config composed by the shortcuts of hydra_shortcuts.py is the one that Hydra composes."""

import copy
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra import initialize_config_dir
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import OmegaConf

if not hydra.__version__.startswith("1.3."):
    pytest.skip("they are those of Hydra 1.3", allow_module_level=True)

import hydra_shortcuts


def composed(overrides: list[str], mode: RunMode, conf: Path = hydra_shortcuts.CONF) -> Any:
    with initialize_config_dir(str(conf), version_base="1.3"):
        return GlobalHydra.instance().config_loader().load_configuration("train", overrides, mode)


@pytest.mark.parametrize(
    ("overrides", "mode"),
    [
        (["model=mlp", "seed=2"], RunMode.RUN),
        # of the same files
        (["seed=3", "model.hidden_dim=5", "model=mlp", "~optimizer.lr", "+trainer.profiler=simple"], RunMode.RUN),
        (["model=mlp", "seed=1,2", "model.hidden_dim=5,6"], RunMode.MULTIRUN),
        (["model=mlp,lstm", "sweep=lr"], RunMode.MULTIRUN),
        (["logger=[csv,tensorboard]", "~callbacks", "hydra.job.num=3"], RunMode.RUN),
    ],
)
def test_a_config_is_the_one_that_hydra_composes(
    overrides: list[str], mode: RunMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = composed(overrides, mode), composed(overrides, mode)
    monkeypatch.setattr(config_loader_impl, "create_defaults_list", hydra_shortcuts.find_anew)
    monkeypatch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", hydra_shortcuts.merge_anew)
    expected = composed(overrides, mode)
    for config in (first, second):
        assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(expected)
        assert OmegaConf.is_struct(config)


def test_a_change_of_a_config_is_not_in_the_next() -> None:
    config = composed([], RunMode.RUN)
    config.seed = -5
    config.hydra.runtime.choices["model"] = "none"
    assert composed([], RunMode.RUN).seed != -5
    assert composed([], RunMode.RUN).hydra.runtime.choices["model"] != "none"


def test_what_cannot_be_composed_is_an_error_each_time() -> None:
    for _ in range(2):
        with pytest.raises(ConfigCompositionException, match="optimiser"):
            composed(["optimiser=sgd", "model=mlp"], RunMode.RUN)


def test_a_deep_copy_shares_nothing_below_it_and_keeps_its_parent() -> None:
    config = OmegaConf.create({"a": {"b": {"c": [1, {"d": "${..e}"}], "e": 5}}, "e": 6}, flags={"allow_objects": True})
    OmegaConf.set_readonly(config.a.b, True)
    for value in (None, lambda: 0):  # the second cannot be pickled
        config.f = value
        copied = copy.deepcopy(config)
        assert copied == config
        copied.a.b._set_flag("readonly", False)
        copied.a.b.e = 7
        assert (config.a.b.e, copied.a.b.e) == (5, 7)
        assert OmegaConf.is_readonly(config.a.b)
    part = copy.deepcopy(config.a)
    assert part._get_parent() is config
    assert part.b._get_parent() is part


def test_files_of_a_test_may_change(tmp_path: Path) -> None:
    for seed in (1, 2):
        (tmp_path / "train.yaml").write_text(f"seed: {seed}\n")
        assert composed([], RunMode.RUN, tmp_path).seed == seed
