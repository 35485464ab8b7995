"""Checks going on with a run: which checkpoint is taken, and which config."""

import shutil
from pathlib import Path

import pytest
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from makemore.checkpoints import find, path_of
from makemore.errors import UserError
from makemore.runs import resuming
from makemore.runs.assemble import assemble
from makemore.runs.train import open_run, train
from makemore.system.hydra_release import composing

ROOT = Path(__file__).parents[2]
SHORT = ["model=bigram", "trainer.max_steps=6", "val_every=2", "checkpoint_every=3", "steps_per_execution=2"]


def composed(*overrides: str) -> DictConfig:
    """Return the config that a command composes, Hydra's part included."""
    with composing():
        return compose("train", [*overrides], return_hydra_config=True)


def task(config: DictConfig) -> DictConfig:
    plain = config.copy()
    OmegaConf.set_struct(plain, False)
    del plain["hydra"]
    return plain


def run(run_dir: Path, *overrides: str) -> DictConfig:
    """Train in a directory as the command does, and return the config."""
    config = task(composed(*SHORT, *overrides))
    (run_dir / ".hydra").mkdir(parents=True)
    OmegaConf.save(config, run_dir / ".hydra" / "config.yaml")
    OmegaConf.save([*SHORT, *overrides], run_dir / ".hydra" / "overrides.yaml")
    train(config, run_dir)
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    run(run_dir)
    return run_dir


@pytest.fixture
def finished(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


# --- the checkpoint


def checkpoint_to_resume(run_dir: Path, *overrides: str) -> Path | None:
    return resuming.checkpoint_to_resume(assemble(task(composed(*SHORT, *overrides)), run_dir))


def test_the_newest_whole_one_is_taken_and_damaged_newer_ones_are_set_aside(finished: Path) -> None:
    newest, best = path_of(finished, 6), path_of(finished, 6, best=True)
    newest.write_bytes(newest.read_bytes()[:-1])
    best.write_bytes(b"")
    assert checkpoint_to_resume(finished) == path_of(finished, 3)
    assert sorted(path.name for path in newest.parent.iterdir()) == [
        "best-step-00000006.ckpt.damaged",
        "step-00000003.ckpt",
        "step-00000006.ckpt.damaged",
    ]
    assert find(finished) == path_of(finished, 3)


def test_the_best_serves_where_nothing_newer_is_whole(finished: Path) -> None:
    newest, best = path_of(finished, 6), path_of(finished, 6, best=True)
    newest.write_bytes(b"")
    assert checkpoint_to_resume(finished) == newest
    assert newest.read_bytes() == best.read_bytes()


def test_where_none_is_whole_the_run_begins_anew(finished: Path) -> None:
    for path in (finished / "checkpoints").iterdir():
        path.write_bytes(b"")
    config = task(composed(*SHORT))
    config.resume = str(finished)
    _, checkpoint = open_run(assemble(config, finished))
    assert checkpoint is None
    assert {path.suffix for path in (finished / "checkpoints").iterdir()} == {".damaged"}
    assert not (finished / "metrics.csv").exists()


@pytest.mark.parametrize(
    "overrides", [["model=mlp"], ["optimizer=sgd"], ["optimizer.lr=0.1"], ["data.boundary=separate"]]
)
def test_a_checkpoint_of_another_run_is_refused_and_nothing_is_moved(overrides: list[str], finished: Path) -> None:
    before = sorted(path.name for path in (finished / "checkpoints").iterdir())
    with pytest.raises(UserError, match="is of another model or optimiser"):
        checkpoint_to_resume(finished, *overrides)
    assert sorted(path.name for path in (finished / "checkpoints").iterdir()) == before


def test_a_text_that_has_changed_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "names.txt"
    shutil.copy(ROOT / "data" / "names.txt", text)
    known = ("data=text", f"data.path={text}")
    run(tmp_path / "run", *known)
    text.write_text(text.read_text() + "anna\n")
    with pytest.raises(UserError, match="its text has changed since"):
        checkpoint_to_resume(tmp_path / "run", *known)


# --- the config


def test_the_config_becomes_that_of_the_run(finished: Path) -> None:
    config = composed(f"resume={finished}")
    resuming.take_over(config)
    saved = OmegaConf.load(finished / ".hydra" / "config.yaml")
    saved.resume = str(finished)
    saved.data.update({"url": None, "copy_variable": None})
    assert task(config) == saved
    assert config.hydra.run.dir == str(finished)
    assert config.hydra.output_subdir is None


def test_more_steps_may_be_asked_for_and_are_kept(finished: Path) -> None:
    config = composed(f"resume={finished}", "trainer.max_steps=9")
    resuming.take_over(config)
    assert config.trainer.max_steps == 9
    train(task(config), finished)
    assert find(finished) == path_of(finished, 9)
    assert OmegaConf.load(finished / ".hydra" / "config.yaml").trainer.max_steps == 9


def test_a_schedule_that_follows_the_number_of_steps_is_not_extended(tmp_path: Path) -> None:
    run(tmp_path / "run", "scheduler=exponential_ramp")
    with pytest.raises(UserError, match=r"scheduler.ramp_steps follows trainer.max_steps"):
        resuming.take_over(composed(f"resume={tmp_path / 'run'}", "trainer.max_steps=9"))


@pytest.mark.parametrize("name", ["metrics.csv", "checkpoints/step-00000006.ckpt", ".hydra/config.yaml", "train.log"])
def test_a_directory_with_symbolic_links_is_refused(name: str, finished: Path, tmp_path: Path) -> None:
    (finished / name).unlink(missing_ok=True)
    (finished / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"{name}: is a symbolic link"):
        resuming.take_over(composed(f"resume={finished}"))


@pytest.mark.parametrize("other", ["seed=1", "trainer=gpu", "~callbacks", "hydra.run.dir=elsewhere"])
def test_any_other_change_is_refused(other: str, finished: Path) -> None:
    with pytest.raises(UserError, match="take out ") as caught:
        resuming.take_over(composed(f"resume={finished}", other))
    assert str(caught.value).endswith(f"take out {other}")


def test_a_saved_config_downloads_nothing_and_reads_no_variable_of_its_own_choice(finished: Path) -> None:
    path = finished / ".hydra" / "config.yaml"
    saved = OmegaConf.load(path)
    OmegaConf.update(saved, "data", {"url": "https://elsewhere/names.txt", "copy_variable": "HOME"}, force_add=True)
    OmegaConf.save(saved, path)
    config = composed(f"resume={finished}")
    resuming.take_over(config)
    assert (config.data.url, config.data.copy_variable) == (None, "MAKEMORE_NAMES")


def test_what_an_earlier_version_took_and_does_not_act_is_left_out(
    finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = finished / ".hydra" / "config.yaml"
    saved = OmegaConf.load(path)
    ignored = {
        "trainer": {"max_epochs": 5, "log_every_n_steps": 3, "precision": "bf16-mixed"},
        "callbacks": {"rate": {"_target_": "lightning.pytorch.callbacks.LearningRateMonitor"}},
    }
    OmegaConf.save(OmegaConf.merge(saved, ignored), path)
    config = composed(f"resume={finished}", "trainer.max_steps=9")
    resuming.take_over(config)
    assert config.trainer == {**saved.trainer, "precision": "bf16-mixed", "max_steps": 9}
    assert config.callbacks == {}
    assert [message.split(" ")[0] for message in caplog.messages] == [
        "trainer.max_epochs",
        "trainer.log_every_n_steps",
        "callbacks.rate._target_=lightning.pytorch.callbacks.LearningRateMonitor",
    ]
    train(task(config), finished)
    assert find(finished) == path_of(finished, 9)


@pytest.mark.parametrize(
    ("job", "restarts", "overrides", "taken"),
    [
        ("7", "1", SHORT, True),
        ("7", "0", SHORT, False),
        ("8", "1", SHORT, False),
        ("7", "1", SHORT[:-1], False),
    ],
)
def test_a_job_that_slurm_runs_again_takes_over_its_own_run(
    job: str, restarts: str, overrides: list[str], taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    run(tmp_path / "first")
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    config = composed(*overrides, f"hydra.run.dir={tmp_path / 'second'}")
    resuming.take_over_requeued(config)
    assert config.hydra.run.dir == str(tmp_path / ("first" if taken else "second"))
    assert (config.resume is not None) == taken
    assert HydraConfig.instance().cfg is None
