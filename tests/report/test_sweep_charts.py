"""Checks the charts of what was swept: where jobs lie, and what is left above."""

import math

import fabricated
import pytest

from makemore.pictures.style import ACCENT
from makemore.report import sweep_charts
from makemore.report.page import Chart
from makemore.sweeps.records import Job, Reference


def job(value: object, val: float, **more: object) -> Job:
    return fabricated.job({"a.key": value}, val, **more)  # type: ignore[arg-type]


def key_chart(key: str, jobs: list[Job], reference: Reference | None = None) -> Chart:
    return sweep_charts.key_chart(key, jobs, sweep_charts.nll_range(jobs), reference)


@pytest.mark.parametrize(
    ("values", "kind", "first"),
    [
        ([1, 2, 3], "linear", 1.0),
        ([0.01, 0.1, 1], "log", 0.01),
        ([0, 0.1, 10], "category", "0"),
        (["sgd", "adamw", None], "category", "sgd"),
        ([[1, 2], [3]], "category", "[1,2]"),
    ],
)
def test_values_lie_on_an_axis_of_their_kind(values: list[object], kind: str, first: object) -> None:
    jobs = [job(value, 2 + place / 10, name=str(place)) for place, value in enumerate(values)]
    chart = key_chart("a.key", jobs)
    figure = chart.figure
    assert figure.layout.xaxis.type == kind
    in_legend = {trace.name for trace in figure.data if trace.showlegend is not False}
    assert in_legend == {"training", "validation", "best"}
    (validation,) = [trace for trace in figure.data if trace.name == "validation"]
    assert validation.x[0] == first
    assert list(validation.y) == [each.nll for each in jobs]
    assert chart.caption == f"NLL by a.key, {len(jobs)} jobs."


def test_what_lies_far_above_is_counted_and_not_in_sight() -> None:
    chart = key_chart("a.key", [job(1, 2.0), job(2, 2.1), job(3, 80.0)])
    assert "1 lies above the range" in chart.caption
    low, high = chart.figure.layout.yaxis.range
    assert low < 1.9
    assert 2.1 < high < 80


def test_known_figures_are_beside_the_metric_that_they_are_of() -> None:
    reference = Reference("a lesson", "train/loss", "a.key", {1: 2.5})
    jobs = [job(1, 2.0, last={"train/loss": 2.6}), job(2, 2.1)]
    figure = key_chart("a.key", jobs, reference).figure
    found = {trace.name: list(trace.y) for trace in figure.data}
    assert found["train/loss"] == [2.6, None]
    assert found["a lesson"] == [2.5, None]


def test_pruned_jobs_are_marked_and_not_taken_for_finished_ones() -> None:
    jobs, pruned = [job(1, 2.0), job(2, 2.1)], [job(3, 1.9, status="pruned"), job(1, 2.4, status="pruned")]
    chart = sweep_charts.key_chart("a.key", jobs, sweep_charts.nll_range([*jobs, *pruned]), None, pruned)
    found = {trace.name: (list(trace.x), list(trace.y)) for trace in chart.figure.data}
    assert found["pruned"] == ([3, 1], [1.9, 2.4])
    assert found["validation"] == ([1, 2], [2.0, 2.1])
    assert found["best"] == ([1], [2.0])
    assert chart.caption == "NLL by a.key, 2 jobs and 2 pruned."


def test_keys_and_values_are_shown_as_they_are() -> None:
    figure = key_chart("<i>k</i>", [fabricated.job({"<i>k</i>": "<b>v</b>"}, 2.0, name="a")]).figure
    assert figure.layout.xaxis.title.text == "&lt;i&gt;k&lt;/i&gt;"
    assert figure.data[0].x[0] == "&lt;b&gt;v&lt;/b&gt;"
    assert "<b>" not in figure.data[0].text[0]


def test_each_job_is_a_line_from_its_values_to_its_nll() -> None:
    jobs = [
        fabricated.job({"lr": lr, "opt": opt, "l2": l2}, nll, name=f"{nll}")
        for lr, opt, l2, nll in [(0.1, "a", 0, 2.0), (0.01, "b", 0.1, 2.2), (1.0, "a", 10.0, 90.0)]
    ]
    figure = sweep_charts.parallel_coordinates(["lr", "opt", "l2"], jobs).figure
    worst, middle, best = figure.data
    assert list(best.y) == pytest.approx([0.5, 0, 0, 0])
    assert list(middle.y) == pytest.approx([0, 1, 0.5, 1])
    assert list(worst.y) == pytest.approx([1, 0, 1, 1])
    assert best.line.color == ACCENT
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert {"0.01", "0.1", "1", "a", "b", "2.0000", "≥ 2.2000"} <= set(texts)


def test_a_job_without_a_key_has_a_broken_line_and_alike_values_no_height() -> None:
    jobs = [fabricated.job({"x": 1, "y": 3}, 2.0), fabricated.job({"x": 1}, 2.0)]
    figure = sweep_charts.parallel_coordinates(["x", "y"], jobs).figure
    assert list(figure.data[0].y) == [0.5, None, 0]
    assert not any(math.isnan(height) for trace in figure.data for height in trace.y if height is not None)


def test_medians_are_of_several_jobs_and_a_line_is_of_one_key() -> None:
    def traces(jobs: list[Job]) -> list[tuple[str, str]]:
        return [(trace.name, trace.mode) for trace in key_chart("lr", jobs).figure.data if trace.name == "median"]

    several = [
        fabricated.job({"lr": lr, "seed": seed}, 2.0 + lr, name=f"{lr}{seed}") for lr in (1, 2) for seed in (0, 1)
    ]
    assert traces(several) == [("median", "lines")]
    single = [fabricated.job({"lr": lr, "seed": lr}, 2.0 + lr) for lr in (1, 2)]
    assert traces(single) == []


def test_a_rate_is_written_in_digits_and_charts_share_their_nlls() -> None:
    jobs = [fabricated.job({"lr": lr, "dim": dim}, 2.0 + lr) for lr, dim in ((0.0008, 8), (0.008, 9))]
    by_rate, by_dim = key_chart("lr", jobs).figure.layout, key_chart("dim", jobs).figure.layout
    assert (by_rate.xaxis.ticktext, by_rate.xaxis.tickformat) == (("0.0008", "0.008"), "~g")
    assert by_rate.yaxis.range == by_dim.yaxis.range


def test_labels_of_an_axis_do_not_cover_each_other() -> None:
    jobs = [fabricated.job({"lr": lr}, 2.0 + lr, name=str(lr)) for lr in (0.1, 0.101, 0.102, 0.9)]
    figure = sweep_charts.parallel_coordinates(["lr"], jobs).figure
    assert [mark.text for mark in figure.layout.annotations if mark.x == 0] == ["0.1", "0.9"]
