"""What a person sees in the terminal: messages on standard error, results on standard output.

Where standard output is no terminal, tables are plain lines, for awk and for files.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # seconds, which messages need not wait for
    pass


class _Messages(Console):
    """Standard error, which may be closed while there is more to say on standard output."""

    def on_broken_pipe(self) -> None:
        """Say no more, where rich would leave Python."""
        self.quiet = True


MESSAGES = _Messages(stderr=True)


class ConsoleHandler(logging.Handler):
    """Shows log records on standard error, above a progress bar where there is one (Hydra's job_logging uses it)."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, unwrapped, so that paths can be copied."""
        MESSAGES.print(Text(self.format(record)), soft_wrap=True)


@dataclass(frozen=True)
class TableColumn:
    """A column of a table.

    Args:
        heading: above it.
        cells: a row each.
        is_text: it stands to the left, where numbers stand to the right.
        wraps: where a terminal is too narrow its cells may take several lines.
    """

    heading: str
    cells: Sequence[str]
    is_text: bool = False
    wraps: bool = False

    @property
    def width(self) -> int:
        """Of the widest of its cells and the heading, in places of a terminal."""
        return max(map(cell_len, (self.heading, *self.cells)))


def print_table(title: str, columns: Sequence[TableColumn], spare: Sequence[str] = ()) -> None:
    """Print a table on standard output: drawn where that is a terminal, else as plain lines.

    Plain lines are the title, the headings and a line a row, aligned, with two spaces or more between columns, none
    before the first, and `-` in an empty cell. Cells are never cut.

    Args:
        title: on a line of its own.
        columns: one or more, of the same length.
        spare: headings of columns that are left out, in this order, where a terminal is too narrow.
    """
    console = Console()
    if not console.is_terminal:
        print("\n".join([title, *_plain_lines(columns)]))
        return
    for heading in spare:
        if _least_width(columns) > console.width:
            columns = [column for column in columns if column.heading != heading]
    console.print(Text(title, style="italic"), soft_wrap=True)
    # lines that are too long can be scrolled, cells that are cut are lost
    Console(width=max(console.width, _least_width(columns))).print(_drawn(columns))


def _plain_lines(columns: Sequence[TableColumn]) -> list[str]:
    padded = []
    for place, column in enumerate(columns):
        left = column.is_text or place == 0
        cells = [cell or "-" for cell in (column.heading, *column.cells)]
        gaps = [" " * (column.width - cell_len(cell)) for cell in cells]
        padded.append([cell + gap if left else gap + cell for cell, gap in zip(cells, gaps, strict=True)])
    return ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]


def _drawn(columns: Sequence[TableColumn]) -> Table:
    table = Table()
    for column in columns:
        justify: Literal["left", "right"] = "left" if column.is_text else "right"
        # rich counts on the one and lays out by the other
        least, no_wrap = (None, False) if column.wraps else (column.width, True)
        table.add_column(Text(column.heading), justify=justify, min_width=least, no_wrap=no_wrap)
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    return table


def _least_width(columns: Sequence[TableColumn]) -> int:
    return Console(width=10_000).measure(_drawn(columns)).minimum
