"""Checks the page of models: its tables are written between comments, from results that are kept as JSON."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra import compose

from makemore.system.hydra_release import composing
from model_page.page import draw, with_tables
from model_page.rows import ALL_TEXTS, MODELS, Result, read_results, result_of, write_results

ROOT = Path(__file__).parents[2]
RESULTS = {
    ("gru", "shipped"): Result("gru", "shipped", 80_000, 20.5, 1.9, 2.0, 2.01, 1.95, 1.94),
    ("kneser_ney", "shipped"): Result("kneser_ney", "shipped", 0, 0.1, 1.7, 2.016, 2.008, None, None),
}


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    assert read_results(path) == {}
    write_results(path, RESULTS)
    assert read_results(path) == RESULTS
    # in the order of the page
    assert [model for model, _ in read_results(path)] == ["kneser_ney", "gru"]


def test_the_tables_of_the_page_are_those_of_the_results() -> None:
    page = (ROOT / "docs" / "models.md").read_text()
    written = with_tables(page, RESULTS)
    assert "| gru | 80,000 | 20.5 | 1.9000 | 2.0000 | 2.0100 | 1.9500 | 1.9400 |" in written
    assert "| kneser_ney |  | 0.1 | 1.7000 | 2.0160 | 2.0080 |  |  |" in written
    # the text between the tables stays
    assert with_tables(written, read_results(ROOT / "docs" / "models.json")) == page


def test_a_result_is_made_of_the_metrics_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SimpleNamespace(network=torch.nn.Linear(2, 3))
    monkeypatch.setattr("makemore.inference.trained_model.load", lambda _: model)
    metrics = {"train/nll": 1.9, "val/nll": 2.00004, "test/nll": 2.01, "seconds": 20.46}
    mixed = {"mixture/val/nll": 1.95, "mixture/test/nll": 1.94}
    for more, both in ((mixed, (1.95, 1.94)), ({}, (None, None))):
        (tmp_path / "metrics.json").write_text(json.dumps(metrics | more))
        assert result_of("gru", "shipped", tmp_path) == Result("gru", "shipped", 9, 20.5, 1.9, 2.0, 2.01, *both)


def test_the_picture_shows_what_there_is(tmp_path: Path) -> None:
    draw(RESULTS, tmp_path / "models.png")
    assert (tmp_path / "models.png").stat().st_size > 1000


@pytest.mark.full
def test_a_text_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    line = [sys.executable, str(ROOT / "scripts" / "models.py"), "kneser_ney", "--text", "places"]
    ended = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    (said,) = ended.stderr.splitlines()
    assert said.startswith("error: ")
    assert "logs/texts/places.txt" in said


@pytest.mark.parametrize(
    ("model", "text"), [*((model, "shipped") for model in MODELS), *(("lstm", text) for text in ALL_TEXTS)]
)
def test_every_command_of_the_page_composes(model: str, text: str) -> None:
    with composing():
        compose("train", [*MODELS[model], *ALL_TEXTS[text]])
