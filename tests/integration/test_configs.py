"""Checks that every YAML file composes and runs, and that every command in the documents does."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from trials import run, table

from makemore.runs.assemble import check
from makemore.runs.train import train
from makemore.sweeps.plan import check_jobs, make_plan
from makemore.system.hydra_release import composing

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
GROUPS = ("data", "model", "optimizer", "scheduler", "trainer", "logger", "callbacks", "experiment", "sweep")
SHORT = ("trainer.max_steps=3", "val_every=2", "threads=1", "data.max_lines=500", "num_samples=2")
EXPERIMENTS = sorted(path for group in ("experiment", "sweep") for path in (CONF / group).rglob("*.yaml"))


def options() -> list[str]:
    """Every file of every group, as the override that chooses it."""
    found = []
    for group in GROUPS:
        for path in sorted((CONF / group).rglob("*.yaml")):
            name = path.relative_to(CONF / group).with_suffix("").as_posix()
            if (group, name) != ("data", "base"):
                found.append(f"{group}={name}")
    return found


def overrides_of(option: str) -> list[str]:
    """The option, and what lets it train anywhere."""
    overrides = [option, *SHORT]
    if not option.startswith(("model=", "experiment=", "sweep=")):
        overrides.append("model=mlp")
    if option == "trainer=gpu":
        overrides.append("trainer.accelerator=auto")
    if option in ("data=makemore", "data=text"):
        # the file itself may not be here
        overrides += [f"data.path={ROOT / 'data' / 'names.txt'}"]
    if option == "data=makemore":
        overrides += ["data.sha256=null"]
    return overrides


@pytest.mark.parametrize("option", options())
def test_every_option_passes_the_check_before_a_run(option: str, tmp_path: Path) -> None:
    with composing():
        check(compose("train", overrides_of(option)), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# those of W&B and MLflow are in tests/runs/test_opening_loggers.py
@pytest.mark.full
@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("option", sorted({*options()} - {f"logger={name}" for name in ("wandb", "mlflow", "many")}))
def test_every_option_trains(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with composing():
        result = train(compose("train", overrides_of(option)), tmp_path)
    assert result.objective > 0
    assert len(result.names) > 0


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_opens_with_its_command_and_what_to_expect(path: Path) -> None:
    group = path.relative_to(CONF).parts[0]
    name = path.relative_to(CONF / group).with_suffix("").as_posix()
    package, command, *rest = path.read_text().splitlines()
    assert package == "# @package _global_"
    assert command.startswith(f"# python scripts/train.py {'-m ' if group == 'sweep' else ''}{group}={name}")
    assert "Expect" in "".join(line for line in rest if line.startswith("#"))


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "sweep").glob("*.yaml")))
def test_every_sweep_has_jobs_that_could_run(name: str, tmp_path: Path) -> None:
    def check_job(config: DictConfig) -> None:
        check(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]), tmp_path / "job")

    with composing():
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("train", [f"sweep={name}"], run_mode=RunMode.MULTIRUN)
        plan = make_plan(config)
        assert plan.keys
        assert plan.total is not None
        assert plan.total > 2
        check_jobs(config, plan, check_job)


# sweep=slurm is in test_launchers.py, as far as it goes without SLURM
@pytest.mark.full
@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("name", sorted({path.stem for path in (CONF / "sweep").glob("*.yaml")} - {"slurm"}))
def test_every_sweep_runs(name: str, command: Callable[..., Any], tmp_path: Path) -> None:
    fewer = {
        "bigram_seeds": ["seed=range(2)"],
        "context": ["model.block_size=1,8"],
        "halving": ["seed=0,1", "optimizer.lr=0.01", "model.l2=0"],
        "l2": ["model.l2=0.0001,1"],
        "lr": ["seed=0", "optimizer.lr=0.001,3"],
        "lr_l2": ["seed=0", "model.l2=0"],
        "optuna": ["hydra.sweeper.n_trials=2"],
        "seeds": ["seed=range(2)"],
        "width": ["model.embedding_dim=2", "model.hidden_dim=25,50"],
    }.get(name, [])
    line = ["-m", f"sweep={name}", *SHORT, *fewer, "data.max_lines=50", "hydra.sweep.dir=S"]
    outcome = run("train", *line, cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    rows = table(tmp_path / "S")
    assert len(rows) == 2
    assert {row["status"] for row in rows} == {"finished"}
    assert command("report", "S").code == 0
    assert list((tmp_path / "S").glob("nll_by_*.png"))


def compositions(text: str) -> set[tuple[str, ...]]:
    """Each script that a text runs and what its config is composed with, once however often the text has it."""
    found = set()
    for command in re.findall(r"python (scripts/\w+\.py(?: [^`#()\n]*)?)", text):
        # up to what is not the command, or a quote in which a bracket ended it above
        script, *arguments = shlex.split(re.split(r"\s{2,}|;|\||<|>| \"[^\"]*$", command.strip())[0])
        overrides = [
            argument for argument in arguments if re.match(r"[\w./+~@]+=", argument) and "..." not in argument
        ]
        # a sweep composes with the first of its values
        found.add((script, *(override if "[" in override else override.split(",")[0] for override in overrides)))
    return found


def documented() -> list[tuple[str, ...]]:
    """What every command in the documents and at the head of the configs is composed with."""
    paths = (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *CONF.rglob("*.yaml"))
    return sorted(set[tuple[str, ...]]().union(*(compositions(path.read_text()) for path in paths)))


@pytest.mark.parametrize("composition", documented(), ids=" ".join)
def test_every_documented_command_composes(composition: tuple[str, ...]) -> None:
    script, *overrides = composition
    assert (ROOT / script).is_file()
    name = Path(script).stem
    if (CONF / f"{name}.yaml").is_file():
        with composing():
            compose(name, overrides, return_hydra_config=True)
