"""Checks scripts/report.py on runs and checkpoints as a user runs it, and what it says where something is missing."""

import json
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trials import SHORT

import makemore
from makemore.checkpoints import step_of
from makemore.pictures.curves import read_curves

ROOT = Path(__file__).resolve().parents[2]
Command = Callable[..., Any]


@pytest.fixture
def run_dir(trained: Path, tmp_path: Path) -> Path:
    """A run's directory of one's own, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def page_of(path: Path) -> str:
    """The text of a page without the plotting library."""
    return unescape(path.read_text(encoding="utf-8").partition("plotly.js v")[0])


@pytest.mark.usefixtures("no_drawing")
def test_a_run_has_its_page_in_its_directory(run_dir: Path, command: Command) -> None:
    outcome = command("report", "run")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    page = page_of(run_dir / "report.html")
    pictures = sorted(path.name for path in (run_dir / "pictures").iterdir())
    assert set(lines) >= {"run/report.html", *(f"run/pictures/{name}" for name in pictures)}
    assert {"loss.png", "loss.svg", "bigrams.png", "embedding.svg", "calibration.png"} <= set(pictures)
    # the chart stands in place of the picture of the loss
    assert page.count('role="img"') == len(pictures) / 2 - 1
    images = EventAccumulator(str(run_dir), size_guidance={"images": 0})
    images.Reload()
    assert {f"{name}.png" for name in images.Tags()["images"]} == {name for name in pictures if name.endswith("png")}
    model = makemore.load(run_dir)
    val_nll = json.loads((run_dir / "metrics.json").read_text())["val/nll"]
    for expected in (
        "model.hidden_dim",
        model.sha256["train"],
        "python scripts/train.py model=mlp model.hidden_dim=32 data.max_lines=2000 trainer.max_steps=300 "
        "val_every=100",
        "python scripts/train.py resume=run trainer.max_steps=600",
        "python scripts/sample.py ckpt_path=run/checkpoints/step-00000300.ckpt num_samples=20",
        '<div class="chart"',
        *(f">{name}</li>" for name in model.sample(20)),
        f"predicts names.txt (2,000 lines) at {val_nll:.4f} nats a character",
        "validation NLL in nats a character",
        *("AdamW, betas", "learning rate</th><td>0.003", "batch size</th><td>128 windows"),
    ):
        assert expected in page
    (val,) = [line.split() for line in lines if line.startswith("val ")]
    assert f">{val[2]}</td>" in page
    seen = model.seen()
    assert page.count('<li class="new">') == sum(name not in seen for name in model.sample(20))
    share = sum(name not in seen for name in model.sample(500)) / 500
    assert f"not in the text, as are {share:.0%} of 500." in page


@pytest.mark.usefixtures("no_drawing")
def test_a_rate_that_followed_the_text_is_said(command: Command, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("".join(f"{first}{last}\n" for first in "abcde" for last in "nmrst"))
    text = ("data=text", "data.path=names.txt", "data.batch_size=8")
    short = ("model=lstm", "model.hidden_dim=8", "trainer.max_steps=4", "log_every=1")
    assert command("train", *text, *short, "hydra.run.dir=r").code == 0
    rates = read_curves(tmp_path / "r" / "metrics.csv")["lr"][1]
    assert 0.004 < max(rates) <= 0.005
    assert command("report", "r").code == 0
    page = page_of(tmp_path / "r" / "report.html")
    assert "learning rate</th><td>auto, 0.005 for this text" in page
    assert ", weight_decay auto, 1 for this text, " in page


@pytest.mark.usefixtures("no_drawing")
def test_a_checkpoint_alone_is_enough(trained: Path, command: Command, tmp_path: Path) -> None:
    shutil.copy(trained / "checkpoints" / "step-00000300.ckpt", tmp_path / "mine.ckpt")
    outcome = command("report", "mine.ckpt")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1] == "report/report.html"
    page = page_of(tmp_path / "report" / "report.html")
    assert "python scripts/evaluate.py ckpt_path=mine.ckpt" in page
    # nothing is known of its run
    assert "scripts/train.py" not in page
    assert (tmp_path / "report" / "pictures" / "bigrams.png").exists()


@pytest.mark.usefixtures("no_drawing")
def test_a_checkpoint_of_a_run_leaves_the_runs_own_report_as_it_is(run_dir: Path, command: Command) -> None:
    (run_dir / "pictures").mkdir()
    for name in ("report.html", "pictures/loss.png"):
        (run_dir / name).write_text("of the run")
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    outcome = command("report", "run/checkpoints/step-00000200.ckpt")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1] == "run/report-step-00000200/report.html"
    assert "checkpoints/step-00000200.ckpt" in page_of(run_dir / "report-step-00000200" / "report.html")
    assert (run_dir / "report-step-00000200" / "pictures" / "loss.png").exists()
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.usefixtures("no_drawing")
def test_the_best_by_validation_is_a_row_of_its_own(command: Command, tmp_path: Path) -> None:
    text = tmp_path / "names.txt"
    text.write_text(
        "".join(f"{name}\n" for name in ("ada", "bob", "eve", "ann", "mia", "zoe", "max", "leo", "ida", "kim"))
    )
    arguments = ["data=text", "data.path=names.txt", *SHORT, "trainer.max_steps=400", "optimizer.lr=0.1"]
    assert command("train", *arguments, "hydra.run.dir=r").code == 0
    assert command("report", "r").code == 0
    page = page_of(tmp_path / "r" / "report.html")
    last = step_of(max((tmp_path / "r" / "checkpoints").glob("step-*")))
    assert f">step {last}</td>" in page
    assert ">best by validation, step " in page
    (best,) = (tmp_path / "r" / "checkpoints").glob("best-*")
    assert f"trained for {last} steps and best at step {step_of(best)}, predicts" in page
    # it has stopped early
    assert "resume" not in page.partition("</h1>")[2].partition("<li")[0]
    assert "resume=" not in page
    assert "r: stopped early, so that more steps" in command("train", "resume=r", "trainer.max_steps=800").error
    (tmp_path / "r" / "metrics.json").unlink()
    assert command("report", "r").code == 0
    assert f"It has made {last} of 400 steps and has not ended" in page_of(tmp_path / "r" / "report.html")


@pytest.mark.usefixtures("no_drawing")
def test_several_are_compared_on_one_page(run_dir: Path, command: Command, tmp_path: Path) -> None:
    (best,) = (run_dir / "checkpoints").glob("best-*")
    outcome = command("report", "run", best, run_dir)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1] == "report/report.html"
    page = page_of(tmp_path / "report" / "report.html")
    assert page.count(">Comparison</h2>") == 1
    # they have the same weights
    assert ">The best of 2 runs is " in page
    names = sorted(path.name for path in (tmp_path / "report" / "pictures").iterdir())
    assert names == ["run-best-step-00000300", "run-step-00000300"]
    for name in names:
        assert f">{name}</h2>" in page


@pytest.mark.usefixtures("no_drawing")
def test_what_is_damaged_beside_the_model_is_said_on_the_page(run_dir: Path, command: Command) -> None:
    (run_dir / "metrics.csv").write_text("step,val/nll\n1,x\n")
    (run_dir / "metrics.json").write_text("{")
    (run_dir / ".hydra" / "config.yaml").write_text("{")
    (run_dir / ".hydra" / "overrides.yaml").write_text("a: [")
    outcome = command("report", "run")
    assert (outcome.code, outcome.err) == (0, "")
    page = page_of(run_dir / "report.html")
    for name in ("metrics.csv", "metrics.json", "config.yaml", "overrides.yaml"):
        assert f'<p class="warning">run/{".hydra/" if "yaml" in name else ""}{name}: ' in page
    assert '<div class="chart"' not in page
    assert "Repeat the run" not in page
    assert 'role="img"' in page


@pytest.mark.usefixtures("no_drawing")
def test_a_text_that_has_changed_is_said(text: Path, command: Command, tmp_path: Path) -> None:
    text = Path(shutil.copy(text, tmp_path / "names.txt"))
    train = ["model=ngram", "model.fake_count=1", "data=text", "data.path=names.txt", "hydra.run.dir=r"]
    assert command("train", *train).code == 0
    text.write_text(text.read_text() + "anna\n")
    assert command("report", "r").code == 0
    assert "The train text has changed since training" in page_of(tmp_path / "r" / "report.html")
    text.unlink()
    assert command("report", "r").code == 0
    assert f"The text cannot be used ({text}: no such file" in page_of(tmp_path / "r" / "report.html")


@pytest.mark.usefixtures("no_drawing")
def test_what_cannot_be_reported_is_one_line(run_dir: Path, command: Command, tmp_path: Path) -> None:
    assert command("report", "nowhere").error.startswith(
        "error: nowhere: no such file or directory; give a checkpoint"
    )
    (tmp_path / "file").write_text("x")
    assert "file: is damaged" in command("report", "file").error
    assert command("report", ".").error.startswith(f"error: {tmp_path}: is a directory of runs; give one or more of ")
    (tmp_path / "taken").touch()
    assert command("report", "run", "--output", "taken").error.startswith(
        "error: taken/pictures/loss.png: cannot be written: "
    )
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").touch()
    assert command("report", "run", "sweep").error.startswith(
        "error: a report is on sweeps, or on runs and checkpoints"
    )
    for path in (run_dir / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    outcome = command("report", "run")
    assert outcome.code == 2
    # after a line for each of them
    assert outcome.err.splitlines()[-1] == "error: run: none of its checkpoints is whole; train again"
    assert not (run_dir / "report.html").exists()
