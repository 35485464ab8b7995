"""Checks the axes: which scale fits which values, where they lie, what is marked, how much of the NLLs is shown."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from makemore.pictures.axes import escape_mathtext, highest_shown, scale_of


@pytest.mark.parametrize(
    ("values", "kind", "distinct"),
    [
        ([0.1, 0.01, 0.1], "log", [0.01, 0.1]),
        ([0.3, 0.03], "log", [0.03, 0.3]),
        ([0.003, 0.0003], "log", [0.0003, 0.003]),
        ([64, 32], "linear", [32, 64]),
        ([0.1, 0, 0.01], "symlog", [0, 0.01, 0.1]),
        ([0, 0.01], "linear", [0, 0.01]),
        ([-1, 1, 100], "linear", [-1, 1, 100]),
        ([0], "linear", [0]),
        ([1, 1.0, 10], "log", [1, 10]),
        (["b", "a"], "category", ["a", "b"]),
        ([True, False], "category", ["false", "true"]),
        ([None, 32, 4], "category", [4, 32, "null"]),
        ([[2], [1, 2]], "category", ["[1,2]", "[2]"]),
        ([math.inf, 0.1], "category", [0.1, "inf"]),
        ([10**400, 3], "category", [3, str(10**400)]),
        ([1e308, 1e-308], "log", [1e-308, 1e308]),
    ],
)
def test_a_scale_fits_the_values_of_its_key(values: list[Any], kind: str, distinct: list[Any]) -> None:
    scale = scale_of("key", values)
    assert (scale.kind, scale.values) == (kind, distinct)
    places = [scale.position(value) for value in distinct]
    assert places == (list(range(len(distinct))) if kind == "category" else distinct)


@pytest.mark.parametrize(
    ("values", "continuous"),
    [
        ([number / 7 for number in range(1, 20)], True),
        ([number / 7 for number in range(1, 20)] * 2, False),
        # a small grid of which the first row was run
        ([1, 2, 3, 4, 5, 6], False),
        ([f"{number}.txt" for number in range(20)], False),
    ],
    ids=["search", "grid", "few", "text"],
)
def test_a_search_is_told_from_a_grid(values: list[Any], continuous: bool) -> None:
    assert scale_of("key", values).continuous is continuous


def ticks(values: list[Any], which: Any = "x") -> list[str]:
    axes = Figure(figsize=(8, 5)).subplots()
    scale_of("key", values).draw(axes, which)
    axis = axes.xaxis if which == "x" else axes.yaxis
    assert axis.get_label_text() == "key"
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.mark.parametrize("which", ["x", "y"])
def test_few_values_are_marked_as_they_were_given(which: str) -> None:
    assert ticks([0.1, 0.001, 0.01], which) == ["0.001", "0.01", "0.1"]
    assert ticks([0, 1e-05, 0.1], which) == ["0", "1e-05", "0.1"]
    assert ticks(["mlp", "bigram"], which) == ["bigram", "mlp"]


def test_a_mark_that_would_cover_another_is_left_out() -> None:
    assert ticks([1, 1.001, 50, 99, 100]) == ["1", "50", "99"]


def test_a_zero_has_room_of_its_own() -> None:
    axes = Figure().subplots()
    scale_of("key", [0, 0.001, 0.1]).draw(axes, "x")
    assert axes.get_xscale() == "symlog"
    zero, first, last = axes.xaxis.get_transform().transform([0, 0.001, 0.1])
    assert 0.2 < (first - zero) / (last - zero) < 0.5


def test_names_are_kept_apart_or_slanted() -> None:
    paths = [f"/some/where/rather/deep/number_{number}.txt" for number in range(9)]
    labels = ticks(paths)
    assert len(set(labels)) == 9
    assert max(map(len, labels)) == 24
    assert all(label.endswith(f"number_{number}.txt") for number, label in enumerate(labels))


def test_a_dollar_is_no_formula() -> None:
    figure = Figure()
    figure.text(0, 0, escape_mathtext("$x^{$")).get_window_extent()
    with pytest.raises(ValueError, match="x"):
        figure.text(0, 0, "$x^{$").get_window_extent()


@pytest.mark.parametrize(
    ("nlls", "highest"),
    [
        ([2.0, 2.1, 2.5], 2.5),
        ([2.1, 50.0], 2.1),
        ([2.1, 2.2, 50.0, 60.0, 70.0], 2.2),
        ([2.0, 3.3], 3.3),
        ([2.0, 2.1, math.inf, math.nan], 2.1),
        ([17.0, 18.0], 18.0),
        ([math.inf], math.inf),
        ([], math.inf),
    ],
)
def test_what_diverged_is_not_shown_to_scale(nlls: list[float], highest: float) -> None:
    assert highest_shown(nlls) == highest


@given(st.lists(st.floats(0, 100), min_size=1))
def test_the_better_quarter_is_shown_on_a_good_part_of_the_axis(nlls: list[float]) -> None:
    highest, ordered = highest_shown(nlls), sorted(nlls)
    quartile = ordered[(len(nlls) - 1) // 4]
    assert quartile <= highest <= max(nlls)
    assert highest - ordered[0] <= max(1.5, 5 * (quartile - ordered[0]))
