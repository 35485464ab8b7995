"""Checks conf/ of the working directory: it is found without a flag, and wins; models of one's own are trained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import own_directory
import pytest
from trials import run

from makemore.system.files import CONF

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a conf/ of its own, and in it a run of an experiment and a model from there."""
    cwd = own_directory.make(tmp_path_factory.mktemp("own") / "cwd")
    outcome = run("makemore", "train", "experiment=own", "name=first", cwd=cwd)
    assert outcome.code == 0, outcome.err
    assert "cannot be resumed" not in outcome.err
    run_dir = cwd / "logs" / "train" / "runs" / "first"
    report, sample, *_ = outcome.out.splitlines()[-3:]
    assert (report, sample) == (f"  makemore report {run_dir}", f"  makemore sample ckpt_path={run_dir}")
    return cwd


def test_an_experiment_and_a_model_of_ones_own_train_and_sample(trained: Path) -> None:
    metrics = json.loads((trained / "logs" / "train" / "runs" / "first" / "metrics.json").read_text())
    assert metrics["steps"] == own_directory.STEPS
    # as a script too
    for how in (("sample",), ("makemore", "sample")):
        outcome = run(*how, "ckpt_path=latest", "num_samples=3", cwd=trained)
        assert (outcome.code, len(outcome.out.splitlines())) == (0, 3), outcome.err
    assert run("evaluate", "ckpt_path=latest", cwd=trained).code == 0


def test_its_run_is_resumed(trained: Path) -> None:
    outcome = run("makemore", "train", "resume=logs/train/runs/first", "trainer.max_steps=30", cwd=trained)
    assert outcome.code == 0, outcome.err
    assert json.loads((trained / "logs" / "train" / "runs" / "first" / "metrics.json").read_text())["steps"] == 30


def test_elsewhere_its_model_is_not_known_and_its_run_not_trusted(trained: Path, tmp_path: Path) -> None:
    run_dir = trained / "logs" / "train" / "runs" / "first"
    error = "model.architecture must be one of bigram"
    assert error in run("makemore", "sample", f"ckpt_path={run_dir}", cwd=tmp_path / "cwd").error
    error = "model._target_=own_networks.NeuralLanguageModel is nothing that a saved config may name"
    assert error in run("makemore", "train", f"resume={run_dir}", cwd=tmp_path / "cwd").error


def test_a_file_of_the_same_name_wins(command: Command, tmp_path: Path) -> None:
    (tmp_path / "conf" / "optimizer").mkdir(parents=True)
    ours = (CONF / "optimizer" / "adamw.yaml").read_text()
    (tmp_path / "conf" / "optimizer" / "adamw.yaml").write_text(ours.replace("lr: 0.003", "lr: 0.125"))
    assert "  lr: 0.125\n" in command("train", "model=mlp", "--cfg", "job").out
    assert "file://" + str(tmp_path / "conf") in command("train", "--info", "searchpath").out


def test_a_module_that_cannot_be_imported_is_named(process: Command, tmp_path: Path) -> None:
    own_directory.make(tmp_path)
    (tmp_path / "own_networks.py").write_text("import nowhere_at_all\n")
    error = process("train", "experiment=own").error
    assert "conf/model/own.yaml: cannot be used: No module named 'nowhere_at_all'; mend it, or the module" in error
    assert not (tmp_path / "logs").exists()


def test_models_of_another_project_are_left_alone(process: Command, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "theirs.yaml").write_text("_target_: nowhere_at_all.Net\n")
    assert "pairs" in process("sample", f"ckpt_path={trained / 'logs' / 'train' / 'runs' / 'first'}").error


def test_a_name_is_that_of_one_run(trained: Path) -> None:
    error = "choose another name= or hydra.run.dir=, or resume it by resume="
    assert error in run("makemore", "train", "experiment=own", "name=first", cwd=trained).error
