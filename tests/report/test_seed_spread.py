"""The picture of how far NLLs of different seeds lie apart."""

from pathlib import Path

import numpy as np
import pytest

from makemore.report.seed_spread import spread
from makemore.sweeps.records import Job


def jobs(nlls: list[float], split: str) -> list[Job]:
    return [
        Job(Path(f"seed_{seed}"), [f"seed={seed}"], {"seed": seed}, "finished", nlls={"train": 9.0} | {split: nll})
        for seed, nll in enumerate(nlls)
    ]


@pytest.mark.parametrize(("split", "name"), [("val", "validation"), ("train", "training")])
def test_every_seed_is_in_the_histogram_and_the_figures_are_those_of_all(split: str, name: str) -> None:
    nlls = np.random.default_rng(0).normal(2.4, 0.01, 400).tolist()
    figure = spread(jobs(nlls, split))
    (axes,) = figure.axes
    bars = list(axes.containers[0])
    assert sum(bar.get_height() for bar in bars) == 400
    assert name in axes.get_xlabel()
    assert f"400 seeds: mean {np.mean(nlls):.4f}, standard deviation {np.std(nlls, ddof=1):.4f}" in axes.get_title()
    (legend,) = figure.legends
    words = " ".join(text.get_text() for text in legend.get_texts())
    assert f"median: {np.median(nlls):.4f}" in words
    low, high = np.quantile(nlls, [0.05, 0.95])
    assert f"{low:.4f} to {high:.4f}" in words
