"""Runs what docs/python.md shows: the script and the cells of the notebook; and checks the page's table."""

import inspect
import json
import re
import runpy
from pathlib import Path

import lightning as L
import pytest

from makemore.training.own_trainer import LIMITED
from makemore.training.trainer_arguments import ARGUMENTS, choices

DOCS = Path(__file__).parents[1] / "docs"
SCRIPT, NOTEBOOK, PAGE = DOCS / "python_script.py", DOCS / "python.ipynb", DOCS / "python.md"


def test_the_script_trains_tests_and_samples(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(SCRIPT))["main"](str(text), max_epochs=2)
    assert len(names) == 10
    assert not set(names) & set(text.read_text().split("\n"))
    assert "test/nll" in capsys.readouterr().out
    assert len(list(tmp_path.glob("lightning_logs/version_0/checkpoints/step=*.ckpt"))) == 1


def test_the_notebook_runs_from_top_to_bottom(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(DOCS)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(DOCS.iterdir())
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 5
    names: dict[str, object] = {}
    for cell in cells:
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
        exec("".join(cell["source"]), names)
    trainer = names["trainer"]
    assert isinstance(trainer, L.Trainer)
    assert (trainer.current_epoch, trainer.global_step) == (2, 2 * names["data"].epoch_steps)  # type: ignore[attr-defined]
    assert sorted(DOCS.iterdir()) == before


def test_the_page_has_every_argument_of_the_trainer() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (acts|limited) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert [name for name, *_ in rows] == [*dict.fromkeys(name for name, *_ in rows)]
    assert {name for name, *_ in rows} == set(inspect.signature(L.Trainer.__init__).parameters) - {"self"}
    limited = {name: says for name, acts, says in rows if acts == "limited"}
    expected = {name: f"`{choices(ARGUMENTS[name].accepts or ())}`: {ARGUMENTS[name].says}" for name in LIMITED}
    assert limited == expected
