"""Checks the pictures: what is drawn in them, that nothing needs a display, and that files come of any of them."""

import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import AxesImage, imread

from makemore.data.corpus import Corpus, read_corpus
from makemore.data.options import CorpusOptions
from makemore.inference.diagnosis import Calibration, Diagnosis, diagnose
from makemore.inference.likelihood import NLL
from makemore.models.ngram import NGram
from makemore.pictures.picture import Picture, save
from makemore.pictures.plots import (
    bigram_matrix,
    calibration,
    confusion,
    embedding,
    learning_rate_range,
    lengths,
    loss_curve,
    network_beside_counts,
    nll_by_place_and_character,
    plane_of,
)
from makemore.pictures.style import INK

RATES = [0.001, 0.01, 0.1, 1.0]
LOSSES = [3.3, 3.0, 2.5, 9.0]


def is_drawn(figure: Figure, directory: Path) -> bool:
    """Say whether files of both kinds come of it, with something in them."""
    png, svg = save([Picture("picture", "", figure)], directory)
    root = ElementTree.parse(svg).getroot()
    return bool(np.ptp(imread(png)) > 0) and root.tag.endswith("svg") and len(list(root.iter())) > 10


def texts(figure: Figure) -> list[tuple[float, float, str, str]]:
    """Where each text is, how it lies there, and what it is."""
    (axes,) = figure.axes
    return [(*text.get_position(), text.get_verticalalignment(), text.get_text()) for text in axes.texts]


def diagnosis_of(counted: list[list[float]], by_place: list[NLL], by_token: dict[int, NLL]) -> Diagnosis:
    matrix, bins = np.array(counted, dtype=float), np.array([0.5])
    tokens = list(range(len(counted)))
    return Diagnosis(
        "val", tokens, by_token, by_place, matrix, matrix[::-1], matrix / 7, Calibration(bins, bins, bins)
    )


# --- the bigram matrix


@pytest.fixture(scope="module")
def lessons(lesson_text: Path) -> tuple[Corpus, Diagnosis]:
    corpus = read_corpus(CorpusOptions(str(lesson_text), splits=(1, 0, 0)))
    network = NGram(corpus.vocabulary.size, None)  # type: ignore[arg-type]
    network.count(corpus.windows("train", 1).counted())
    return corpus, diagnose(network, corpus, "train")


def test_the_bigram_matrix_shows_what_the_lessons_shows_cell_for_cell(
    lessons: tuple[Corpus, Diagnosis], bigram_pairs: list[tuple[str, str, int]]
) -> None:
    corpus, found = lessons
    figure = bigram_matrix(found.counted, [corpus.vocabulary.labels[token] for token in found.tokens])
    counts = {first + second: count for first, second, count in bigram_pairs}
    alphabet = ".abcdefghijklmnopqrstuvwxyz"
    expected = []
    # plot_matrix of L0: text(j, i, itos[i] + itos[j], va="bottom"), text(j, i, N[i, j], va="top")
    for i, first in enumerate(alphabet):
        for j, second in enumerate(alphabet):
            expected += [
                (j, i, "bottom", first + second),
                (j, i, "top", str(counts.get(first + second, 0))),
            ]
    assert texts(figure) == expected
    (axes,) = figure.axes
    (image,) = axes.get_images()
    assert isinstance(image, AxesImage)
    assert (np.asarray(image.get_array()) == found.counted).all()
    assert image.get_cmap().name == "heat"
    # (-0.5, 26.5, 26.5, -0.5) in the lesson: the first row on top
    assert (*axes.get_xlim(), *axes.get_ylim()) == (-0.5, 26.5, 26.5, -0.5)
    assert not axes.axison
    assert {text.get_horizontalalignment() for text in axes.texts} == {"center"}
    # words are white on the strongest cells
    ink = {text.get_text(): text.get_color() for text in axes.texts}
    assert (ink["n."], ink["6763"], ink["zw"]) == ("white", "white", INK)
    assert figure.get_size_inches() == pytest.approx([16, 16])


def test_a_text_of_one_character_has_four_cells(tmp_path: Path) -> None:
    figure = bigram_matrix(np.array([[0, 1], [1, 0]]), [".", "a"])
    assert [text for *_, text in texts(figure)] == ["..", "0", ".a", "1", "a.", "1", "aa", "0"]
    assert is_drawn(figure, tmp_path)


# combining, of another direction, without a glyph, beyond the first plane, what matplotlib or SVG might read
STRANGE = ["$", "_", "^", "\\", "{", "%", "&", "<S>", "<.>", "\u0301", "\u200d", "\u05d0", "\u4e2d", "\U0001f600", " "]


@pytest.mark.full
def test_strange_characters_do_not_break_a_picture(tmp_path: Path) -> None:
    size = len(STRANGE)
    found = diagnosis_of(np.eye(size).tolist(), [NLL(1.0, 1)], {token: NLL(1.0, 1) for token in range(size)})
    figures = [
        bigram_matrix(found.counted, STRANGE),
        network_beside_counts(found, STRANGE),
        confusion(found, STRANGE),
        embedding(np.random.default_rng(0).normal(size=(size, 2)), STRANGE),
        nll_by_place_and_character(found, dict(enumerate(STRANGE))),
    ]
    assert all(is_drawn(figure, tmp_path) for figure in figures)


def test_dollars_are_no_formula_and_a_space_is_seen() -> None:
    shown = [text for *_, text in texts(bigram_matrix(np.zeros((2, 2)), ["$", " "]))]
    assert shown[::2] == [r"\$\$", r"\$␣", r"␣\$", "␣␣"]


# --- other matrices


def test_the_networks_matrix_stands_beside_the_counted_one_in_shares_on_one_scale(tmp_path: Path) -> None:
    found = diagnosis_of([[0, 2, 2], [0, 0, 0], [9, 0, 1]], [], {})
    figure = network_beside_counts(found, [".", "a", "b"])
    counted, by_model = figure.axes[:2]
    (first,), (second,) = counted.get_images(), by_model.get_images()
    # a character that nothing follows has an empty row
    np.testing.assert_allclose(np.asarray(first.get_array()), [[0, 0.5, 0.5], [0, 0, 0], [0.9, 0, 0.1]])
    np.testing.assert_allclose(np.asarray(second.get_array()), [[0.9, 0, 0.1], [0, 0, 0], [0, 0.5, 0.5]])
    assert first.get_clim() == second.get_clim() == (0, 0.9)
    assert [label.get_text() for label in counted.get_yticklabels()] == [".", "a", "b"]
    assert is_drawn(figure, tmp_path)


def test_confusion_is_drawn_with_what_is_right_in_the_rows(tmp_path: Path) -> None:
    found = diagnosis_of([[0, 2], [7, 0]], [], {})
    figure = confusion(found, [".", "a"])
    (image,) = figure.axes[0].get_images()
    assert (np.asarray(image.get_array()) == found.confusion).all()
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("predicted character", "true character")
    assert is_drawn(figure, tmp_path)


# --- the embedding


@given(
    rows=st.integers(2, 12),
    columns=st.sampled_from([1, 3, 10]),
    seed=st.integers(0, 10_000),
)
def test_the_plane_is_that_of_the_eigen_decomposition(rows: int, columns: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(rows, columns)) * np.arange(1, columns + 1)
    points, shares = plane_of(vectors)
    values, directions = np.linalg.eigh(np.atleast_2d(np.cov(vectors.T, bias=True)))
    assert shares is not None
    expected = np.zeros(2)
    expected[: min(2, columns)] = values[::-1][:2] / values.sum()
    assert shares == pytest.approx(expected, abs=1e-9)
    # the sign of a component is nobody's
    projected = (vectors - vectors.mean(0)) @ directions[:, ::-1][:, :2]
    assert np.abs(points[:, : projected.shape[1]]) == pytest.approx(np.abs(projected), abs=1e-6)
    assert points.shape == (rows, 2)


def test_two_numbers_are_a_plane_already() -> None:
    vectors = np.array([[1.0, 2.0], [3.0, -4.0]])
    figure = embedding(vectors, ["a", "b"])
    assert texts(figure) == [(1, 2, "center", "a"), (3, -4, "center", "b")]


@pytest.mark.parametrize("columns", [1, 2, 5])
def test_any_embedding_can_be_drawn(columns: int, tmp_path: Path) -> None:
    assert is_drawn(embedding(np.random.default_rng(0).normal(size=(3, columns)), list(".ab")), tmp_path)


def test_vectors_that_are_all_alike_can_be_drawn(tmp_path: Path) -> None:
    points, shares = plane_of(np.ones((3, 4)))
    assert not points.any()
    assert shares is not None
    assert not shares.any()
    assert is_drawn(embedding(np.ones((3, 4)), list(".ab")), tmp_path)


# --- curves


def test_the_loss_is_drawn_against_the_step_as_it_is_and_smoothed(tmp_path: Path) -> None:
    steps, nlls = list(range(0, 800, 10)), [3 - step / 800 for step in range(0, 800, 10)]
    figure = loss_curve({"train/nll": (steps, nlls), "val/nll": ([400, 800], [2.6, 2.1])})
    (axes,) = figure.axes
    raw, smooth, validation = axes.lines
    assert (list(raw.get_xdata()), list(raw.get_ydata())) == (steps, nlls)
    # of a straight line, but for its ends, the means are the line
    assert list(smooth.get_ydata())[2:-2] == pytest.approx(nlls[2:-2])
    assert (list(validation.get_xdata()), list(validation.get_ydata())) == ([400, 800], [2.6, 2.1])
    assert is_drawn(figure, tmp_path)


def test_the_first_steps_do_not_squash_the_curve() -> None:
    figure = loss_curve({"train/nll": (list(range(300)), [25.0, *[2.5, 2.4] * 149, 2.5])})
    assert figure.axes[0].get_ylim()[1] < 3


@pytest.mark.parametrize(
    "curves",
    [
        {"train/nll": ([0], [3.3]), "val/nll": ([1], [math.inf])},
        {"train/nll": ([0, 1], [math.nan, math.inf])},
        {"train/nll": ([0, 1], [2.0, 1e300])},
        *(
            pytest.param(curves, marks=pytest.mark.full)
            for curves in (
                {"train/nll": ([0], [3.3])},
                {"val/nll": ([1], [2.4])},
                {"train/nll": ([0, 1, 2], [3.3, math.nan, math.inf])},
                {"train/nll": ([0, 1, 2], [2.0, 2.0, 2.0])},
            )
        ),
    ],
)
def test_few_points_and_numbers_beyond_all_others_can_be_drawn(
    curves: dict[str, tuple[list[float], list[float]]], tmp_path: Path
) -> None:
    assert is_drawn(loss_curve(curves), tmp_path)


def test_the_loss_is_drawn_against_the_rate_and_against_its_exponent() -> None:
    by_rate, by_exponent = learning_rate_range(RATES, LOSSES).axes
    rate_line, exponent_line = by_rate.lines[0], by_exponent.lines[0]
    assert list(rate_line.get_xdata()) == RATES
    assert list(exponent_line.get_xdata()) == pytest.approx([-3, -2, -1, 0])
    assert list(rate_line.get_ydata()) == list(exponent_line.get_ydata()) == LOSSES


def test_axes_say_what_they_show_and_share_the_loss() -> None:
    by_rate, by_exponent = learning_rate_range(RATES, LOSSES).axes
    assert "learning rate" in by_rate.get_xlabel()
    assert "exponent" in by_exponent.get_xlabel()
    assert "NLL" in by_rate.get_ylabel()
    assert by_rate.get_ylim() == by_exponent.get_ylim()


def test_the_suggested_rate_is_marked_on_both_axes() -> None:
    by_rate, by_exponent = learning_rate_range(RATES, LOSSES).axes
    assert list(by_rate.lines[-1].get_xdata()) == [0.1, 0.1]
    assert list(by_exponent.lines[-1].get_xdata()) == pytest.approx([-1, -1])
    legend = by_exponent.get_legend()
    assert legend is not None
    assert legend.get_texts()[-1].get_text() == "suggested: 0.1"


def test_what_explodes_does_not_squash_the_fall() -> None:
    by_rate, _ = learning_rate_range(RATES, [3.3, 3.0, 2.5, 1e9]).axes
    assert by_rate.get_ylim()[1] < 4


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param(LOSSES, id="finite"),
        pytest.param([np.nan] * 4, id="nothing"),
        pytest.param([3.3, 3.0, np.inf, np.nan], id="exploded", marks=pytest.mark.full),
        pytest.param([1.0, 2.0, 3.0, 4.0], id="rising", marks=pytest.mark.full),
        pytest.param([2.0] * 4, id="flat", marks=pytest.mark.full),
    ],
)
def test_a_range_test_can_be_drawn_however_it_went(losses: list[float], tmp_path: Path) -> None:
    assert is_drawn(learning_rate_range(RATES, losses), tmp_path)


@pytest.mark.parametrize("count", [0, 1])
def test_a_range_test_of_a_step_or_none_can_be_drawn(count: int, tmp_path: Path) -> None:
    assert is_drawn(learning_rate_range(RATES[:count], LOSSES[:count]), tmp_path)


def test_a_rate_of_0_which_has_no_exponent_is_left_out() -> None:
    by_rate, _ = learning_rate_range([0.0, *RATES], [3.4, *LOSSES]).axes
    assert list(by_rate.lines[0].get_xdata()) == RATES


# --- bars


def test_a_bar_is_an_nll_and_one_without_end_is_marked(tmp_path: Path) -> None:
    by_place = [NLL(2.0, 2), NLL(0.0, 0), NLL(math.inf, 3)]
    found = diagnosis_of([[1.0]], by_place, {0: NLL(5.0, 2), 1: NLL(math.inf, 9), 2: NLL(3.0, 6)})
    figure = nll_by_place_and_character(found, {0: "a", 1: "b", 2: "."})
    places, characters = figure.axes
    # where there are no characters there is no place
    assert [label.get_text() for label in places.get_xticklabels()] == ["1", "3"]
    # the most common first
    assert [label.get_text() for label in characters.get_xticklabels()] == ["b", ".", "a"]
    heights = [[bar.get_height() for bar in axes.patches] for axes in (places, characters)]  # type: ignore[attr-defined]
    assert heights == [[1.0], [0.5, 2.5]]
    assert [[text.get_text() for text in axes.texts] for axes in (places, characters)] == [["∞"], ["∞"]]
    assert is_drawn(figure, tmp_path)


def test_calibration_is_drawn_where_something_was_predicted(tmp_path: Path) -> None:
    nothing = math.nan
    found = Calibration(np.array([0.1, nothing, 0.9]), np.array([0.2, nothing, 0.5]), np.array([3.0, 0.0, 1.0]))
    figure = calibration(found, "val")
    curve, _ = figure.axes
    assert (list(curve.lines[1].get_xdata()), list(curve.lines[1].get_ydata())) == ([0.1, 0.9], [0.2, 0.5])
    assert f"error {found.error:.4f}" in curve.get_title("left")
    assert is_drawn(figure, tmp_path)


@given(
    made_up=st.lists(st.integers(0, 500), min_size=1, max_size=50),
    real=st.lists(st.integers(1, 500), min_size=1, max_size=50),
)
@settings(max_examples=30)
def test_every_item_is_in_a_bar_of_lengths(made_up: list[int], real: list[int]) -> None:
    (axes,) = lengths(made_up, real).axes
    of_text, of_made_up = ([bar.get_height() for bar in bars] for bars in axes.containers)  # type: ignore[attr-defined]
    assert sum(of_text) == pytest.approx(1)
    assert sum(of_made_up) == pytest.approx(1)
    assert len(of_text) == len(of_made_up) <= 61


def test_bars_of_short_items_are_at_their_lengths(tmp_path: Path) -> None:
    figure = lengths([1, 3, 3], [1, 1, 2, 3])
    of_text, of_made_up = figure.axes[0].containers
    for bars, heights in ((of_text, [0.5, 0.25, 0.25]), (of_made_up, [1 / 3, 0, 2 / 3])):
        assert [bar.get_height() for bar in bars] == pytest.approx(heights)  # type: ignore[attr-defined]
        assert [round(bar.get_x() + bar.get_width() / 2) for bar in bars] == [1, 2, 3]  # type: ignore[attr-defined]
    assert is_drawn(figure, tmp_path)


@pytest.mark.full
def test_drawing_needs_no_display_and_no_pyplot() -> None:
    program = (
        "import io, sys\n"
        "from makemore.pictures.plots import learning_rate_range\n"
        "learning_rate_range([0.1, 1.0], [3.0, 2.0]).savefig(io.BytesIO())\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "MPLBACKEND": "TkAgg"}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0
