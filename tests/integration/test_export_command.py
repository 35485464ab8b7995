"""Checks scripts/export.py: what it takes, that other commands take what it leaves, errors in one line."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from makemore.checkpoints import checkpoints_of

Command = Callable[..., Any]


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the ONNX form out, which takes seconds."""
    monkeypatch.setattr("makemore.export.write_export._checked_form", lambda _model: (None, None))


@pytest.mark.full
def test_the_other_commands_take_an_export(trained: Path, command: Command, tmp_path: Path) -> None:
    outcome = command("export", trained, "output=out", "license=cc0-1.0")
    assert (outcome.code, outcome.err) == (0, "")
    assert "model.onnx: log-probabilities differ by " in outcome.out
    assert outcome.out.splitlines()[-1] == "out"
    for name, *arguments in (("evaluate",), ("sample", "seed=3", "unseen=true"), ("score", "words=[anna]")):
        given, again = (command(name, f"ckpt_path={path}", *arguments) for path in (trained, "out"))
        assert (again.code, again.err) == (0, "")
        # a table's title names the file
        assert again.out.splitlines()[1:] == given.out.splitlines()[1:]
    # replaced, whatever the name of the key
    assert command("export", f"ckpt_path={trained}", "output=out", "which=best").code == 0


@pytest.mark.usefixtures("without_onnx", "no_drawing")
def test_an_export_of_the_best_checkpoint(trained: Path, command: Command, tmp_path: Path) -> None:
    outcome = command("export", trained, "which=best", "output=new/out")
    assert (outcome.code, outcome.err) == (0, "")
    config = json.loads((tmp_path / "new" / "out" / "config.json").read_text())
    (best,) = checkpoints_of(trained, best=True)
    assert config["makemore"]["step"] == int(best.stem.rpartition("-")[2])
    assert (
        f"data.split_seed={config['makemore']['data']['options']['split_seed']}"
        in Path("new/out/README.md").read_text()
    )
    # which is reported on under its directory's name
    outcome = command("report", "ckpt_path=new/out", "output=page")
    assert (outcome.code, outcome.err) == (0, "")
    assert "<title>Run out" in (tmp_path / "page" / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("without_onnx")
def test_errors_are_one_line_and_leave_nothing(
    trained: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, says in (
        ((trained,), "output=DIR must be given"),
        (("nothing", "output=out"), "nothing: no such checkpoint"),
        (("latest", "output=out"), "there is no run with a checkpoint below"),
        ((trained, "output=out", "which=worst"), "which must be one of null, last, best"),
        ((trained, "output=out", "license=My own"), "license=My own is not an identifier"),
        ((trained, f"output={trained}"), "holds other things, such as "),
        ((trained, f"output={trained / 'metrics.json'}"), "is there already and no directory"),
        ((trained, f"output={trained / 'metrics.json' / 'out'}"), "cannot be written: "),
    ):
        assert says in command("export", *arguments).error
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "makemore.cli.export_command.find_spec", lambda name: None if name == "onnxruntime" else find_spec(name)
    )
    assert "export needs the package onnxruntime: pip install" in command("export", trained, "output=out").error
    assert list(tmp_path.iterdir()) == []


def test_its_arguments_are_keys_or_one_path(trained: Path, command: Command) -> None:
    for arguments in ((trained, "top=3", "output=out"), ("output=out",), (trained, trained, "output=out")):
        outcome = command("export", *arguments)
        assert outcome.code == 2
        assert "export.py: error: " in outcome.err
