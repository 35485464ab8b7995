"""Checks that --help of every script prints help and does nothing else, and that unknown arguments are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trials import ROOT

from makemore.errors import UserError

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
    assert f"{script}.py" in outcome.out or "Hydra" in outcome.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_unknown_argument_is_refused_before_anything_runs(script: str, command: Command, tmp_path: Path) -> None:
    outcome = command(script, "--no-such-option")
    assert outcome.code == 2
    assert f"{script}.py: error: " in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_without_arguments_the_lessons_are_run(command: Command) -> None:
    assert command("lessons").error == "error: the lessons began"
    assert command("lessons", "part3", "part5").error == "error: the lessons began"
    assert "SECTION must be one of counting, bigram" in command("lessons", "part4").error
