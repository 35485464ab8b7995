"""Checks the NLL curves of TensorBoard's charts: the running mean by hand, and that nothing is out of the frame."""

import math
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore.training.nll_curves import Baselines, NllCurves


def run(curves: NllCurves, rows: dict[int, dict[str, float]]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for step, row in rows.items():
        for at, name, value in chain(*curves.points(step, row)):
            found.setdefault(name, []).append((at, value))
    return found


def test_the_mean_is_of_the_last_rows_the_more_the_longer_the_run() -> None:
    curves = NllCurves(Baselines(2.0, 0.5, 100.0, max_steps=100, val_every=10))
    nlls = [float(value) for value in np.random.default_rng(0).uniform(1, 3, 20)]
    found = run(curves, {step: {"train/nll": nll} for step, nll in enumerate(nlls)})["nll/training"]
    # an eighth of eight rows is one
    assert [value for _, value in found[:8]] == pytest.approx(nlls[:8])
    mean = nlls[7]
    for count in range(9, 21):
        mean += (nlls[count - 1] - mean) * 8 / count
    assert found[-1] == (19, pytest.approx(mean))


@given(cut=st.integers(0, 30), nlls=st.lists(st.floats(0, 5), min_size=31, max_size=31))
def test_a_resumed_run_goes_on_with_its_mean(cut: int, nlls: list[float]) -> None:
    lines = Baselines(2.0, 1.5, 4.0, max_steps=31, val_every=5)
    rows = {step: {"train/nll": nll} | ({"val/nll": nll} if step % 5 == 4 else {}) for step, nll in enumerate(nlls)}
    whole = run(NllCurves(lines), rows)
    first, second = NllCurves(lines), NllCurves(lines)
    before = run(first, {step: row for step, row in rows.items() if step < cut})
    second.load_state_dict(first.state_dict())
    after = run(second, {step: row for step, row in rows.items() if step >= cut})
    assert whole == {name: before.get(name, []) + after.get(name, []) for name in before | after}


@pytest.mark.parametrize(
    ("max_steps", "log_every", "val_every"), [(1500, 50, 100), (20_000, 100, 1000), (3000, 1, 500)]
)
@pytest.mark.parametrize("first", [3.3, 8.0])
@pytest.mark.parametrize("jobs", [1, 40])
def test_no_curve_leaves_the_frame(max_steps: int, log_every: int, val_every: int, first: float, jobs: int) -> None:
    charts: dict[bool, list[list[tuple[int, float]]]] = {False: [], True: []}
    for job in range(jobs):
        # one job is better than all others, and all others differ
        worse = job and 0.2 + job / 100
        rows: dict[int, dict[str, float]] = {}
        for step in range(0, max_steps + 1, log_every):
            left = 1 / (1 + 20 * step / max_steps)
            rows[step] = {"train/nll": 1.8 + worse + (first - 1.8 - worse) * left}
            if step and step % val_every == 0:
                rows[step] |= {"val/nll": 1.9 + worse + (first - 1.9 - worse) * left}
        pairs = None if jobs == 1 else 2.46
        curves = run(NllCurves(Baselines(2.016, 1.709, math.log(27), max_steps, val_every, pairs)), rows)
        for later, chart in charts.items():
            found = [points for name, points in curves.items() if name.startswith("later_") == later]
            assert len(found) == (4 if later and jobs == 1 else 5) or job
            chart.extend(found)
    for later, chart in charts.items():
        values = [value for points in chart for _, value in points]
        # what the page does with a chart's points
        low, high = np.quantile(values, (0.05, 0.95))
        assert max(values) <= high + 0.05 * (high - low)
        assert min(values) >= low - 0.05 * (high - low)
        # TensorBoard keeps the last of several points at a step
        assert all(before < after for points in chart for (before, _), (after, _) in pairwise(points))
        if later:
            assert min(step for points in chart for step, _ in points) > max_steps / 4 - val_every


def test_points_beyond_knowing_nothing_are_left_out_and_infinite_ones() -> None:
    curves = NllCurves(Baselines(2.0, 1.5, 3.3, max_steps=4, val_every=1))
    found = run(curves, {0: {"train/nll": 27.0}, 1: {"train/nll": 3.0, "val/nll": math.inf}, 2: {"val/nll": 2.5}})
    assert found["nll/training"] == [(1, 3.0)]
    assert found["nll/validation"] == [(2, 2.5)]
    assert [step for step, _ in found["nll/knowing nothing"]] == [0, 1]


def test_without_a_validation_split_there_is_nothing_to_compare_with() -> None:
    found: Any = run(NllCurves(Baselines(None, 1.5, 3.3, max_steps=4, val_every=1)), {0: {"train/nll": 3.0}})
    assert set(found) == {"nll/training", "nll/counting, on training", "nll/knowing nothing"}
