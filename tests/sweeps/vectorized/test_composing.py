"""Composing a kind of jobs once, and which jobs can be members of one group."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor, nn

from makemore.models import network
from makemore.models.network import Network
from makemore.sweeps.vectorized.composing import ComposedJob, Composer, groups_of
from makemore.sweeps.vectorized.member import MEMBER_KEYS
from makemore.system.hydra_release import composing

CONF = Path(__file__).resolve().parents[3] / "conf"
VALUES = {
    "seed": ["0", "7"],
    "model.l2": ["0", "0.1"],
    "optimizer.lr": ["0.1", "1e-3"],
    "scheduler.gamma": ["0.1", "0.5"],
    "scheduler.milestones": ["[10]", "[10,20]"],
}


@pytest.fixture
def master() -> Iterator[DictConfig]:
    with composing():
        setup_globals()
        config = compose("train", ["+task_of_test=1"], return_hydra_config=True)
        with open_dict(config):
            config.hydra.sweep.dir = "S"
        yield config


def composer(master: DictConfig) -> Composer:
    return Composer(GlobalHydra.instance().config_loader(), master)


def composed(master: DictConfig, *jobs: list[str]) -> list[ComposedJob]:
    one = composer(master)
    return [one.compose(number, job) for number, job in enumerate(jobs)]


def grouped(master: DictConfig, *jobs: list[str]) -> list[list[int]]:
    """Group jobs, of an MLP unless they say otherwise."""
    return [
        [job.number for job in group] for group in groups_of(composed(master, *(["model=mlp", *job] for job in jobs)))
    ]


@pytest.mark.parametrize(
    "given",
    [
        ["model=mlp"],
        ["experiment=lessons/bigram_split"],
        ["model=mlp", "optimizer=sgd", "optimizer.momentum=0.9", "trainer.max_steps=7"],
        ["sweep=lr_l2"],
    ],
    ids=["model", "experiment", "values", "sweep"],
)
def test_a_job_is_composed_as_hydra_composes_it(given: list[str], master: DictConfig) -> None:
    keys = [key for key in VALUES if "bigram" not in str(given) or not key.startswith("scheduler")]
    jobs = [[*given, *(f"{key}={VALUES[key][which]}" for key in keys)] for which in (0, 1, 0)]
    ours = composed(master, *jobs)
    assert len({id(job.template) for job in ours}) == 1
    loader = GlobalHydra.instance().config_loader()
    for job, overrides in zip(ours, jobs, strict=True):
        wanted = loader.load_sweep_config(master, overrides)
        job.template.fill_in(job)
        config = job.template.config
        assert config.hydra.overrides == wanted.hydra.overrides
        assert config.hydra.job.override_dirname == wanted.hydra.job.override_dirname
        assert config.hydra.job.num == job.number
        cfg = job.cfg()
        with open_dict(wanted):
            del wanted["hydra"]
        assert cfg == wanted
        assert OmegaConf.to_yaml(cfg) == OmegaConf.to_yaml(wanted)


def test_each_key_of_members_may_differ_within_a_group(master: DictConfig) -> None:
    assert set(VALUES) == set(MEMBER_KEYS)
    jobs = [[f"{key}={value}"] for key, values in VALUES.items() for value in values]
    assert grouped(master, *jobs) == [list(range(len(jobs)))]


@pytest.mark.parametrize(
    "key",
    [
        *("optimizer.weight_decay=0.1,0.2", "data.split_seed=0,1", "model.hidden_dim=5,6", "optimizer=sgd,adamw"),
        *(
            pytest.param(key, marks=pytest.mark.full)
            for key in ("trainer.max_steps=5,6", "log_every=5,6", "threads=1,2", "model.init=normal,scaled")
        ),
    ],
)
def test_no_other_key_may(key: str, master: DictConfig) -> None:
    name, _, values = key.partition("=")
    jobs = [[f"{name}={value}", f"seed={seed}"] for value in values.split(",") for seed in (0, 1)]
    assert grouped(master, *jobs) == [[0, 1], [2, 3]]


def test_what_refers_to_a_key_of_members_differs_with_it(master: DictConfig) -> None:
    jobs = [["data.split_seed=${seed}", f"seed={seed}", f"optimizer.lr={lr}"] for seed in (0, 1) for lr in (0.1, 0.2)]
    assert grouped(master, *jobs) == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    "given",
    [
        ["model=ngram"],
        ["callbacks=early_stopping"],
        ["scheduler=exponential_ramp"],
        ["+trainer.precision=bf16-mixed"],
        ["optimizer._target_=torch.optim.RMSprop", "~optimizer.betas", "~optimizer.fused"],
        ["optimizer=sgd", "optimizer.momentum=0.9", "+optimizer.dampening=0.5"],
        ["hydra.job.chdir=true"],
        ["+hydra.job.env_set.A=1"],
        ["data.path=???"],
        ["optimizer._target_=nothing.of.the.kind"],
        ["model.hidden_dim=0"],
    ],
    ids=str,
)
def test_what_fits_no_group_is_alone(given: list[str], master: DictConfig) -> None:
    # Hydra's own part is that of the sweep
    with open_dict(master):
        master.hydra.overrides.hydra = [each for each in given if each.lstrip("+").startswith("hydra.")]
    own = [each for each in given if not each.lstrip("+").startswith("hydra.")]
    assert grouped(master, [*own, "seed=0"], [*own, "seed=1"]) == [[0], [1]]


def test_a_wrong_value_of_one_member_leaves_the_others_together(master: DictConfig) -> None:
    jobs = [["optimizer.lr=-1"], ["optimizer.lr=x"], ["optimizer.lr=0.1"], ["model.l2=-1"], ["seed=-5"]]
    assert grouped(master, *jobs) == [[0, 1, 2, 3, 4]]


def test_a_network_that_cannot_be_mapped_is_alone_and_named(
    master: DictConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Deciding(Network):
        """Looks at its numbers before it goes on, which no map over members can."""

        block_size = 1

        def __init__(self, vocab_size: int, generator: torch.Generator) -> None:
            super().__init__()
            self.vocab_size = vocab_size
            self.W = nn.Parameter(torch.randn((vocab_size, vocab_size), generator=generator))

        def forward(self, contexts: Tensor) -> Tensor:
            logits = self.W[contexts[:, 0]]
            return logits if logits.sum() > 0 else -logits

    monkeypatch.setitem(network._REGISTRY, "deciding", Deciding)
    jobs: Any = [["model=bigram", "model.architecture=deciding", "~model.init", f"seed={seed}"] for seed in (0, 1)]
    assert grouped(master, *jobs) == [[0], [1]]
    assert "Deciding cannot be mapped over members" in caplog.text


def test_hydra_has_the_config_of_the_current_job_and_its_own_again_after_it(
    master: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_dict(master):
        master.hydra.overrides.hydra = ["hydra.sweep.dir=S", "hydra.sweep.subdir=a_${optimizer.lr}_${hydra.job.num}"]
    before = HydraConfig.instance().cfg
    jobs = composed(master, ["optimizer.lr=0.1"], ["optimizer.lr=0.2"])
    for job, name in zip([*jobs, jobs[0]], ["a_0.1_0", "a_0.2_1", "a_0.1_0"], strict=True):
        with job.active() as run_dir:
            assert run_dir == tmp_path / "S" / name
            assert run_dir.is_dir()
            assert HydraConfig.get().runtime.output_dir == str(run_dir)
            assert list(HydraConfig.get().overrides.task) == job.lines
        assert HydraConfig.instance().cfg is before
    root = logging.getLogger()
    # a closed one would open its file again
    for handler in [each for each in root.handlers if isinstance(each, logging.FileHandler)]:
        root.removeHandler(handler)
        handler.close()
