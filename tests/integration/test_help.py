"""Checks that --help of every script prints help and does nothing else, and that unknown arguments are refused."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose
from omegaconf import OmegaConf
from trials import ROOT

from makemore.cli.main import HYDRA_COMMANDS
from makemore.errors import UserError
from makemore.overrides import hint
from makemore.system.files import CONF
from makemore.system.hydra_release import composing

SCRIPTS = [
    # each of Hydra's takes seconds; the default tier has one of them
    pytest.param(path.stem, marks=pytest.mark.full) if path.stem in ("evaluate", "sample", "score") else path.stem
    for path in sorted((ROOT / "scripts").glob("*.py"))
]
Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that does not stop at its arguments must not rewrite docs/lessons.md."""

    def begin(*_: object) -> None:
        raise UserError("the lessons began")

    monkeypatch.setattr("lesson_figures.experiments.Lessons", begin)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_all_that_happens(script: str, command: Command, tmp_path: Path) -> None:
    outcome = command(script, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"{script}.py" in outcome.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_unknown_argument_is_refused_before_anything_runs(script: str, command: Command, tmp_path: Path) -> None:
    outcome = command(script, "--no-such-option")
    assert outcome.code == 2
    assert "error: " in outcome.err
    assert list(tmp_path.iterdir()) == []


def block(name: str, heading: str) -> list[list[str]]:
    """Return the lines below a heading of a command's help, each in its columns."""
    text = OmegaConf.load(CONF / "hydra" / "help" / f"{name}.yaml").template
    found = re.search(rf"^{heading}.*:\n((?:  .+\n)+)", text, re.MULTILINE)
    assert found is not None
    return [re.split(r"\s{3,}", line.strip()) for line in found[1].splitlines()]


@pytest.mark.parametrize("name", HYDRA_COMMANDS)
def test_help_has_five_examples_that_compose_and_keys_that_there_are(name: str) -> None:
    examples = [shlex.split(line) for line, *_ in block(name, "Examples")]
    assert len(examples) == 5
    with composing():
        for makemore, command, *arguments in examples:
            assert (makemore, command) == ("makemore", name)
            overrides = [argument for argument in arguments if argument != "-m"]
            # a sweep composes with the first of its values
            compose(name, [each if "[" in each else each.split(",")[0] for each in overrides])
        cfg = compose(name)
    for key, meaning in block(name, "Keys"):
        assert key in hint(cfg, key)
        assert meaning


@pytest.mark.parametrize("name", ["export", "mix", "playground", "report"])
def test_help_of_the_others_has_five_examples_too(name: str, command: Command) -> None:
    assert command(name, "--help").out.count(f"\n  makemore {name} ") == 5


def test_without_arguments_the_lessons_are_run(command: Command) -> None:
    assert command("lessons").error == "error: the lessons began"
    assert command("lessons", "part3", "part5").error == "error: the lessons began"
    assert "SECTION must be one of counting, bigram" in command("lessons", "part4").error
