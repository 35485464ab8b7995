"""Output to the terminal: messages on standard error, tables on standard output.

Where standard output is not a terminal, tables are plain lines, for files and for awk.
"""

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text


class _Messages(Console):
    """Standard error, which may be closed while standard output is still read."""

    def on_broken_pipe(self) -> None:
        """Print nothing more; rich would exit."""
        self.quiet = True


MESSAGES = _Messages(stderr=True)


class ConsoleHandler(logging.Handler):
    """Prints log records on standard error, above any progress bar (used by Hydra's job_logging)."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record without wrapping, so that paths can be copied."""
        MESSAGES.print(Text(self.format(record)), soft_wrap=True)


def visible(text: str) -> str:
    """Return a text with escapes, as those of Python, for what cannot be seen: tabs, signs of direction.

    Joiners, which emoji and Persian are written with, stay; so do all spaces.
    """
    unseen = {
        character
        for character in set(text)
        if unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") and character not in "\u200c\u200d"
    }
    return "".join(each.encode("unicode_escape").decode() if each in unseen else each for each in text)


@dataclass(frozen=True)
class TableColumn:
    """A column of a table."""

    heading: str
    cells: Sequence[str]  # one for each row
    is_text: bool = False  # aligned to the left; numbers are aligned to the right
    wraps: bool = False  # cells may take several lines in a narrow terminal

    @cached_property
    def width(self) -> int:
        """The width of the widest cell or the heading, in terminal columns."""
        return max(map(cell_len, (self.heading, *self.cells)))


def print_table(title: str, columns: Sequence[TableColumn], spare: Sequence[str] = ()) -> None:
    """Print a table on standard output: with borders in a terminal, else as plain lines.

    Plain lines are the title, the headings and a line for each row, aligned, with two spaces or more between columns,
    no indent, and `-` in an empty cell. Cells are never cut; columns whose headings are in `spare` are left out, in
    this order, while a terminal is too narrow.
    """
    console = Console()
    if not console.is_terminal:
        print("\n".join([title, *_plain_lines(columns)]))
        return
    for heading in spare:
        if _least_width(columns) > console.width:
            columns = [column for column in columns if column.heading != heading]
    console.print(Text(title, style="italic"), soft_wrap=True)
    # long lines can be scrolled, cut cells are lost
    Console(width=max(console.width, _least_width(columns))).print(_with_borders(columns))


def _plain_lines(columns: Sequence[TableColumn]) -> list[str]:
    padded = []
    for index, column in enumerate(columns):
        left = column.is_text or index == 0
        cells = [cell or "-" for cell in (column.heading, *column.cells)]
        gaps = [" " * (column.width - cell_len(cell)) for cell in cells]
        padded.append([cell + gap if left else gap + cell for cell, gap in zip(cells, gaps, strict=True)])
    return ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]


def _with_borders(columns: Sequence[TableColumn]) -> Table:
    table = Table()
    for column in columns:
        justify: Literal["left", "right"] = "left" if column.is_text else "right"
        # rich measures by min_width and lays out by no_wrap
        least, no_wrap = (None, False) if column.wraps else (column.width, True)
        table.add_column(Text(column.heading), justify=justify, min_width=least, no_wrap=no_wrap)
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    return table


def _least_width(columns: Sequence[TableColumn]) -> int:
    return Console(width=10_000).measure(_with_borders(columns)).minimum
