"""A GRU and a transformer through all that a user does with a run, and their mixtures (scripts/mix.py)."""

import json
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import trials
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import makemore
from makemore.checkpoints import read

Command = Callable[..., Any]

SHORT = (
    "data.max_lines=400",
    "data.batch_size=16",
    "trainer.max_steps=40",
    "val_every=20",
    "checkpoint_every=20",
    "log_every=10",
    "num_samples=5",
    "model.dropout=0.1",
    "optimizer.clip_norm=1",
    "optimizer.decay_vectors=false",
    "optimizer.ema_decay=0.9",
    "scheduler=cosine",
)
GRU = ("model=gru", "model.embedding_dim=6", "model.hidden_dim=8", "callbacks=pictures", *SHORT)
TRANSFORMER = (
    *("model=transformer", "model.embedding_dim=8", "model.num_heads=2", "model.num_layers=1", "model.tied=true"),
    *("model.positions=rotary", "mixture=false", *SHORT),
)


def leave_pictures_empty() -> None:
    """Draw nothing, which takes a second a picture."""
    from makemore.pictures import gallery, picture

    picture.Picture.rendered = lambda _picture, file_format: file_format.encode()  # type: ignore[method-assign]
    gallery._SAMPLES = 20


@pytest.fixture(scope="module")
def gru(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trials.train(tmp_path_factory.mktemp("gru") / "cwd", *GRU, prepare=leave_pictures_empty)


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trials.train(tmp_path_factory.mktemp("transformer") / "cwd", *TRANSFORMER)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of three n-grams on the same text."""
    cwd = tmp_path_factory.mktemp("sweep") / "cwd"
    given = ("-m", "model=ngram", "model.order=1,2,3", "model.fake_count=1", "data.max_lines=400", "num_samples=2")
    outcome = trials.run("train", *given, "hydra.sweep.dir=S", cwd=cwd)
    assert outcome.code == 0, outcome.err
    return cwd / "S"


def nlls_of(command: Command, path: Path) -> dict[str, float]:
    outcome = command("evaluate", f"ckpt_path={path}", "output=out.json")
    assert (outcome.code, outcome.err) == (0, "")
    found: dict[str, float] = json.loads(Path("out.json").read_text())
    return found


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_tensorboard_has_all_that_a_model_over_windows_has(name: str, request: pytest.FixtureRequest) -> None:
    run_dir: Path = request.getfixturevalue(name)
    events = EventAccumulator(str(run_dir), size_guidance={"histograms": 0, "scalars": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    assert tags["graph"]
    weights = {f"weights/{key}" for key, _ in makemore.load(run_dir).network.named_parameters()}
    assert set(tags["histograms"]) == weights
    assert {"train/nll", "val/nll", "lr", "samples/unseen"} <= set(tags["scalars"])
    assert {"gradient_to_weight/embed.weight", "update_to_weight/embed.weight"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("val/nll")] == [20, 40]
    assert tags["images"] if name == "gru" else not tags["images"]
    for file in ("labels", "embedding-00000000", "embedding-00000040"):
        assert len((run_dir / "projector" / f"{file}.tsv").read_text().splitlines()) == 27


def test_a_run_has_its_pictures(gru: Path) -> None:
    names = {path.name for path in (gru / "pictures").glob("*.png")}
    expected = {"bigrams", "network_beside_counts", "embedding", "nll_by_place_and_character", "calibration"}
    assert names == {f"{name}.png" for name in expected | {"confusion", "lengths", "loss"}}


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_checkpoint_commands_take_it(name: str, request: pytest.FixtureRequest, command: Command) -> None:
    run_dir: Path = request.getfixturevalue(name)
    ended, nlls = json.loads((run_dir / "metrics.json").read_text()), nlls_of(command, run_dir)
    assert all(nlls[f"{split}/nll"] == pytest.approx(ended[f"{split}/nll"], abs=1e-6) for split in ("train", "val"))
    model = makemore.load(run_dir)
    scored = command("score", f"ckpt_path={run_dir}", "words=[anna]")
    assert scored.out.splitlines()[-1].split()[-1] == f"{model.nll(['anna'])[0]:.4f}"
    given = ("prompt=an", "temperature=0.8", "top_k=9", "unseen=true", "max_length=9")
    sampled = command("sample", f"ckpt_path={run_dir}", "num_samples=6", *given)
    names = sampled.out.splitlines()
    assert names == model.sample(6, prompt="an", temperature=0.8, top_k=9, unseen=True, max_length=9)
    assert all(item.startswith("an") and len(item) <= 9 for item in names)
    assert not set(names) & model.seen()
    # the names of the run are those of the weights that it is evaluated with
    assert (run_dir / "samples.txt").read_text().splitlines() == model.sample(5)


def test_the_average_is_evaluated_and_the_weights_are_kept_beside_it(gru: Path) -> None:
    state = read(gru / "checkpoints" / "step-00000040.ckpt")["state_dict"]
    network = makemore.load(gru).network.state_dict()
    for name, value in network.items():
        assert value.equal(state[f"average.{name}"])
        assert not value.equal(state[f"network.{name}"])


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("name", [pytest.param("gru", marks=pytest.mark.full), "transformer"])
def test_it_has_a_page(name: str, request: pytest.FixtureRequest, command: Command, tmp_path: Path) -> None:
    run_dir = shutil.copytree(request.getfixturevalue(name), tmp_path / "run")
    outcome = command("report", "run")
    assert (outcome.code, outcome.err) == (0, "")
    page = unescape((run_dir / "report.html").read_text().partition("plotly.js v")[0])
    parameters = sum(parameter.numel() for parameter in makemore.load(run_dir).network.parameters())
    assert f">{parameters:,}</td>" in page
    assert '<div class="chart"' in page
    assert "model.dropout" in page


def test_a_run_ends_with_its_mixture_with_counts(gru: Path, command: Command) -> None:
    mixed, alone = nlls_of(command, gru / "mixture"), json.loads((gru / "metrics.json").read_text())
    assert mixed["val/nll"] <= min(alone["val/nll"], alone["reference/val/nll"]) + 1e-6
    of_mixture = {name: nll for name, nll in alone.items() if name.startswith("mixture/")}
    splits = ("train", "val", "test")
    assert of_mixture == {f"mixture/{split}/nll": pytest.approx(mixed[f"{split}/nll"], abs=1e-5) for split in splits}
    model = makemore.load(gru / "mixture")
    assert [part["architecture"] for part in model.arguments["parts"]] == ["gru", "kneser_ney"]
    assert model.step == 40


def test_mixture_false_and_jobs_of_a_sweep_leave_none(transformer: Path, sweep: Path) -> None:
    assert not (transformer / "mixture").exists()
    assert "mixture" not in (transformer / "metrics.json").read_text()
    assert not list(sweep.glob("*/mixture"))


def test_latest_is_the_run_and_not_its_mixture(gru: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(gru.parents[3])
    outcome = command("score", "ckpt_path=latest", "words=[anna]")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1].split()[-1] == f"{makemore.load(gru).nll(['anna'])[0]:.4f}"


@pytest.mark.usefixtures("no_drawing")
def test_models_are_mixed_into_one(
    gru: Path, transformer: Path, sweep: Path, command: Command, tmp_path: Path
) -> None:
    outcome = command("mix", gru, transformer, sweep, gru / "checkpoints", "top=2", "output=M")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[-1] == "M/checkpoints/step-00000040.ckpt"
    parts = [line.split() for line in lines if line.startswith("/")]
    # the same checkpoint once, and of the sweep the best two
    assert [part[1] for part in parts] == ["gru", "transformer", "ngram", "ngram"]
    assert sum(float(part[-1]) for part in parts) == pytest.approx(1, abs=2e-4)
    (val,) = (line.split() for line in lines if line.startswith("val"))
    assert float(val[2]) <= min(float(part[2]) for part in parts) + 1e-4
    assert nlls_of(command, Path("M"))["val/nll"] == pytest.approx(float(val[2]), abs=1e-5)
    model = makemore.load("M")
    assert command("sample", "ckpt_path=M", "num_samples=4", "prompt=a").out.splitlines() == model.sample(
        4, prompt="a"
    )
    scored = command("score", "ckpt_path=M", "words=[anna]")
    assert scored.out.splitlines()[-1].split()[-1] == f"{model.nll(['anna'])[0]:.4f}"
    reported = command("report", "M")
    assert (reported.code, reported.err) == (0, "")
    page = unescape((tmp_path / "M" / "report.html").read_text().partition("plotly.js v")[0])
    assert "cannot be read" not in page
    for part, weight in zip(parts, model.network.weights.tolist(), strict=True):  # type: ignore[union-attr, operator]
        assert f">{weight:.4f} {part[1]}" in page
    again = command("mix", gru, "output=M")
    assert again.error == "error: M: holds checkpoints already; choose another output="


def test_a_mixture_has_a_directory_of_its_own_by_default(gru: Path, command: Command, tmp_path: Path) -> None:
    assert command("mix", gru, gru / "mixture").code == 0
    (directory,) = (tmp_path / "logs" / "mixtures").iterdir()
    assert makemore.load(directory).architecture == "mixture"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{gru} top=0", "top must be a whole number above 0, not '0'"),
        ("{gru} top=x", "top must be a whole number above 0, not 'x'"),
        ("{gru} nowhere", "nowhere: no such checkpoint"),
        ("{gru} {trained}", "have different data.max_lines: 400 and 2000"),
        ("{gru} output={gru}", "holds checkpoints already; choose another output="),
    ],
)
def test_what_cannot_be_mixed_is_one_line(given: str, says: str, gru: Path, trained: Path, command: Command) -> None:
    assert says in command("mix", *given.format(gru=gru, trained=trained).split()).error
