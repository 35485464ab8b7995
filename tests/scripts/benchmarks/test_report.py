"""Checks the table: what is shown of a row, as Markdown and as JSON."""

import json
from pathlib import Path

import pytest

from benchmarks.measure import Row
from benchmarks.report import Report, quantity, write
from makemore.errors import UserError

ROWS = [
    Row("mlp", "a step; the lesson's", "s/step", 1.0, [3e-4, 2e-4, 1e-4], [2e-4, 2e-4, 2e-4]),
    Row("file", "loading", "s", 60, [61.0], None),
    Row("corpus", "reading | splitting", "s", None, [0.25], [0.5]),
]
REPORT = Report("data/names.txt", 1, ["less of everything"], ROWS)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (1.6e-4, "s/step", "160 µs/step"),
        (9.87e-3, "s", "9.87 ms"),
        (2.0, "s", "2.00 s"),
        (1234.5, "s", "1,234 s"),
        (1.5, "GB", "1.50 GB"),
        (1e-8, "s", "0.0100 µs"),
    ],
)
def test_a_quantity_has_three_digits_and_a_fitting_unit(value: float, unit: str, shown: str) -> None:
    assert quantity(value, unit) == shown


def test_markdown_has_a_row_each_and_what_was_reduced() -> None:
    lines = REPORT.markdown().splitlines()
    assert lines[2] == "| a step; the lesson's | 200 µs/step | 200 µs/step | 1 | 0.5 to 1.5 | 1 | yes |"
    assert lines[3] == "| loading |  | 61.0 s |  |  | 60.0 s | no |"
    assert lines[4] == "| reading / splitting | 500 ms | 250 ms | 0.5 |  |  |  |"
    assert "- text: data/names.txt" in lines
    assert lines[-1] == "- quick: less of everything"


def test_the_table_is_printed_with_its_notes(capsys: pytest.CaptureFixture[str]) -> None:
    REPORT.show()
    printed = capsys.readouterr().out
    assert "200 µs/step" in printed
    assert "quick: less of everything" in printed


def test_json_has_every_value_and_no_name_of_the_machine() -> None:
    report = json.loads(REPORT.as_json())
    assert set(report) == {"machine", "text", "reduced", "rows"}
    assert set(report["machine"]) == {"system", "architecture", "cpus", "threads", "python", "torch", "lightning"}
    mlp, file, _ = report["rows"]
    assert mlp["values"] == {"ours": [3e-4, 2e-4, 1e-4], "baseline": [2e-4, 2e-4, 2e-4]}
    assert (mlp["ratio"], mlp["met"]) == (pytest.approx(1.0), True)
    assert (file["ours"], file["baseline"], file["ratio"], file["at_most"], file["met"]) == (
        61.0,
        None,
        None,
        60,
        False,
    )


def test_a_path_that_cannot_be_written_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write(tmp_path, "content")
