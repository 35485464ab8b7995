"""Checks what is called differently in the releases of Hydra and OmegaConf."""

import hydra
from omegaconf import OmegaConf

from makemore.system.hydra_release import composing, register_resolver


def test_configs_of_the_project_are_composed() -> None:
    with composing():
        assert hydra.compose("train", ["seed=7"]).seed == 7


def test_a_resolver_takes_the_place_of_one_of_its_name() -> None:
    for number in (1, 2):
        register_resolver("numbered", lambda value, number=number: f"{value}{number}")
    try:
        assert OmegaConf.create({"a": "${numbered:x}"}).a == "x2"
    finally:
        OmegaConf.clear_resolver("numbered")
