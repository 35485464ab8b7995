"""Checks scripts/benchmark.py: its table, benchmark.json and Markdown, of the quickest row."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.setting import Sizes

Command = Callable[..., Any]


@pytest.mark.full
def test_a_quick_benchmark_of_one_row(new_process: Command, tmp_path: Path) -> None:
    outcome = new_process("benchmark", "--quick", "--only", "windows", "--markdown", "table.md")
    assert outcome.code == 0, outcome.err
    assert outcome.err.startswith("windows: windows of 32,")
    assert "lesson's Python loop" in outcome.out
    assert "no compiled rows" in outcome.out
    report = json.loads((tmp_path / "benchmark.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["windows"]
    assert report["machine"]["threads"] == 1
    assert len(report["reduced"]) == len(dataclasses.fields(Sizes))
    assert (tmp_path / "table.md").read_text().startswith("| work; what ours is compared with |")


@pytest.mark.full
def test_a_row_that_there_is_not_ends_in_one_line(process: Command) -> None:
    outcome = process("benchmark", "--only", "nonsense")
    assert outcome.error.startswith("error: there is no row nonsense; there are mlp,")
