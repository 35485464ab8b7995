"""Checks that a saved config names nothing but what runs are made of, and reads nothing but itself."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose
from omegaconf import DictConfig, OmegaConf

from makemore.errors import UserError
from makemore.runs.saved_config import read_saved_config, saved_config_of
from makemore.system.hydra_release import composing

CONF = Path(__file__).parents[2] / "conf"


def saved(run_dir: Path, content: str) -> Path:
    path = saved_config_of(run_dir)
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if content.endswith("\n") else f"{content}\n")
    return run_dir


def with_target(target: Any, where: str) -> str:
    config = OmegaConf.create({"trainer": {"max_steps": 1}})
    OmegaConf.update(config, where, {"_target_": target}, force_add=True)
    return OmegaConf.to_yaml(config)


@pytest.fixture(scope="module")
def shipped() -> list[DictConfig]:
    """Every choice of every group that a run can be composed of."""
    with composing():
        lessons = [f"experiment=lessons/{path.stem}" for path in sorted((CONF / "experiment" / "lessons").iterdir())]
        groups = ("model", "optimizer", "scheduler", "callbacks", "trainer")
        others = [f"{group}={path.stem}" for group in groups for path in sorted((CONF / group).iterdir())]
        return [compose("train", [override]) for override in [*lessons, *others]]


@pytest.mark.full
def test_whatever_the_project_composes_is_read_back(shipped: list[DictConfig], tmp_path: Path) -> None:
    assert len(shipped) > 15
    for config in shipped:
        assert read_saved_config(saved(tmp_path, OmegaConf.to_yaml(config))) == config


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "torch.load",
        "torch.optim.optimizer.torch.load",
        "torch.optim.lr_scheduler.partial",
        "torch.optim.Adam.load_state_dict",
        "makemore.system.files.os.system",
        "makemore.load",
        "makemore.data.download.fetch",
        "makemore.system.files.PROJECT_ROOT.unlink",
        "makemore.training.schedules.whole_number",
        "makemore.training.schedules.math.log",
        "makemore_evil.Thing",
        "lightning.pytorch.LightningModule.load_from_checkpoint",
        "lightning.fabric.utilities.cloud_io._load",
        "lightning.pytorch.utilities.cloud_io.torch.load",
        "lightning.pytorch.LightningDataModule",
        "lightning.nowhere.Thing",
        "subprocess.Popen",
        "${trainer.max_steps}",
        "",
        5,
        None,
        ["os.system"],
        {"a": "os.system"},
    ],
)
@pytest.mark.parametrize("where", ["model", "callbacks.mine", "callbacks.deep.list"])
def test_any_other_target_is_refused(target: Any, where: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing that a saved config may name") as caught:
        read_saved_config(saved(tmp_path, with_target(target, where)))
    assert "\n" not in str(caught.value)


def test_a_target_within_a_list_is_refused_too(tmp_path: Path) -> None:
    content = "trainer: {max_steps: 1, plugins: [1, [{a: {_target_: os.system, _args_: ['true']}}]]}"
    with pytest.raises(UserError, match=r"trainer.plugins.1.0.a._target_=os.system"):
        read_saved_config(saved(tmp_path, content))


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:HOME}",
        "a ${oc.env:HOME} b",
        "${oc.env:${seed}}",
        "${oc.decode:${seed}}",
        "${oc.create:{_target_:os.system}}",
        "${now:%Y}",
        "${hydra:job.num}",
        "${hydra:runtime.output_dir}/x",
        "${ oc.env:HOME }",
        "${eval:1}",
        "\\${oc.env:HOME}",
        # what values become a reference of when they are put in their places
        "${d}{oc.env:HOME}",
        "/x/${d}{oc.env:HOME}",
        "${d}{oc.create:{_target_:torch.load,f:x.pt,weights_only:false}}",
        "/x/${seed}",
    ],
)
def test_nothing_outside_the_file_is_read(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/the/secret")
    content = OmegaConf.to_yaml({"trainer": {"max_steps": 1}, "seed": 0, "d": "$", "data": {"path": value}})
    with pytest.raises(UserError, match="asks for something outside the file") as caught:
        read_saved_config(saved(tmp_path, content))
    assert "secret" not in str(caught.value)


def test_a_value_may_be_the_directory_of_the_run(tmp_path: Path) -> None:
    content = OmegaConf.to_yaml({"trainer": {"max_steps": 1}, "data": {"path": "${hydra:runtime.output_dir}"}})
    assert read_saved_config(saved(tmp_path, content)).trainer.max_steps == 1


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "${a:b}"])
def test_nor_by_a_key(value: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"asks for something outside|cannot be read"):
        read_saved_config(saved(tmp_path, f"trainer: {{max_steps: 1}}\ndata: {{'{value}': 1}}"))


@pytest.mark.parametrize(
    "content",
    ["", "a", "[1]", "trainer: [", "a: 1", "\x00", "!!python/object/apply:os.system ['true']", "a: &a [*a]", "- {}"],
)
def test_what_is_no_config_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read as a config|is not the config of a run") as caught:
        read_saved_config(saved(tmp_path, content))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such file"):
        read_saved_config(tmp_path / "nowhere")


def test_a_part_of_hydras_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not the config of a run"):
        read_saved_config(saved(tmp_path, "trainer: {max_steps: 1}\nhydra: {callbacks: {a: {_target_: os.system}}}"))


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    run_dir = saved(tmp_path, "trainer: {max_steps: 1}\nseed: 10\n")
    saved_config_of(run_dir).write_text("trainer: {max_steps: 1}\nseed: 1")
    with pytest.raises(UserError, match="is not the config of a run"):
        read_saved_config(run_dir)
