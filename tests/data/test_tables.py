"""Checks that a table is told from a list of items, with few false alarms."""

import csv
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore.data.corpus import read_corpus
from makemore.data.options import CorpusOptions
from makemore.data.tables import table_note
from makemore.data.text import read_text
from makemore.system.files import PROJECT_ROOT

NAMES = [f"{first}{last}" for first in ("An", "Bo", "Cleo", "Di") for last in ("na", "ris", "de", "lo", "mi")]
CELLS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), min_size=1, max_size=8)


def exported(rows: list[list[Any]], **how: Any) -> list[str]:
    """Rows as lines of a file that a spreadsheet or a database saves."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", **how).writerows(rows)
    return out.getvalue().split("\n")[:-1]


WITH_YEARS = [["Name", "Year"], *([name, 1900 + place] for place, name in enumerate(NAMES))]
WITH_PLACES = [["Name", "Kind", "Town"], *([name, "given", "Rome"] for name in NAMES)]
WITH_SEXES = [(name, ("girl", "boy")[place % 2]) for place, name in enumerate(["Xu", *NAMES])]


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        pytest.param(exported(WITH_YEARS, delimiter=";", quoting=csv.QUOTE_ALL), "semicolons.*quotes", id="case"),
        pytest.param(exported(WITH_YEARS), "commas in most lines\\)", id="CSV with a number"),
        pytest.param(
            exported([[name, year] for name, year in WITH_YEARS], quoting=csv.QUOTE_ALL), "comma", id="quoted"
        ),
        pytest.param([f"{name}, {year}" for name, year in WITH_YEARS], "comma", id="spaces after commas"),
        pytest.param(exported(WITH_PLACES), "comma", id="three columns of text"),
        pytest.param(exported(WITH_PLACES, delimiter="\t"), "tab", id="TSV"),
        pytest.param(exported(WITH_PLACES, delimiter="|"), "vertical bar", id="bars"),
        pytest.param([f"{name},{sex}" for name, sex in WITH_SEXES], "comma", id="a category"),
        pytest.param([f"{sex}|{name}" for name, sex in WITH_SEXES], "vertical bar", id="a category first"),
        pytest.param(["first_name,Town", *(f"{name},{name[::-1]}" for name in NAMES)], "comma", id="titles"),
        pytest.param([f'"{name}"' for name in NAMES], "a column in quotes", id="one column in quotes"),
        pytest.param([json.dumps({"id": n, "name": name}) for n, name in enumerate(NAMES)], "JSON", id="JSON lines"),
    ],
)
def test_a_table_is_told_and_its_column_can_be_taken(lines: list[str], what: str, tmp_path: Path) -> None:
    path = tmp_path / "my table.csv"
    path.write_text("".join(f"{line}\n" for line in lines))
    note = table_note(lines, path)
    assert note is not None
    assert "\n" not in note
    assert note.startswith(f"{path}: looks like a table (")
    assert re.search(what, note)
    subprocess.run(["bash", "-c", note.partition("to take one column: ")[2]], cwd=tmp_path, check=True)
    taken = read_text(tmp_path / "column.txt").lines()
    assert taken[-len(NAMES) :] == NAMES
    assert len(taken) - len(NAMES) in (0, 1)
    assert table_note(taken, "column.txt") is None


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(NAMES, id="names"),
        pytest.param([f"Doe, {name}" for name in NAMES], id="last name first"),
        pytest.param(["Names", *(f"Doe, {name}" for name in NAMES)], id="a title alone"),
        pytest.param([f"Doe,{name}" for name in NAMES], id="without the space"),
        pytest.param([f"{name}-Marie" for name in NAMES], id="hyphens"),
        pytest.param([f"{name}, of Rome, left." for name in NAMES], id="sentences with two commas"),
        pytest.param([f"Yes; {name} left." for name in NAMES], id="sentences with a semicolon"),
        pytest.param([f'"Yes," said {name}.' for name in NAMES], id="speech"),
        pytest.param([f"CC(=O)N[C@@H](C)C{'C' * n}" for n in range(20)], id="molecules"),
        pytest.param([f"[Na+].[Cl-]{'.[Cl-]' * n}" for n in range(20)], id="salts"),
        pytest.param([f"{name}{';,|!'[n % 4]}{n}" for n, name in enumerate(NAMES)], id="passwords"),
        pytest.param(["|".join("CGAFE"[n % d] for d in (2, 3, 4, 5)) for n in range(200)], id="chords"),
        pytest.param([f"a,{'b' * 140_000}"] * 20, id="longer fields than csv takes"),
        pytest.param([f"{{{name}}}" for name in NAMES], id="braces"),
        pytest.param([f"{name};1" for name in NAMES[:9]], id="too few to say"),
    ],
)
def test_a_list_is_not_taken_for_a_table(lines: list[str]) -> None:
    assert table_note(lines, "names.txt") is None


@given(
    items=st.lists(st.lists(st.sampled_from([*NAMES, "d'Arc", "St.", "né"]), min_size=1, max_size=4), min_size=10),
    between=st.sampled_from([" ", ", ", "-", "; ", "' "]),
)
def test_lists_of_words_are_none(items: list[list[str]], between: str) -> None:
    assert table_note([between.join(words) for words in items], "names.txt") is None


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, st.integers(0, 3000)), min_size=12, max_size=20),
    how=st.sampled_from([",", ";", "\t", "|"]),
)
def test_any_column_of_numbers_tells_a_table(rows: list[tuple[str, str, int]], how: str) -> None:
    assert table_note(exported([list(row) for row in rows], delimiter=how), "table.csv") is not None


def test_the_names_that_are_shipped_are_a_list() -> None:
    assert table_note(read_text(PROJECT_ROOT / "data" / "names.txt").lines(), "names.txt") is None


def test_a_report_on_a_text_has_the_line_for_each_file(tmp_path: Path) -> None:
    table, names = tmp_path / "table.csv", tmp_path / "names.txt"
    table.write_text("".join(f"{line}\n" for line in exported(WITH_YEARS, delimiter=";")))
    names.write_text("".join(f"{name};1\n" for name in NAMES[:5]) + "".join(f"{name}\n" for name in NAMES))
    corpus = read_corpus(CorpusOptions(str(names), val_path=str(table)))
    (note,) = corpus.table_notes
    assert note.startswith(f"{table}: looks like a table")
    assert note in corpus.report()
    assert read_corpus(CorpusOptions(str(table))).table_notes == [note]
