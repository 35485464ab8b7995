"""Checks the simulation of sweeps on many machines by hand, without deaths and with them."""

import math

import pytest

from simulate_sweep import Costs, Workers, simulate

COSTS = Costs(compose=0.5, start=10, step=0.5, member_step=0.25, member=2, steps=8)


def workers(number: int, between_deaths: float = math.inf) -> Workers:
    return Workers(number, between_deaths, away=100, between_checkpoints=1)


def test_a_task_takes_its_start_its_steps_and_its_files() -> None:
    # 1 composing, 10 starting, 8 (0.5 + 0.25 2) training, 2 2 files
    assert simulate(2, 2, COSTS, workers(1)).seconds == 1 + 10 + 8 + 4


def test_a_worker_that_is_free_takes_the_next_task() -> None:
    # three groups of 8 (0.5 + 0.25) + 2 = 8 seconds, each with a start, on two workers
    found = simulate(3, 1, COSTS, workers(2))
    assert found.seconds == 1.5 + 2 * 18
    assert found.tasks == 3
    assert found.busy == 3 * 18 / (2 * 37.5)


def test_the_last_group_has_what_is_left() -> None:
    alone = simulate(1, 4, COSTS, workers(1)).seconds - 0.5
    assert simulate(5, 4, COSTS, workers(2)).seconds > 2.5 + alone
    assert simulate(5, 4, COSTS, workers(2)).tasks == 2


@pytest.mark.parametrize("seed", range(5))
def test_a_death_costs_what_is_not_saved_a_start_and_the_time_away(seed: int) -> None:
    long = Costs(0, start=10, step=1, member_step=0, member=0, steps=4000)
    found = simulate(1, 1, long, workers(1, between_deaths=0.2), seed)
    assert found.tasks == 1 + found.deaths
    assert found.deaths > 0
    spent = found.seconds - 4010
    # at most a second of training, and a start, is done again
    assert 100 * found.deaths <= spent <= 111 * found.deaths


def test_deaths_are_as_frequent_as_given() -> None:
    # 1,000 hours of work, a death each two hours
    long = Costs(0, start=0, step=1, member_step=0, member=0, steps=3600)
    found = simulate(1000, 1, long, workers(100, between_deaths=2))
    assert found.deaths == pytest.approx(500, rel=0.15)
