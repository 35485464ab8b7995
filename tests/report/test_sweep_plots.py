"""Checks the pictures of sweeps by what is drawn in them: points, medians, marks, cells."""

import io
import math
from typing import Any

import numpy as np
import pytest
from fabricated import job
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from makemore.pictures.style import INK
from makemore.report.sweep_plots import key_plot, pair_plot, seed_histogram
from makemore.sweeps.records import Job, Reference


def drawn(figure: Figure) -> Axes:
    """The axes of a picture, which can be saved as well."""
    figure.savefig(io.BytesIO(), format="png")
    return figure.axes[0]


def line(axes: Axes, label: str) -> Line2D:
    (found,) = [line for line in axes.lines if str(line.get_label()).startswith(label)]
    return found


def points(axes: Axes, label: str) -> list[tuple[float, float]]:
    found = line(axes, label)
    return sorted(zip(map(float, found.get_xdata()), map(float, found.get_ydata()), strict=True))


def labels(axes: Axes) -> set[str]:
    return {str(line.get_label()).partition(":")[0] for line in axes.lines}


def grid() -> list[Job]:
    nlls = {(0.1, 0): 2.0, (0.1, 1): 2.2, (0.1, 2): 2.3, (0.01, 0): 2.6, (0.01, 1): 2.5, (0.01, 2): 2.4}
    return [job({"lr": lr, "seed": seed}, nll) for (lr, seed), nll in nlls.items()]


def test_each_job_is_a_point_and_the_medians_a_line() -> None:
    axes = drawn(key_plot("lr", grid()))
    assert axes.get_xscale() == "log"
    assert points(axes, "validation") == [(0.01, 2.4), (0.01, 2.5), (0.01, 2.6), (0.1, 2.0), (0.1, 2.2), (0.1, 2.3)]
    assert points(axes, "training") == [(x, y - 0.1) for x, y in points(axes, "validation")]
    assert points(axes, "median") == [(0.01, 2.5), (0.1, 2.2)]
    assert line(axes, "median").get_linestyle() == "-"
    assert points(axes, "best: 2.0000") == [(0.1, 2.0)]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01", "0.1"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lr", "NLL (nats a character)")
    low, high = axes.get_ylim()
    assert low < 1.9
    assert 2.6 < high < 3.0


def test_training_may_be_above_validation() -> None:
    axes = drawn(key_plot("lr", [job({"lr": lr}, 2.0, nlls={"val": 2.0, "train": 2.4}) for lr in (1, 2)]))
    assert axes.get_ylim()[0] < 2.0
    assert axes.get_ylim()[1] > 2.4


def test_training_is_fainter_than_validation() -> None:
    axes = drawn(key_plot("lr", grid()))
    faint, strong = line(axes, "training").get_alpha(), line(axes, "validation").get_alpha()
    assert faint is not None
    assert strong is not None
    assert faint < strong


def test_without_a_validation_split_training_is_what_counts() -> None:
    jobs = [job({"lr": lr}, 0.0, nlls={"train": 2.0 + lr}) for lr in (0.1, 0.2)]
    axes = drawn(key_plot("lr", jobs))
    assert points(axes, "training") == [(0.1, 2.1), (0.2, 2.2)]
    assert "validation" not in labels(axes)
    assert drawn(pair_plot("lr", "lr", jobs)).get_title("left") == "median training NLL, 2 jobs"


def test_text_lies_side_by_side_with_its_medians_and_no_line() -> None:
    jobs = [job({"model": model}, nll, name=f"{nll}") for model, nll in (("mlp", 2.0), ("mlp", 2.2), ("bigram", 2.5))]
    axes = drawn(key_plot("model", jobs))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["bigram", "mlp"]
    assert points(axes, "validation") == [(0, 2.5), (1, 2.0), (1, 2.2)]
    assert points(axes, "median") == [(0, 2.5), (1, 2.1)]
    assert line(axes, "median").get_linestyle() == "None"


def test_what_diverged_or_failed_is_marked_at_the_edge_and_squashes_nothing() -> None:
    jobs = [
        *grid(),
        job({"lr": 1, "seed": 0}, 50.0),
        job({"lr": 1, "seed": 1}, 8.5),
        job({"lr": 3, "seed": 0}, math.inf),
        job({"lr": 10, "seed": 0}, status="failed"),
    ]
    axes = drawn(key_plot("lr", jobs))
    assert axes.get_ylim()[1] < 3
    above = line(axes, "3 above: 8.5 to inf")
    assert sorted(map(float, above.get_xdata())) == [1, 3]
    assert sorted((text.get_position()[0], text.get_text()) for text in axes.texts) == [(1, "8.5 to 50"), (3, "inf")]
    failed = line(axes, "1 failed")
    # in the units of the axes, whose upper edge is 1
    assert list(failed.get_xdata()) == [10]
    assert failed.get_transform().transform((10, 1.0))[1] == pytest.approx(axes.bbox.y1)
    low, high = axes.get_xlim()
    assert low < 0.01
    assert high > 10


def test_without_a_finite_nll_there_are_marks_alone() -> None:
    jobs = [job({"order": order}, math.inf, nlls={"val": math.inf}) for order in (2, 3)]
    axes = drawn(key_plot("order", [*jobs, job({"order": 4}, status="failed")]))
    assert "best" not in labels(axes)
    assert list(axes.get_yticks()) == []
    assert sorted(map(float, line(axes, "2 above: inf").get_xdata())) == [2, 3]


def test_a_search_has_no_line_from_point_to_point_unless_nothing_else_differs() -> None:
    values = [(10**-place, place % 7 + place / 100) for place in np.linspace(0, 3, 20)]
    alone = [job({"lr": lr}, 2 + lr) for lr, _ in values]
    assert len(points(drawn(key_plot("lr", alone)), "_line")) == 20
    search = [job({"lr": lr, "dim": dim}, 2 + lr) for lr, dim in values]
    assert not {"median", "_line"} & labels(drawn(key_plot("lr", search)))


def test_known_figures_are_a_second_series_beside_their_metric() -> None:
    reference = Reference("lesson", "train/loss", "l2", {0.01: 2.5, 1.0: 2.9})
    jobs = [job({"l2": l2}, 2.0, last={"train/loss": 2.6}) for l2 in (0.01, 0.1, 1)]
    axes = drawn(key_plot("l2", jobs, reference))
    assert points(axes, "train/loss: lesson") == [(0.01, 2.5), (1, 2.9)]
    (ours,) = [line for line in axes.lines if line.get_label() == "train/loss"]
    assert list(ours.get_ydata()) == [2.6, 2.6]
    assert axes.get_ylim()[1] > 2.9


def test_jobs_that_lack_the_key_or_have_not_ended_are_left_out() -> None:
    jobs = [*grid(), job({"lr": 5.0}, status="running"), job({"dim": 3}, 2.0), job({"lr": 7.0}, status="not run")]
    axes = drawn(key_plot("lr", jobs))
    assert len(points(axes, "validation")) == 6
    assert axes.get_title("left") == "NLL by lr, 6 jobs"
    assert axes.get_xlim()[1] < 1


def cells(axes: Axes) -> dict[tuple[int, int], str]:
    return {(round(text.get_position()[0]), round(text.get_position()[1])): text.get_text() for text in axes.texts}


def test_a_pair_of_keys_is_a_grid_of_medians_in_the_order_of_numbers() -> None:
    jobs = [
        job({"lr": 0.1, "dim": 200}, 2.0, name="a"),
        job({"lr": 0.1, "dim": 200}, 2.2, name="b"),
        job({"lr": 0.1, "dim": 30}, 2.3),
        job({"lr": 0.02, "dim": 200}, 48.7),
        job({"lr": 0.02, "dim": 30}, status="failed", name="c"),
        job({"lr": 1, "dim": 30}, 2.5, name="d"),
        job({"lr": 1, "dim": 30}, status="failed", name="e"),
    ]
    axes = drawn(pair_plot("lr", "dim", jobs))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.02", "0.1", "1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["30", "200"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lr", "dim")
    assert axes.get_title("left") == "median validation NLL, 5 jobs"
    assert cells(axes) == {
        (0, 0): "1 failed",
        (1, 0): "2.3000",
        (2, 0): "2.5000\n1 failed",
        (0, 1): "48.7",
        (1, 1): "2.1000",
        (2, 1): "-",
    }
    (best,) = [patch for patch in axes.patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    assert best.get_x() < 1 < best.get_x() + best.get_width()
    assert best.get_y() < 1 < best.get_y() + best.get_height()


def test_the_colours_of_a_grid_are_limited_like_the_axis_of_nlls_and_numbers_can_be_read() -> None:
    jobs = [job({"a": a, "b": b}, nll) for a, b, nll in ((1, 1, 2.0), (1, 2, 2.5), (2, 1, 50.0), (2, 2, math.inf))]
    figure = pair_plot("a", "b", jobs)
    axes = drawn(figure)
    colours = [patch.get_facecolor() for patch in axes.patches if patch.get_fill()]
    assert len(set(colours)) == 2
    assert colours[1] == colours[2] == colours[3]
    assert figure.axes[1].get_ylim() == (2.0, 2.5)
    ink = {text.get_text(): text.get_color() for text in axes.texts}
    assert ink == {"2.0000": "white", "2.5000": INK, "50.0": INK, "inf": INK}


def test_a_grid_without_a_finite_nll_has_no_best_and_no_scale_of_colours() -> None:
    jobs = [job({"a": a, "b": b}, math.inf) for a in (1, 2) for b in (1, 2)]
    figure = pair_plot("a", "b", jobs)
    assert set(cells(drawn(figure)).values()) == {"inf"}
    assert len(figure.axes) == 1
    assert all(patch.get_fill() for patch in figure.axes[0].patches)


def test_a_search_is_a_point_a_job_the_best_ringed() -> None:
    places = np.linspace(0, 3, 20)
    jobs = [job({"lr": 10**-place, "model": "mlp" if place < 2 else "bigram"}, 2 + place / 10) for place in places]
    axes = drawn(pair_plot("lr", "model", [*jobs, job({"lr": 5.0, "model": "mlp"}, status="failed")]))
    assert axes.get_xscale() == "log"
    offsets = axes.collections[0].get_offsets()
    assert sorted(map(tuple, np.asarray(offsets).tolist())) == sorted(
        (10**-place, float(place < 2)) for place in places
    )
    assert points(axes, "best: 2.0000") == [(1.0, 1.0)]
    assert points(axes, "1 failed") == [(5.0, 1.0)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bigram", "mlp"]


@pytest.mark.parametrize(
    "value",
    [
        "$x^{$",
        math.nan,
        *(pytest.param(value, marks=pytest.mark.full) for value in ("[bold]", "", None, [1, 2], 10**400)),
    ],
)
def test_odd_values_can_be_drawn(value: Any) -> None:
    jobs = [
        job({"$k$": each, "b": b}, 2.0, name=f"{place}{b}") for place, each in enumerate((1, value)) for b in (1, 2)
    ]
    reference = Reference("$x^{$", "$", "b", {1.0: 2.0})
    assert drawn(key_plot("$k$", jobs)).get_title("left") == r"NLL by \$k\$, 4 jobs"
    drawn(key_plot("b", jobs, reference))
    assert len(cells(drawn(pair_plot("$k$", "b", jobs)))) == 4


@pytest.mark.parametrize(("split", "name"), [("val", "validation"), ("train", "training")])
def test_every_seed_is_in_the_histogram_and_the_figures_are_those_of_all(split: str, name: str) -> None:
    nlls = np.random.default_rng(0).normal(2.4, 0.01, 400).tolist()
    figure = seed_histogram(
        [job({"seed": seed}, 0.0, nlls={"train": 9.0} | {split: nll}) for seed, nll in enumerate(nlls)]
    )
    (axes,) = figure.axes
    bars = list(axes.containers[0])
    assert sum(bar.get_height() for bar in bars) == 400
    assert name in axes.get_xlabel()
    assert f"400 seeds: mean {np.mean(nlls):.4f}, standard deviation {np.std(nlls, ddof=1):.4f}" in axes.get_title(
        "left"
    )
    (legend,) = figure.legends
    words = " ".join(text.get_text() for text in legend.get_texts())
    assert f"median: {np.median(nlls):.4f}" in words
    low, high = np.quantile(nlls, [0.05, 0.95])
    assert f"{low:.4f} to {high:.4f}" in words
