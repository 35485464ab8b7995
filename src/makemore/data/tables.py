"""Whether a text is a table or a file of records rather than a list of items, and the command that takes a column.

A table is learnt like any other text, separators and quotes included, so whoever names one is told, in one line. What
says that there is a table: nearly all lines have the same number of a separator, and something that lists of names
("Doe, John"), sentences, passwords, chords and molecules do not have: fields in quotes, a column of numbers or of
categories, titles in the first line, or more than one comma a line with no space after it.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from makemore.overrides import shell_quoted

# the fewest lines to judge by, and the share of them that must look alike
_FEWEST = 10
_ALIKE = 0.9
_NAMES = {"\t": "tab", ";": "semicolon", ",": "comma", "|": "vertical bar"}
# the last word of a title, as exports have it
_TITLES = {
    *("name", "names", "surname", "firstname", "lastname", "username", "sex", "gender", "id", "key", "value", "count"),
    *("text", "title", "word", "kind", "type", "class", "category", "label", "tag", "language", "origin", "country"),
    *("region", "state", "city", "town", "date", "year"),
}
# how often the values of a column recur, on average, where they are categories
_RECUR = 10
_NUMBER = re.compile(r"[\d.,:/%+-]*\d[\d.,:/%+-]*")


def table_note(lines: Sequence[str], path: str | Path) -> str | None:
    """Return the line that says that the text of a file is a table, and how to take a column of it; None for a list.

    `lines` are some from its beginning, clean.
    """
    if len(lines) < _FEWEST:
        return None
    if (key := _key_of_records(lines)) is not None:
        what = "a JSON object a line"
        code = f"import json, sys; [print(json.loads(line)[{key!r}]) for line in sys.stdin]"
    elif (found := _columns(lines)) is not None:
        separator, column = found
        quoted = " and fields in quotes" if _most('"' in line for line in lines) else ""
        what = f"columns, with the same number of {_NAMES[separator]}s in most lines{quoted}"
        reader = f"csv.reader(sys.stdin, delimiter={separator!r})"
        code = f"import csv, sys; [print(row[{column}]) for row in {reader} if row[{column}:]]"
    elif _most(len(line) > 1 and line[0] == line[-1] == '"' for line in lines):
        what = "a column in quotes"
        code = "import csv, sys; [print(row[0]) for row in csv.reader(sys.stdin) if row]"
    else:
        return None
    take = f"python -c {shell_quoted(code)} < {shell_quoted(str(path))} > column.txt"
    return f"{path}: looks like a table ({what}), and all of it is learnt; to take one column: {take}"


def _most(alike: Iterable[bool]) -> bool:
    """Return whether most of some lines are alike."""
    each = list(alike)
    return sum(each) >= _ALIKE * len(each)


def _key_of_records(lines: Sequence[str]) -> str | None:
    """Return the first key with a text of JSON objects, one a line; None where the lines are none."""
    if not _most(line.startswith("{") and line.endswith("}") for line in lines):
        return None
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError):
            return None
    keys = [key for key, value in records[0].items() if isinstance(value, str)]
    return next(iter([*keys, *records[0]]), None)


def _columns(lines: Sequence[str]) -> tuple[str, int] | None:
    """Return the separator of columns and the index of the first of text; None for lines of a list.

    The first of neither numbers nor categories where there is one, else the first that is not of numbers.
    """
    for separator in _NAMES:
        if not _most(separator in line for line in lines):
            continue
        try:
            # one row a line: a quote that is not closed would join them
            rows = [next(csv.reader([line], delimiter=separator), []) for line in lines]
        except csv.Error:  # a longer field than it takes
            continue
        (count, same), *_ = Counter(map(len, rows)).most_common(1)
        if count == 1 or same < _ALIKE * len(rows):
            continue
        # without the header
        columns = list(zip(*(row for row in rows[1:] if len(row) == count), strict=True))
        numbers = [_most(bool(_NUMBER.fullmatch(cell.strip())) for cell in column) for column in columns]
        categories = _are_categories(columns)
        close = _most(f"{separator} " not in line for line in lines)
        several = separator == ";" or (separator == "," and count > 2)
        in_quotes = _most(f'"{separator}' in line or f'{separator}"' in line for line in lines)
        sure = separator == "\t" or any(numbers) or in_quotes or (len(rows[0]) == count and _are_titles(rows[0]))
        if sure or (close and (several or any(categories))):
            coded = [*map(any, zip(numbers, categories, strict=True))]
            kinds = coded if False in coded else numbers
            return separator, kinds.index(False) if False in kinds else 0
    return None


def _are_categories(columns: Sequence[Sequence[str]]) -> list[bool]:
    """Return for each column whether it has a few values that recur, and no other column has (chords share theirs)."""
    values = [set(column) for column in columns]
    shared = Counter(value for each in values for value in each)
    return [
        1 < len(each) <= len(column) / _RECUR and all(shared[value] == 1 for value in each)
        for each, column in zip(values, columns, strict=True)
    ]


def _are_titles(cells: Sequence[str]) -> bool:
    """Return whether the cells of a first line are titles of columns: short, and one of them a usual one."""
    words = [re.findall(r"[^\W_]+", cell.lower()) for cell in cells]
    return all(1 <= len(each) <= 3 for each in words) and any(each[-1] in _TITLES for each in words)
