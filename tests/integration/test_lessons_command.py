"""Checks scripts/lessons.py: its arguments, and that it runs the lessons of the package beside it."""

from collections.abc import Callable
from typing import Any

import pytest

from lesson_figures.experiments import Lessons
from makemore.errors import UserError

Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_lesson_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def counting(_lessons: Lessons) -> None:
        raise UserError("counting was called")

    monkeypatch.setattr(Lessons, "counting", counting)


def test_help_runs_nothing(command: Command) -> None:
    outcome = command("lessons", "--help")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("usage: lessons.py [-h]")


def test_an_unknown_argument_is_refused(command: Command) -> None:
    outcome = command("lessons", "data=names")
    assert outcome.code == 2
    assert "unrecognized arguments: data=names" in outcome.err


def test_without_arguments_the_lessons_are_run(command: Command) -> None:
    assert command("lessons").error == "error: counting was called"
