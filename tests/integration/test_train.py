"""Checks scripts/train.py: the files of a run, its logs, sweeps, and what two runs share."""

import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

import makemore
from makemore.data.cache import directory
from makemore.data.corpus import read_corpus
from makemore.inference.reference import reference_row
from makemore.inference.trained_model import load
from makemore.pictures.curves import read_curves, suggested_rate

SHORT = (
    "trainer.max_steps=30",
    "val_every=10",
    "log_every=5",
    "checkpoint_every=10",
    "data.max_lines=1000",
    "num_samples=3",
    "model=mlp",
    "model.hidden_dim=8",
)

Command = Callable[..., Any]


def runs(cwd: Path, task: str = "train") -> list[Path]:
    return sorted((cwd / "logs" / task / "runs").iterdir())


def rows(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return load(run_dir).network.state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_leaves_its_files(trained: Path) -> None:
    names = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    events = {name for name in names if "events.out.tfevents" in name}
    checkpoints = {name for name in names if name.startswith("checkpoints/")}
    projector = {name for name in names if name.startswith("projector")}
    # a directory a colour, and one for HPARAMS
    assert sorted(str(Path(name).parent) for name in events) == [".", "validation", "values"]
    assert {"checkpoints/step-00000200.ckpt", "checkpoints/step-00000300.ckpt"} <= checkpoints
    assert len(checkpoints) == 3  # the last two, and the best
    assert projector == {
        *("projector_config.pbtxt", "projector/labels.tsv"),
        *(f"projector/embedding-{step:08}.tsv" for step in (0, 300)),
    }
    assert names - events - checkpoints - projector == {
        *(".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml"),
        *("train.log", "metrics.csv", "metrics.json", "samples.txt", ".lock"),
        # with Kneser-Ney
        "mixture/checkpoints/step-00000300.ckpt",
    }


def test_the_log_has_a_row_a_logged_step_with_the_penalty_apart(trained: Path) -> None:
    logged = rows(trained)
    assert [int(row["step"]) for row in logged] == list(range(0, 301, 10))
    assert list(logged[0]) == ["step", "train/loss", "train/nll", "train/penalty", "lr", "val/nll"]
    for row in logged[:-1]:
        assert float(row["train/penalty"]) > 0
        assert float(row["train/loss"]) == pytest.approx(float(row["train/nll"]) + float(row["train/penalty"]))
        assert float(row["lr"]) == 0.003
    assert [int(row["step"]) for row in logged if row["val/nll"]] == [100, 200, 300]
    assert abs(float(logged[0]["train/nll"]) - math.log(27)) < 0.1


def test_metrics_json_has_every_split_in_three_units(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["steps"] == 300
    assert metrics["seconds"] > 0
    for split in ("train", "val", "test"):
        nll = metrics[f"{split}/nll"]
        assert metrics[f"{split}/bits_per_char"] == pytest.approx(nll / math.log(2))
        assert metrics[f"{split}/perplexity"] == pytest.approx(math.exp(nll))
    assert metrics["val/nll"] == pytest.approx(float(rows(trained)[-1]["val/nll"]), abs=1e-9)


def test_metrics_json_has_the_reference_row_of_the_same_splits(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    corpus = read_corpus(load(trained).options)
    expected = reference_row(corpus).as_dict()
    found = {name: value for name, value in metrics.items() if name.startswith("reference/")}
    assert found.pop("reference/seconds") > 0
    assert found == {name: value for name, value in expected.items() if name != "reference/seconds"}


def test_samples_txt_has_the_names_that_the_checkpoint_gives(trained: Path) -> None:
    assert (trained / "samples.txt").read_text().splitlines() == load(trained).sample(10, seed=0)


def test_tensorboard_has_scalars_text_and_hyperparameters_at_optimiser_steps(trained: Path) -> None:
    events = EventAccumulator(str(trained)).Reload()
    assert {"train/loss", "train/nll", "train/penalty", "lr", "val/nll"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("train/nll")] == list(range(0, 300, 10))
    assert [event.step for event in events.Scalars("val/nll")] == [100, 200, 300]
    assert [event.step for event in events.Tensors("samples/text_summary")] == [300]
    assert set(events.Tags()["scalars"]) >= {"nll/training", "nll/knowing nothing", "later_nll/training"}
    validation = EventAccumulator(str(trained / "validation")).Reload()
    assert [event.step for event in validation.Scalars("nll/validation")] == [100, 200, 300]
    reference = json.loads((trained / "metrics.json").read_text())["reference/val/nll"]
    line = {event.step: event.value for event in validation.Scalars("nll/counting alone")}
    assert line == {step: pytest.approx(reference, rel=1e-6) for step in range(0, 301, 10)}
    events = EventAccumulator(str(trained / "values")).Reload()
    summaries = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    started = plugin_data_pb2.HParamsPluginData.FromString(summaries).session_start_info.hparams
    # what the command says, no more
    assert {key: value for key, value in started.items() if key in ("model", "model.l2")}.keys() == {
        "model",
        "model.l2",
    }
    assert started["model.l2"].number_value == 0.01
    assert set(events.Tags()["scalars"]) == {f"hparam/{split}_nll" for split in ("train", "val", "test")}
    nll = json.loads((trained / "metrics.json").read_text())["val/nll"]
    assert events.Scalars("hparam/val_nll")[0].value == pytest.approx(nll, abs=1e-6)


def test_checkpoints_load_with_weights_only(trained: Path) -> None:
    for path in (trained / "checkpoints").iterdir():
        torch.load(path, weights_only=True)


@pytest.mark.full
def test_two_runs_with_one_seed_end_alike_ten_steps_at_a_time_or_one(command: Command, tmp_path: Path) -> None:
    for steps in (1, 10):
        assert command("train", *SHORT, f"steps_per_execution={steps}", "seed=0").code == 0
    assert command("train", *SHORT, "seed=1").code == 0
    one, ten, other_seed = map(weights, runs(tmp_path))
    assert same(one, ten)
    assert not same(one, other_seed)


@pytest.mark.full
def test_a_compiled_run_ends_alike_for_any_blocks_and_near_an_eager_one(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    # ten take several times as long to compile
    monkeypatch.setattr("makemore.training.inductor._UNROLLED", 2)
    bigram = ("model=bigram", "optimizer=sgd", "optimizer.lr=10", "model.l2=0.01")
    for more in (["compile=true"], ["compile=true", "steps_per_execution=7"], []):
        assert command("train", *SHORT[:-2], *bigram, *more).code == 0
    compiled, again, eager = runs(tmp_path)
    assert same(weights(compiled), weights(again))
    assert rows(compiled) == rows(again)
    losses = [[float(row["train/loss"] or "nan") for row in rows(path)] for path in (compiled, eager)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4, nan_ok=True)
    # what was compiled is kept for the next run
    assert any(directory("inductor").iterdir())


def test_another_seed_leaves_the_splits_as_they_are(command: Command, tmp_path: Path) -> None:
    for override in ("seed=0", "seed=1", "data.split_seed=1"):
        assert command("train", "model=ngram", "data.max_lines=1000", override).code == 0
    first, second, other_splits = (json.loads((path / "metrics.json").read_text()) for path in runs(tmp_path))
    nlls = ("train/nll", "val/nll", "test/nll")
    assert [first[name] for name in nlls] == [second[name] for name in nlls]
    assert [first[name] for name in nlls] != [other_splits[name] for name in nlls]


def test_an_ngram_may_end_with_an_infinite_nll(command: Command, tmp_path: Path) -> None:
    outcome = command("train", "model=ngram", "model.order=5", "data.max_lines=1000")
    assert outcome.code == 0
    assert "inf: something there was never seen in training" in outcome.out
    (run_dir,) = runs(tmp_path)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert metrics["val/nll"] is None
    assert metrics["val/infinite"] is True
    assert metrics["steps"] == 1
    assert metrics["train/nll"] < 2.0


@pytest.mark.full
def test_a_sweep_gives_each_job_a_directory(command: Command, tmp_path: Path) -> None:
    outcome = command("train", "-m", "model=ngram", "model.fake_count=0,1,10", "data.max_lines=1000")
    assert outcome.code == 0
    (sweep,) = (tmp_path / "logs" / "train" / "multiruns").iterdir()
    metrics = [json.loads(path.read_text()) for path in sorted(sweep.glob("*/metrics.json"))]
    assert len(metrics) == 3
    assert len({job["val/nll"] for job in metrics}) == 3
    # computed once
    assert len({job["reference/seconds"] for job in metrics}) == 1


def test_early_stopping_stops_before_the_planned_steps(command: Command, tmp_path: Path) -> None:
    overrides = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optimizer.lr=0")
    outcome = command("train", *SHORT, *overrides)
    assert outcome.code == 0
    (run_dir,) = runs(tmp_path)
    assert json.loads((run_dir / "metrics.json").read_text())["steps"] == 20
    reason = "early stopping: Monitored metric val/nll did not improve in the last 1 records."
    assert f"stopped early at step 20 by {reason} Best score: " in " ".join(outcome.err.split())


def test_a_run_that_learns_its_text_by_heart_says_so_and_hands_on_its_best(command: Command, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("".join(f"{a}{b}{c}\n" for a in "abcd" for b in "efgh" for c in "ijkl"))
    text = ("data=text", "data.path=names.txt", "data.splits=[0.5,0.25,0.25]", "num_samples=0", "watch=none")
    large = ("model=mlp", "optimizer.lr=0.05", "trainer.max_steps=60", "val_every=5", "patience=null")
    outcome = command("train", *text, *large, "mixture=false", "name=r")
    (found,) = re.findall(
        r"the model began to learn its text by heart: after step (\d+) the training NLL fell from ([\d.]+) to "
        r"([\d.]+), and the validation NLL rose from ([\d.]+) to ([\d.]+)",
        " ".join(outcome.err.split()),
    )
    step, fell_from, fell_to, rose_from, rose_to = map(float, found)
    assert fell_from > fell_to
    assert rose_to > rose_from + 0.01
    run_dir = tmp_path / "logs" / "train" / "runs" / "r"
    assert makemore.load(run_dir).step == step < 60 == makemore.load(run_dir, which="last").step
    assert rose_from == pytest.approx(json.loads((run_dir / "metrics.json").read_text())["val/nll"], abs=1e-4)
    # no further than this
    outcome = command("train", *text, *large, "mixture=false", "name=s", f"trainer.max_steps={step:.0f}")
    assert "by heart" not in outcome.err


def test_a_key_of_the_users_own_is_read_where_values_refer_to_it(command: Command, tmp_path: Path) -> None:
    sizes = ("+width=5", "++depth=2", "model.hidden_dim=${width}", "model.num_layers=${oc.select:depth}")
    overrides = (*sizes, "+rate=0.0625", "optimizer.lr=${rate}")
    assert command("train", *SHORT, *overrides).code == 0
    (run_dir,) = runs(tmp_path)
    weights = makemore.load(run_dir).network.state_dict()
    assert (5, 5) in [tuple(weight.shape) for weight in weights.values()]
    assert rows(run_dir)[0]["lr"] == "0.0625"


def test_a_loss_that_is_no_longer_finite_ends_the_run_in_one_line(command: Command) -> None:
    outcome = command("train", *SHORT, "optimizer=sgd", "optimizer.lr=1e30", "data.splits=[1,0,0]")
    assert outcome.code == 2
    assert "at step" in outcome.err.splitlines()[-1]
    assert "learning rate 1e+30" in outcome.err.splitlines()[-1]


def test_three_files_replace_the_ratios(command: Command, tmp_path: Path) -> None:
    for name, content in (("a.txt", "anna\nbob\n"), ("b.txt", "anna\neve\n"), ("c.txt", "dan\n")):
        (tmp_path / name).write_text(content)
    paths = ("data=text", "data.path=a.txt", "data.val_path=b.txt", "data.test_path=c.txt")
    outcome = command("train", "model=ngram", "model.fake_count=1", *paths)
    assert "train 9, val 9, test 4, 50.0% of val lines are in train too" in outcome.err
    assert outcome.code == 0


def test_the_learning_rate_range_test_ends_with_its_picture(command: Command, tmp_path: Path) -> None:
    assert command("train", *SHORT, "scheduler=exponential_ramp", "optimizer.lr=1.0").code == 0
    (run_dir,) = runs(tmp_path)
    assert (run_dir / "lr_range.png").read_bytes().startswith(b"\x89PNG")
    assert float(rows(run_dir)[0]["lr"]) == pytest.approx(1e-3)


def test_the_rate_that_the_lessons_range_test_suggests_is_the_lessons(command: Command, tmp_path: Path) -> None:
    assert command("train", "experiment=lessons/lr_range").code == 0
    (run_dir,) = runs(tmp_path, "lessons/lr_range")
    _, rates = read_curves(run_dir / "metrics.csv")["lr"]
    _, losses = read_curves(run_dir / "metrics.csv")["train/nll"]
    suggested = suggested_rate(rates, losses)
    assert suggested is not None
    # the lesson's eye says 10^-1
    assert math.log10(suggested) == pytest.approx(-1, abs=0.2)
    assert (run_dir / "lr_range.svg").is_file()


def test_a_range_test_that_explodes_beyond_numbers_has_its_picture_too(command: Command, tmp_path: Path) -> None:
    ramp = ("scheduler=exponential_ramp", "scheduler.end_exponent=40", "optimizer=sgd", "steps_per_execution=5")
    assert command("train", *SHORT, *ramp).code == 2
    (run_dir,) = runs(tmp_path)
    assert (run_dir / "lr_range.png").read_bytes().startswith(b"\x89PNG")


def test_a_callback_or_a_logger_is_switched_off_by_null(command: Command, tmp_path: Path) -> None:
    off = ("callbacks=early_stopping", "callbacks.early_stopping=null", "logger.tensorboard=null", "optimizer.lr=0")
    assert command("train", *SHORT, *off).code == 0
    (run_dir,) = runs(tmp_path)
    assert json.loads((run_dir / "metrics.json").read_text())["steps"] == 30
    assert not list(run_dir.glob("events*"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_cuda_ends_near_the_one_on_the_cpu(command: Command, tmp_path: Path) -> None:
    for trainer in ("default", "gpu"):
        assert command("train", *SHORT, f"trainer={trainer}").code == 0
    cpu, gpu = (json.loads((path / "metrics.json").read_text())["val/nll"] for path in runs(tmp_path))
    assert gpu == pytest.approx(cpu, abs=1e-3)


def test_the_default_model_learns(trained: Path) -> None:
    # the short form of the trial below
    assert json.loads((trained / "metrics.json").read_text())["val/nll"] < 2.4


@pytest.mark.slow
def test_the_default_model_is_better_than_the_lessons(process: Command, tmp_path: Path) -> None:
    assert process("train").code == 0
    (run_dir,) = runs(tmp_path)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    print(metrics)
    assert metrics["val/nll"] <= 2.08
