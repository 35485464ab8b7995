"""Checkpoints, runs and sweeps of earlier versions stay what they were; see tests/fixtures/runs/README.md."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import get_object
from trials import ROOT, points

import makemore
from makemore.runs.saved_config import read_saved_config
from makemore.system import files

Command = Callable[..., Any]
CHECKPOINTS = ROOT / "tests" / "fixtures" / "checkpoints"
RUNS = ROOT / "tests" / "fixtures" / "runs"
CONF = ROOT / "conf"
GIVEN = json.loads((CHECKPOINTS / "expected.json").read_text())
EXPECTED = json.loads((RUNS / "expected.json").read_text())
EVALUATED, ENDED = EXPECTED["evaluated"], EXPECTED["ended"]
HERE = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}
# of what is computed anew; other kernels round sums differently
TOLERANCE = 0.0 if EXPECTED["made_with"] == HERE else 1e-5
# all that a saved config may name of what conf/ named at c90a438; Hydra's own part is not in a saved config
TARGETS = [
    "lightning.pytorch.Trainer",
    "lightning.pytorch.callbacks.EarlyStopping",
    "makemore.callbacks.BigramMatrix",
    "makemore.callbacks.CountTable",
    "makemore.callbacks.LearningRateRangePlot",
    "makemore.callbacks.Pictures",
    "makemore.data.datamodule.TextDataModule",
    "makemore.language_model.CountingLanguageModel",
    "makemore.language_model.NeuralLanguageModel",
    "makemore.loggers.MetricsCsv",
    "makemore.loggers.TensorBoard",
    "makemore.schedules.constant",
    "makemore.schedules.exponential_ramp",
    "makemore.schedules.step_decay",
    "makemore.watching.numbers.Activations",
    "makemore.watching.numbers.Gradients",
    "makemore.watching.numbers.Speed",
    "makemore.watching.numbers.Weights",
    "makemore.watching.pages.Charts",
    "makemore.watching.pages.Config",
    "makemore.watching.pages.Embedding",
    "makemore.watching.pages.Graph",
    "makemore.watching.pages.Names",
    "torch.optim.AdamW",
    "torch.optim.SGD",
]


@pytest.fixture
def kept(command: Command, tmp_path: Path) -> Callable[[str], Path]:
    """Copy a kept run or sweep into the working directory, which has the text where the checkpoints say."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    return lambda name: Path(shutil.copytree(RUNS / name, tmp_path / "kept" / name))


def close(expected: Any) -> Any:
    """Return numbers to compare with what is computed anew."""
    return pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


def numbers(path: Path) -> list[dict[str, float]]:
    """Return the numbers in each row of a table, but for wall times."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    texts = ("seconds", "status", "job", "message")
    return [{name: float(value) for name, value in row.items() if value and name not in texts} for row in rows]


def assert_ended(run_dir: Path, name: str) -> None:
    """Check what a run ended with against what c90a438 ended it with."""
    metrics = json.loads((run_dir / "metrics.json").read_text())
    expected = {key: value for key, value in ENDED[name]["metrics"].items() if key != "seconds"}
    assert {key: metrics[key] for key in expected} == close(expected)
    assert (run_dir / "samples.txt").read_text().splitlines() == ENDED[name]["names"]


def test_each_checkpoint_has_its_expectations() -> None:
    assert sorted(GIVEN) == sorted(path.name for path in CHECKPOINTS.glob("*.ckpt"))


@pytest.mark.parametrize("name", GIVEN)
def test_a_checkpoint_gives_what_it_gave(name: str) -> None:
    expected = GIVEN[name]
    model = makemore.load(CHECKPOINTS / name)
    assert model.step == expected["step"]
    assert model.nll(list(expected["nll"])) == pytest.approx(list(expected["nll"].values()), rel=1e-6)
    assert model.sample(5, seed=3) == expected["names"]


@pytest.mark.parametrize("name", EVALUATED)
def test_a_kept_run_evaluates_as_it_did(name: str, kept: Callable[[str], Path], command: Command) -> None:
    expected, run_dir = EVALUATED[name], kept(name)
    outcome = command("evaluate", f"ckpt_path={run_dir}", "output=metrics.json")
    assert (outcome.code, outcome.err) == (0, "")
    evaluated = json.loads(Path("metrics.json").read_text())
    nlls = {split: evaluated[f"{split}/nll"] for split in ("train", "val", "test")}
    assert nlls == pytest.approx(expected["splits"], abs=1e-6)
    model = makemore.load(run_dir)
    assert model.step == expected["step"]
    assert model.nll(list(expected["words"])) == pytest.approx(list(expected["words"].values()), abs=1e-6)
    assert model.sample(5, seed=3) == expected["names"]


@pytest.mark.parametrize("name", ["mlp", "ngram"])
def test_a_kept_run_scores_and_samples_as_it_did(name: str, command: Command) -> None:
    ckpt_path = f"ckpt_path={RUNS / name}"
    words = EVALUATED[name]["words"]
    scored = command("score", ckpt_path, f"words=[{','.join(words)}]").out.splitlines()
    for word, nll in words.items():
        (row,) = (line for line in scored if line.startswith(f"{word} "))
        assert float(row.split()[-1]) == pytest.approx(nll, abs=1e-4)
    assert command("sample", ckpt_path, "num_samples=5", "seed=3").out.splitlines() == EVALUATED[name]["names"]


# of which earlier versions had others, or at other steps
OTHERS = (
    *("nll/", "later_nll/", "hparam/", "_hparams_/", "samples/", "train/penalty"),
    *("log10_update/", "saturated/none", "saturated/all"),
)


def tags(run_dir: Path) -> set[tuple[str, int]]:
    return {key for key in points(run_dir) if not key[0].startswith(OTHERS)}


def test_a_stopped_run_is_resumed_and_ends_as_the_one_that_was_not(
    kept: Callable[[str], Path], command: Command
) -> None:
    run_dir = kept("mlp-stopped")
    outcome = command("train", f"resume={run_dir}")
    assert outcome.code == 0, outcome.err
    assert numbers(run_dir / "metrics.csv") == [close(row) for row in numbers(RUNS / "mlp" / "metrics.csv")]
    assert (run_dir / "samples.txt").read_text() == (RUNS / "mlp" / "samples.txt").read_text()
    resumed, whole = (
        files.read_sealed(directory / "checkpoints" / "step-00000060.ckpt")[0] for directory in (run_dir, RUNS / "mlp")
    )
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(resumed[part], whole[part], rtol=TOLERANCE, atol=TOLERANCE)
    # which is not among the steps at which activations are observed now
    assert tags(run_dir) == tags(RUNS / "mlp") - {("activations/hidden", 40), ("saturated/hidden", 40)}
    assert [path.name for path in (run_dir / "checkpoints").glob("best-*")] == ["best-step-00000060.ckpt"]


def test_a_stopped_range_test_is_resumed_with_its_plot(kept: Callable[[str], Path], command: Command) -> None:
    run_dir = kept("ramp-stopped")
    outcome = command("train", f"resume={run_dir}")
    assert outcome.code == 0, outcome.err
    assert_ended(run_dir, "ramp-stopped")
    assert (run_dir / "lr_range.png").exists()


def test_a_finished_run_is_resumed_to_more_steps(kept: Callable[[str], Path], command: Command) -> None:
    run_dir = kept("mlp")
    outcome = command("train", f"resume={run_dir}", "trainer.max_steps=80")
    assert outcome.code == 0, outcome.err
    assert_ended(run_dir, "mlp")
    # the last row had no loss yet, which the next step gives
    *before, last = numbers(RUNS / "mlp" / "metrics.csv")
    resumed = numbers(run_dir / "metrics.csv")
    assert resumed[: len(before)] == before
    assert last.items() <= resumed[len(before)].items()
    assert [row["step"] for row in resumed[len(before) :]] == [60, 65, 70, 75, 80]


def test_a_counted_run_is_resumed_and_stays_as_it_was(kept: Callable[[str], Path], command: Command) -> None:
    run_dir = kept("ngram")
    outcome = command("train", f"resume={run_dir}")
    assert outcome.code == 0, outcome.err
    for name in ("metrics.csv", "samples.txt", "counts.csv"):
        assert (run_dir / name).read_bytes() == (RUNS / "ngram" / name).read_bytes()


@pytest.mark.full
@pytest.mark.usefixtures("no_drawing")
def test_a_run_is_reported(kept: Callable[[str], Path], command: Command) -> None:
    run_dir = kept("ngram")
    outcome = command("report", run_dir)
    assert (outcome.code, outcome.err) == (0, "")
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    for split, nll in EVALUATED["ngram"]["splits"].items():
        (row,) = (line.split() for line in outcome.out.splitlines() if line.startswith(f"{split} "))
        assert float(row[2]) == pytest.approx(nll, abs=1e-6)
        assert f">{row[2]}</td>" in page
    assert '<p class="warning">' not in page


@pytest.mark.full
@pytest.mark.usefixtures("no_drawing")
def test_a_sweep_is_reported(kept: Callable[[str], Path], command: Command) -> None:
    sweep_dir = kept("sweep")
    outcome = command("report", sweep_dir)
    assert (outcome.code, outcome.err) == (0, "")
    assert numbers(sweep_dir / "sweep.csv") == numbers(RUNS / "sweep" / "sweep.csv")
    page = (sweep_dir / "report.html").read_text(encoding="utf-8")
    for row in numbers(RUNS / "sweep" / "sweep.csv"):
        assert f"{row['val/nll']:.7f}" in outcome.out
        assert f"{row['val/nll']:.7f}</td>" in page


@pytest.fixture
def then(tmp_path: Path) -> Path:
    """A conf/ whose default model is that of then."""
    config = Path(shutil.copytree(CONF, tmp_path / "conf")) / "train.yaml"
    config.write_text(config.read_text().replace("- model: lstm", "- model: mlp"))
    return config.parent


def test_a_stopped_sweep_is_not_completed_with_another_default_model(
    kept: Callable[[str], Path], command: Command
) -> None:
    sweep_dir = kept("sweep-stopped")
    given = json.loads((sweep_dir / "sweep.json").read_text())["command"]
    outcome = command("train", *given, f"hydra.sweep.dir={sweep_dir}")
    assert outcome.code == 2
    ended = outcome.err.splitlines()[-1]
    assert ended.endswith(
        "is makemore.training.schedules.cosine now; put that back, or choose another hydra.sweep.dir"
    )


@pytest.mark.parametrize(
    ("name", "table"), [("sweep-stopped", "sweep/sweep.csv"), ("vectorized-stopped", "vectorized.csv")]
)
def test_a_stopped_sweep_is_completed_by_its_own_command(
    name: str, table: str, kept: Callable[[str], Path], command: Command, then: Path
) -> None:
    sweep_dir = kept(name)
    finished = {path: path.read_bytes() for path in sweep_dir.glob("*/samples.txt")}
    assert len(finished) == 3
    given = json.loads((sweep_dir / "sweep.json").read_text())["command"]
    outcome = command("train", "--config-path", then, *given, f"hydra.sweep.dir={sweep_dir}")
    assert outcome.code == 0, outcome.err
    completed, whole = (numbers(path) for path in (sweep_dir / "sweep.csv", RUNS / table))
    assert completed == [close(row) for row in whole]
    assert {path: path.read_bytes() for path in finished} == finished


@pytest.mark.parametrize("path", sorted(RUNS.rglob("config.yaml")), ids=lambda path: str(path.parents[1].name))
def test_a_saved_config_is_accepted(path: Path) -> None:
    assert "trainer" in read_saved_config(path.parents[1])


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_of_earlier_configs_is_accepted_and_there(target: str, tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(f"trainer: {{}}\npart:\n  _target_: {target}\n")
    assert callable(get_object(read_saved_config(tmp_path).part._target_))
