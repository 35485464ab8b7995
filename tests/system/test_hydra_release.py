"""Checks what is called differently in the releases of Hydra and OmegaConf."""

import argparse
import sys
from typing import Any

import hydra
import pytest
from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from makemore.system.hydra_release import args_parser, composing, register_resolver


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


def check_help(parser: argparse.ArgumentParser, action: argparse.Action) -> None:
    try:
        if action.help:
            parser._get_formatter()._expand_help(action)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError("badly formed help string") from error


def test_a_command_line_is_parsed_under_the_check_of_python_3_14(monkeypatch: pytest.MonkeyPatch) -> None:
    add_argument = argparse.ArgumentParser.add_argument

    def checked(parser: Any, *args: Any, **kwargs: Any) -> argparse.Action:
        action = add_argument(parser, *args, **kwargs)
        parser._check_help(action)
        return action

    monkeypatch.setattr(argparse.ArgumentParser, "_check_help", check_help, raising=False)
    monkeypatch.setattr(argparse.ArgumentParser, "add_argument", checked)
    if hydra.__version__.startswith("1.3."):
        with pytest.raises(ValueError, match="badly formed"):
            get_args_parser()
    for parser in (args_parser(), sys.modules["hydra.main"].get_args_parser()):  # type: ignore[attr-defined]
        assert parser.parse_args(["-m", "seed=0,1"]).overrides == ["seed=0,1"]
    assert argparse.ArgumentParser._check_help is check_help  # type: ignore[attr-defined]
