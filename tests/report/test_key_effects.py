"""Checks which key is said to have mattered, with Optuna and without it."""

import sys
from itertools import product

import fabricated
import pytest

from makemore.report.job_comparison import JobComparison, by_setting
from makemore.report.key_effects import KeyEffect, key_effects
from makemore.sweeps.records import Job


def grid() -> list[Job]:
    """The rate adds 0.3 nats, the optimiser 0.01, the seed 0.001."""
    values = product((0.01, 0.1), ("sgd", "adamw"), (0, 1, 2, 3))
    return [
        fabricated.job({"lr": lr, "opt": opt, "seed": seed}, 2.0 + 3 * lr + 0.01 * (opt == "sgd") + 0.001 * seed)
        for lr, opt, seed in values
    ]


def compared(jobs: list[Job]) -> JobComparison:
    return JobComparison(["seed", "opt", "lr"], jobs, {})


def test_the_key_that_moves_the_nll_most_is_first() -> None:
    pytest.importorskip("optuna")
    effects = key_effects(compared(grid()))
    assert [effect.key for effect in effects] == ["lr", "opt", "seed"]
    shares = [effect.share for effect in effects if effect.share is not None]
    assert sum(shares) == pytest.approx(1)
    assert shares[0] > 0.9
    assert effects[0].spread == pytest.approx(0.27)
    assert effects[0].best == 0.01


def test_without_optuna_or_with_few_jobs_the_spread_of_medians_orders_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    few = [job for job in grid() if job.differs["seed"] < 2]
    assert [(effect.key, effect.share) for effect in key_effects(compared(few))] == [
        ("lr", None),
        ("opt", None),
        ("seed", None),
    ]
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert {effect.share for effect in key_effects(compared(grid()))} == {None}


def test_a_diverged_job_does_not_hide_the_rest_and_a_missing_key_has_no_effect() -> None:
    jobs = [fabricated.job({"lr": lr}, nll) for lr, nll in ((1, 2.0), (2, 2.1), (3, 50.0))]
    assert key_effects(JobComparison(["lr", "dim"], jobs, {})) == [KeyEffect("lr", 1, pytest.approx(0.1), None)]
    assert key_effects(JobComparison(["lr"], jobs[:1], {})) == []


def test_what_was_pruned_says_which_key_mattered() -> None:
    # all that finish share the rate, and differ by their seeds
    jobs = [fabricated.job({"lr": 0.01, "seed": seed}, 2.0 + 0.01 * seed) for seed in (0, 1)]
    jobs += [fabricated.job({"lr": lr, "seed": 0}, 2.0 + lr, "pruned") for lr in (0.1, 0.3)]
    first, second = key_effects(JobComparison(["seed", "lr"], jobs, {}))
    assert (first.key, first.best, second.key) == ("lr", 0.01, "seed")


def test_jobs_that_differ_in_their_seed_alone_are_one_setting() -> None:
    jobs = sorted(grid(), key=lambda job: job.nll)
    first, second, *_ = by_setting(jobs)
    assert (first.name, first.jobs, second.name) == ("lr=0.01, opt=adamw", 4, "lr=0.01, opt=sgd")
    assert second.nll - first.nll == pytest.approx(0.01)
    assert first.spread == pytest.approx(0.003)
    # where nothing but the seed differs, each is one
    assert len(by_setting([fabricated.job({"seed": seed}, 2.0 + seed) for seed in (0, 1)])) == 2


def test_where_no_finished_job_has_a_finite_nll_no_key_is_named() -> None:
    jobs = [fabricated.job({"lr": 9}, float("inf"))]
    jobs += [fabricated.job({"lr": lr}, 2.0 + lr, "pruned") for lr in (0.1, 0.3)]
    assert key_effects(JobComparison(["lr"], jobs, {})) == []
