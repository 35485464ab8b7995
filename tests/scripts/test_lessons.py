"""Checks every figure of the lessons: on a text with their bigram counts, and on their own file where it is."""

import os
from pathlib import Path

import pytest

from lesson_figures.comparison import Figure, markdown
from lesson_figures.experiments import Lessons
from lesson_figures.guide import SECTIONS, with_figures


def disagreeing(figures: list[Figure]) -> str:
    return markdown([figure for figure in figures if not figure.agrees])


NOTHING = markdown([])
HAS_FILE = pytest.mark.skipif(
    "MAKEMORE_NAMES" not in os.environ, reason="MAKEMORE_NAMES names no copy of the lessons' file"
)


@pytest.fixture
def eulerian(lesson_text: Path, tmp_path: Path) -> Lessons:
    return Lessons(["data=text", f"data.path={lesson_text}"], tmp_path)


@pytest.mark.full
@pytest.mark.usefixtures("no_drawing")
def test_counting_follows_from_the_bigram_table(eulerian: Lessons) -> None:
    figures = eulerian.counting()
    assert len(figures) == 15
    assert disagreeing(figures) == NOTHING


def test_the_neural_bigram_follows_from_the_bigram_table(eulerian: Lessons) -> None:
    figures = eulerian.bigram()
    assert len(figures) == 17
    assert disagreeing(figures) == NOTHING


def test_the_first_words_are_those_of_the_shipped_names_too(tmp_path: Path) -> None:
    lessons = Lessons(["data=names"], tmp_path)
    assert disagreeing([*lessons.first_word(), *lessons.first_words()]) == NOTHING


@pytest.mark.full
@HAS_FILE
@pytest.mark.usefixtures("no_drawing")
def test_all_figures_on_the_lessons_own_file(tmp_path: Path) -> None:
    lessons = Lessons(["data=makemore"], tmp_path)
    figures = [figure for section in ("counting", "bigram", "mlp") for figure in SECTIONS[section](lessons)]
    assert disagreeing(figures) == NOTHING


def test_a_figure_agrees_within_its_tolerance_and_infinities_with_themselves() -> None:
    def agrees(theirs: list[float] | str, ours: list[float] | str) -> bool:
        return Figure("L0", "what", theirs, ours, 0.01, "command").agrees

    assert agrees([1.0, float("inf")], [1.005, float("inf")])
    assert not agrees([1.0], [1.02])
    assert not agrees([float("inf")], [1.0])
    assert not agrees([1.0], [1.0, 2.0])
    assert agrees("mor axx", "mor axx")
    assert not agrees("mor axx", "mor axy")
    assert "**no**" in markdown([Figure("L0", "what", [1.0], [2.0], 0.01, "command")])


def test_the_figures_of_a_section_are_written_in_their_places_alone() -> None:
    page = (Path(__file__).parents[2] / "docs" / "lessons.md").read_text()
    figures = [
        Figure("L9", r"a \\1 figure", [1.0], [1.25], 0.5, "command"),
        Figure("L9", "names", "a", "b", 0, "command"),
    ]
    lines = with_figures(page, "part3", figures).split("\n")
    assert lines.count(r"| a \\1 figure | 1.00 | 1.25 |") == 1
    assert lines.count(r"| L9 | a \\1 figure | 1.00 | 1.25 | 0.5 | `command` |") == 1
    assert [line for line in lines if "names | a | b" in line] == ["| L9 | names | a | b | equal **no** | `command` |"]
    assert with_figures("\n".join(lines), "part3", figures) == "\n".join(lines)
    others = [name for name in SECTIONS if name != "part3"]
    for name in others:
        own = page.split(f"<!-- {name} -->")[1].split(f"<!-- end of {name} -->")[0]
        assert own in "\n".join(lines)
