"""The measured rows as a table in the terminal, as Markdown and as JSON, with the machine and the text."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.text import Text

from benchmarks.measure import Row
from makemore.errors import UserError
from makemore.system.console import TableColumn, print_table
from makemore.system.files import replacing

_COLUMNS = ("work; what ours is compared with", "baseline", "ours", "ratio", "spread", "at most", "met")
_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"))


@dataclass(frozen=True)
class Report:
    """Measured rows and their conditions.

    Args:
        text: a description of the text.
        threads: the number of CPU threads that torch uses.
        reduced: the reductions from a full benchmark, a sentence each.
        rows: the measured rows.
    """

    text: str
    threads: int
    reduced: Sequence[str]
    rows: Sequence[Row]

    @property
    def machine(self) -> dict[str, str | int | None]:
        """The hardware and software of the benchmark, without the name of the machine."""
        return {
            "system": platform.system(),
            "architecture": platform.machine(),
            "cpus": os.cpu_count(),
            "threads": self.threads,
            "python": platform.python_version(),
            "torch": version("torch"),
            "lightning": version("lightning"),
        }

    @property
    def notes(self) -> list[str]:
        """The notes below the table, one a line."""
        facts = self.machine
        machine = ", ".join(f"{name} {facts[name]}" for name in ("python", "torch", "lightning"))
        notes = [
            f"text: {self.text}",
            f"{facts['system']} {facts['architecture']}, {facts['cpus']} CPUs, {self.threads} of them used; {machine}",
            "ratio: median of ours / baseline over pairs measured in turns; spread: the smallest and the largest",
        ]
        return notes if not self.reduced else [*notes, f"quick: {'; '.join(self.reduced)}"]

    def show(self) -> None:
        """Print the table and its notes on standard output."""
        first, *others = zip(_COLUMNS, *map(_cells, self.rows), strict=True)
        columns = [TableColumn(first[0], first[1:], is_text=True, wraps=True)]
        print_table("Benchmark", [*columns, *(TableColumn(heading, cells) for heading, *cells in others)])
        for note in self.notes:
            Console().print(Text(note), soft_wrap=True)

    def markdown(self) -> str:
        """Return the table and its notes as Markdown."""
        lines = [_COLUMNS, ("---", *["---:"] * (len(_COLUMNS) - 1)), *map(_cells, self.rows)]
        table = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |" for cells in lines)
        return table + "\n\n" + "\n".join(f"- {note}" for note in self.notes) + "\n"

    def as_json(self) -> str:
        """Return everything as JSON, with the value of every repeat."""
        facts = {"machine": self.machine, "text": self.text, "reduced": list(self.reduced)}
        return json.dumps(facts | {"rows": [_plain(row) for row in self.rows]}, indent=2) + "\n"


def write(path: Path, content: str) -> None:
    """Write a file atomically; raise a `UserError` where that fails."""
    try:
        with replacing(path) as file:
            file.write(content.encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def _plain(row: Row) -> dict[str, object]:
    medians = {
        "ours": median(row.ours),
        "baseline": None if row.baseline is None else median(row.baseline),
        "ratio": row.ratio,
        "spread": list(row.spread),
        "met": row.met,
    }
    values = {"values": {"ours": row.ours, "baseline": row.baseline}}
    return {name: value for name, value in asdict(row).items() if name not in medians} | medians | values


def _cells(row: Row) -> tuple[str, ...]:
    low, high = row.spread
    absolute = row.baseline is None
    return (
        row.work,
        "" if row.baseline is None else quantity(median(row.baseline), row.unit),
        quantity(median(row.ours), row.unit),
        "" if row.ratio is None else f"{row.ratio:.3g}",
        "" if len(row.ours) == 1 else f"{_judged(low, row)} to {_judged(high, row)}",
        "" if row.at_most is None else quantity(row.at_most, row.unit) if absolute else f"{row.at_most:g}",
        {None: "", True: "yes", False: "no"}[row.met],
    )


def _judged(value: float, row: Row) -> str:
    return quantity(value, row.unit) if row.baseline is None else f"{value:.3g}"


def quantity(value: float, unit: str) -> str:
    """Format a value with three digits and its unit, seconds also as ms or µs."""
    if unit.startswith("s"):
        size, prefix = next(((size, prefix) for size, prefix in _PREFIXES if value >= size), _PREFIXES[-1])
        value, unit = value / size, prefix + unit
    return f"{value:#.3g}".removesuffix(".") + f" {unit}" if value < 1000 else f"{value:,.0f} {unit}"
