"""Checks what a run is known by in TensorBoard's HPARAMS: what its command gave, or what its sweep varies."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from makemore.runs.given import Given, read_given


def write(run_dir: Path, mode: str, *overrides: str, fixed: tuple[str, ...] = ()) -> None:
    path = run_dir / ".hydra" / "hydra.yaml"
    path.parent.mkdir(parents=True)
    job = {"config": {"override_dirname": {"exclude_keys": list(fixed)}}}
    hydra: dict[str, Any] = {"mode": mode, "job": job, "overrides": {"task": list(overrides)}}
    path.write_text(yaml.dump({"hydra": hydra | {"runtime": {"choices": {"model": "mlp"}}}}))


CFG = OmegaConf.create({"seed": 3, "model": {"l2": 0.1}, "optimizer": {"lr": 0.01}, "trainer": {"max_steps": 1500}})


def test_a_run_is_known_by_its_model_and_its_command_with_numbers_for_auto(tmp_path: Path) -> None:
    write(tmp_path, "RUN", "seed=3", "trainer.max_steps=auto", "name=first", "experiment=lessons/mlp")
    given = read_given(tmp_path)
    assert given is not None
    assert not given.is_job
    assert given.hyperparameters(CFG) == {
        "model": "mlp",
        "seed": 3,
        "trainer.max_steps": 1500,
        "experiment": "lessons/mlp",
    }


@pytest.mark.parametrize(("given", "value", "known_by"), [("null", None, {}), ("32", 32, {"data.batch_size": 32})])
def test_a_key_that_is_null_in_some_runs_is_a_number_in_the_others(
    given: str, value: int | None, known_by: dict[str, Any], tmp_path: Path
) -> None:
    write(tmp_path, "MULTIRUN", f"data.batch_size={given}")
    found = read_given(tmp_path)
    assert found is not None
    assert found.hyperparameters(OmegaConf.create({"data": {"batch_size": value}})) == known_by


def test_a_job_is_known_by_what_its_sweep_varies(tmp_path: Path) -> None:
    write(tmp_path, "MULTIRUN", "model=gru", "optimizer.lr=0.01", "model.l2=0.1", fixed=("model", "model.l2"))
    assert read_given(tmp_path) == Given(True, {"optimizer.lr": 0.01})


@pytest.mark.parametrize("content", ["", "hydra: [", "hydra: 3", "!!python/object/apply:os.getcwd []"])
def test_a_damaged_file_tells_nothing(content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_given(tmp_path) is None
    assert not caplog.messages
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "hydra.yaml").write_text(content)
    assert read_given(tmp_path) is None
    assert "hydra.yaml: cannot be read" in caplog.text
