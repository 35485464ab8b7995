"""Checks what a sweep is known to run before it starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from makemore.errors import UserError
from makemore.sweeps.plan import Plan, check_jobs, make_plan
from makemore.system.hydra_release import composing

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with composing():
        yield


def multirun(*overrides: str) -> DictConfig:
    loader = GlobalHydra.instance().config_loader()
    return loader.load_configuration("train", list(overrides), run_mode=RunMode.MULTIRUN)


def checked(config: DictConfig, plan: Plan) -> list[DictConfig]:
    """The configs that a check which none of them passes is given."""
    given: list[DictConfig] = []

    def check(job: DictConfig) -> list[str]:
        given.append(job)
        raise UserError(f"job {len(given)}")

    with pytest.raises(UserError, match="none of the sweep's jobs could run; the first: job 1"):
        check_jobs(config, plan, check)
    return given


def test_the_basic_sweeper_runs_every_combination_of_what_is_swept() -> None:
    plan = make_plan(multirun("model=bigram", "optimizer.lr=1,10", "model.l2=0,0.1"))
    assert (plan.keys, plan.fixed, plan.total) == (["optimizer.lr", "model.l2"], ["model"], 4)
    assert plan.jobs is not None
    assert plan.jobs[1] == ["model=bigram", "optimizer.lr=1", "model.l2=0.1"]


def test_the_command_line_comes_before_the_space_of_a_sweep_file() -> None:
    plan = make_plan(multirun("sweep=lr_l2", "seed=7", "optimizer.lr=0.1,0.2,0.3"))
    assert set(plan.keys) == {"optimizer.lr", "model.l2"}
    assert "seed" in plan.fixed
    assert plan.total == 6
    assert all("seed=7" in job for job in plan.jobs or [])


def test_a_combination_that_is_given_twice_is_one_job() -> None:
    assert make_plan(multirun("seed=1,2,1")).total == 2


def test_hydras_own_keys_do_not_tell_jobs_apart() -> None:
    plan = make_plan(multirun("hydra.sweep.dir=x", "seed=1,2"))
    assert plan.jobs == [["seed=1"], ["seed=2"]]


def test_a_search_has_an_example_of_first_values() -> None:
    pytest.importorskip("optuna")
    plan = make_plan(
        multirun("sweep=optuna", "optimizer.lr=interval(0.1, 1)", "seed=choice(3,4)", "num_samples=range(2,5)")
    )
    assert plan.jobs is None
    assert plan.total == 30
    assert {"optimizer.lr=0.1", "seed=3", "num_samples=2", "sweep=optuna", "model.block_size=3"} <= set(
        plan.examples[0]
    )
    (config,) = checked(multirun("sweep=optuna"), plan)
    assert config.optimizer.lr == 0.1


def test_a_sweep_that_the_basic_sweeper_cannot_run_is_an_error() -> None:
    with pytest.raises(HydraException, match="INTERVAL"):
        make_plan(multirun("optimizer.lr=interval(0,1)"))


def test_what_composes_is_what_hydra_will_compose() -> None:
    config = multirun("sweep=l2", "model.l2=0.5,0.25")
    composed = checked(config, make_plan(config))
    assert [job.model.l2 for job in composed] == [0.5, 0.25]
    assert all(job.optimizer.lr == 10 for job in composed)
