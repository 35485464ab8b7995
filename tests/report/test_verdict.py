"""Checks what is said of more training, on curves whose slope and gap are known."""

import numpy as np

from makemore.inference.likelihood import NLL
from makemore.pictures.curves import Curve
from makemore.report.verdict import verdict


def nlls(train: float, val: float) -> dict[str, NLL]:
    return {"train": NLL(train * 100, 100), "val": NLL(val * 100, 100)}


def line(first: float, last: float, points: int = 10) -> Curve:
    return list(map(float, range(0, 100 * points, 100))), np.linspace(first, last, points).tolist()


def test_a_curve_that_falls_says_that_more_would_help() -> None:
    # 0.9 over all of the steps, 0.3 over a third
    said = verdict({"val/nll": line(3.0, 2.1)}, nlls(2.05, 2.1))
    assert said.startswith("More training would probably help: validation NLL still fell by 0.3000 in the last third")
    assert said.endswith(", and the training split is 0.0500 below validation.")


def test_a_flat_curve_says_that_it_would_not_and_a_gap_says_why() -> None:
    said = verdict({"val/nll": line(2.1, 2.09)}, nlls(1.9, 2.09))
    assert said.startswith("More training would hardly help: validation NLL hardly fell")
    assert "0.1900 below validation: it memorises, so try dropout" in said


def test_a_curve_that_has_risen_says_when_it_was_lowest() -> None:
    steps, falling = line(2.5, 2.1, 6)
    said = verdict({"val/nll": ([*steps, 600, 700], [*falling, 2.13, 2.15])}, nlls(1.9, 2.15))
    assert said == "More training would not help: validation NLL was lowest at step 500 and has risen by 0.0500 since."


def test_noise_is_not_taken_for_a_fall() -> None:
    generator = np.random.default_rng(0)
    steps = list(map(float, range(90)))
    noisy = (2.0 + generator.normal(0, 0.1, 90)).tolist()
    assert "cannot be said: minibatch NLL is too noisy" in verdict({"train/nll": (steps, noisy)}, {})
    # two validations are no noise, and tell more than minibatches
    both = {"train/nll": (steps, noisy), "val/nll": ([60.0, 90.0], [2.2, 2.1])}
    assert "probably help: validation NLL still fell by 0.1000" in verdict(both, {})


def test_a_rate_that_has_fallen_to_nothing_leaves_the_end_open() -> None:
    rates = line(0.01, 0.0)
    falling = verdict({"val/nll": line(3.0, 2.1), "lr": rates}, nlls(2.05, 2.1))
    assert falling.startswith("Resuming would not help, as the schedule has ended; a new and longer run might: ")
    assert "in part because the rate fell" in falling
    assert "in part" not in verdict({"val/nll": line(2.1, 2.1), "lr": rates}, nlls(2.05, 2.1))
    # a step down at the end is no end
    assert "probably help" in verdict({"val/nll": line(3.0, 2.1), "lr": line(0.01, 0.002)}, nlls(2.05, 2.1))


def test_of_few_points_nothing_is_said() -> None:
    for curves in ({}, {"val/nll": line(3, 2, 1)}, {"train/nll": line(3, 2, 9)}):
        assert "cannot be said" in verdict(curves, {})


def test_two_validations_close_together_at_the_end_do_not_hide_a_fall() -> None:
    said = verdict({"val/nll": ([250.0, 500.0, 750.0, 800.0], [2.09, 2.027, 2.0047, 2.0043])}, {})
    assert said.startswith("More training would probably help: validation NLL still fell by 0.02")
