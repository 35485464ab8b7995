"""The sections of docs/lessons.md: their text is written by hand, the tables between comments by lessons.py."""

from collections.abc import Callable, Sequence

from lesson_figures.comparison import Figure, markdown, short_markdown, with_table
from lesson_figures.experiments import Lessons
from lesson_figures.lectures import figures_of

# by name, in the order of the page
SECTIONS: dict[str, Callable[[Lessons], list[Figure]]] = {
    "counting": lambda lessons: lessons.counting(),
    "bigram": lambda lessons: [*lessons.bigram(), *lessons.first_word()],
    "mlp": lambda lessons: [*lessons.first_words(), *lessons.whole_file()],
    "part2": lambda lessons: figures_of(lessons, "part 2"),
    "part3": lambda lessons: figures_of(lessons, "part 3"),
    "part5": lambda lessons: figures_of(lessons, "part 5"),
}


def with_figures(page: str, section: str, figures: Sequence[Figure]) -> str:
    """Return the page with the figures of a section: its table, and its part of the appendix."""
    page = with_table(page, section, short_markdown(figures))
    return with_table(page, f"all of {section}", markdown(figures))
