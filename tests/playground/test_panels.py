"""Checks the panels: what they show, in which order, and that whatever comes from outside is escaped."""

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from makemore.data.vocabulary import Vocabulary
from makemore.inference.continuations import Continuation
from makemore.inference.scoring import WordScore
from makemore.playground import panels

VOCABULARY = Vocabulary('"&<ab')
SEPARATE = Vocabulary("ab", "separate")


def parsed(html: str) -> ET.Element:
    """Return the elements of a panel, which is XML if all in it is closed and escaped."""
    return ET.fromstring(f"<div>{html}</div>")


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(1, "100"), (0.254, "25"), (0.0312, "3.1"), (0.00456, "0.46"), (0.00001, "<0.01"), (0, "0")],
)
def test_percentages_have_two_digits(probability: float, shown: str) -> None:
    assert panels.percent(probability) == shown


def test_bars_are_in_the_vocabularys_order_and_the_likeliest_is_the_tallest() -> None:
    probabilities = [0.5, 0.25, 0.125, 0.0625, 0.0625, 0.0]
    log_probs = [math.log(p) if p else -math.inf for p in probabilities]
    html = panels.distribution(log_probs, VOCABULARY)
    root = parsed(html)
    assert [bar.findtext("b") for bar in root.iter("div") if bar.get("class") == "bar"] == ["▪", *'"&<ab']
    heights = [float(height) for height in re.findall(r"height:([\d.]+)%", html)]
    assert heights == [100, 50, 25, 12.5, 12.5, 0]
    bars = root.find("div")
    assert bars is not None
    assert str(bars.get("aria-label")).startswith('Probability of the next character: ▪ 50%, " 25%, & 13%')


def test_a_separate_start_token_has_no_bar_and_a_large_vocabulary_has_its_likeliest() -> None:
    assert panels.distribution([math.log(0.25)] * 4, SEPARATE).count('class="bar"') == 3
    large = Vocabulary("".join(chr(0x4E00 + place) for place in range(100)))
    html = panels.distribution([-float(token) for token in range(101)], large)
    assert html.count('class="bar"') == 40
    assert "the 40 likeliest of 101 characters" in html


def test_the_tree_has_a_leaf_for_each_item_with_its_probability_and_what_it_types() -> None:
    a, end = VOCABULARY.encode("a")[0], VOCABULARY.end
    half = math.log(0.5)
    levels = [
        [Continuation((a,), half, 0), Continuation((end,), math.log(0.3), 0)],
        [Continuation((a, end), math.log(0.4), 0), Continuation((a, a), math.log(0.1), 0)],
    ]
    leaves = [text for text in parsed(panels.tree("<b", levels, VOCABULARY)).iter("text") if text.get("data-type")]
    assert [(leaf.text, leaf[0].text, leaf.get("data-type")) for leaf in leaves] == [
        ("<ba", "40%", "<ba"),
        ("<baa…", "10%", "<baa"),
        ("<b", "30%", "<b"),
    ]
    assert ["whole" in str(leaf.get("class")) for leaf in leaves] == [True, False, True]
    rows = [float(str(leaf.get("y"))) for leaf in leaves]
    assert rows == sorted(rows)
    assert len(set(rows)) == 3


def test_the_text_of_a_leaf_keeps_its_width_however_long_the_beginning_is() -> None:
    levels = [[Continuation((VOCABULARY.end,), 0.0, 0)]]
    html = panels.tree("abababababababab", levels, VOCABULARY)
    (leaf,) = (text for text in parsed(html).iter("text") if text.get("data-type"))
    assert (leaf.text, leaf.get("data-type")) == ("…babab", "abababababababab")
    assert parsed(panels.tree("a", [], VOCABULARY)).find("svg") is not None


def test_surprises_are_the_deeper_the_less_probable() -> None:
    score = WordScore("a <", ["a", " ", "<", "."], [0.0, -1.0, -math.inf, -0.5])
    root = parsed(panels.surprises(score, VOCABULARY))
    cells = list(root.iter("span"))
    assert [(cell.findtext("b"), cell.findtext("small")) for cell in cells] == [
        ("a", "0.0"),
        ("␣", "1.0"),
        ("<", "∞"),
        ("▪", "0.5"),
    ]
    depths = [int(str(cell.get("style")).removeprefix("--depth:").rstrip("%")) for cell in cells]
    assert depths[0] == 0 < depths[3] < depths[1] < depths[2] == 100


def test_what_cannot_be_seen_is_escaped() -> None:
    assert panels.with_spaces("a \t\u202e\u200d") == "a␣\\t\\u202e\u200d"
    odd = Vocabulary("\ta\u202e")
    half = math.log(0.25)
    for html in (
        panels.distribution([half] * 4, odd),
        panels.surprises(WordScore("\t\u202e", ["\t", "\u202e", "."], [half] * 3), odd),
    ):
        assert not {"\t", "\u202e"} & set(html)
        assert {"\\t", "\\u202e"} <= {each.text for each in parsed(html).iter("b")}
    # the t of an escape is none that is typed
    kinds = [each.get("class") for each in parsed(panels.plane(np.eye(2), ["t", "\\t"], "\t")).iter("text")]
    assert kinds == ["other", "typed"]


def test_the_plane_keeps_the_proportions_and_marks_what_is_typed() -> None:
    points = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    texts = list(parsed(panels.plane(points, ["▪", "a", "<"], "ba")).iter("text"))
    places = [(float(str(text.get("x"))), float(str(text.get("y")))) for text in texts]
    assert places[1][0] - places[0][0] == pytest.approx(2 * (places[0][1] - places[2][1]))
    assert [text.get("class") for text in texts] == ["other", "typed", "other"]
    # all in one place is in the middle
    assert "nan" not in panels.plane(np.zeros((2, 2)), ["a", "b"], "")


def test_made_up_items_say_which_are_new() -> None:
    root = parsed(panels.made_up(["<a", "", "b"], [False, True, None]))
    # for columns in which no item wraps
    assert [each.get("style") for each in root.iter("ul")] == ["--longest: 2"]
    assert [entry.get("class") for entry in root.iter("li")] == ["new", None, None]
    assert [(button.text, button.get("data-type")) for button in root.iter("button")] == [
        ("<a", "<a"),
        ("(nothing)", ""),
        ("b", "b"),
    ]


def test_an_error_is_text() -> None:
    (line,) = parsed(panels.error_line("<script>"))
    assert (line.text, line.get("role")) == ("<script>", "alert")
