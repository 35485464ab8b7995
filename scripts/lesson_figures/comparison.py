"""Compare the lessons' figures with ours, in tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Value = str | list[float]


@dataclass(frozen=True)
class Figure:
    """A figure of a lesson and ours.

    Args:
        lesson: the lessons that print it, such as "L0 L3".
        what: its name in the table.
        theirs: the lesson's.
        ours: the result of the command.
        within: the largest difference that counts as the same; text must be equal.
        command: the command that gives ours.
    """

    lesson: str
    what: str
    theirs: Value
    ours: Value
    within: float
    command: str

    @property
    def agrees(self) -> bool:
        """Whether ours is the lesson's, within the tolerance."""
        if isinstance(self.theirs, str) or isinstance(self.ours, str):
            return self.theirs == self.ours
        return len(self.theirs) == len(self.ours) and all(
            a == b or abs(a - b) <= self.within for a, b in zip(self.theirs, self.ours, strict=True)
        )


def with_table(page: str, name: str, table: str) -> str:
    """Return the page with another table between the comments of that name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, rest = page.split(begin)
    return f"{before}{begin}{table}\n{end}{rest.split(end)[1]}"


def markdown(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table, a row each."""
    rows = [
        f"| {figure.lesson} | {figure.what} | {_show(figure.theirs, figure.within)} "
        f"| {_show(figure.ours, figure.within)} | {_show_within(figure)} | `{figure.command}` |"
        for figure in figures
    ]
    return "\n".join(
        ["| lesson | figure | theirs | ours | within | command |", "| --- | --- | --- | --- | --- | --- |", *rows]
    )


def short_markdown(figures: Sequence[Figure]) -> str:
    """Return the figures that are numbers as a Markdown table without tolerances and commands."""
    rows = [
        f"| {figure.what} | {_show(figure.theirs, figure.within)} | {_show(figure.ours, figure.within)} |"
        for figure in figures
        if not isinstance(figure.theirs, str)
    ]
    return "\n".join(["| figure | theirs | ours |", "| --- | --- | --- |", *rows])


def _show(value: Value, within: float) -> str:
    if isinstance(value, str):
        return value.replace("|", "\\|")
    digits = 0 if within == 0 else max(2, -math.floor(math.log10(within)) + 1)
    return ", ".join(f"{number:,.{digits}f}" for number in value)


def _show_within(figure: Figure) -> str:
    agreement = "" if figure.agrees else " **no**"
    return ("equal" if figure.within == 0 else f"{figure.within:g}") + agreement
