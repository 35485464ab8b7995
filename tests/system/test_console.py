"""Checks what a person sees: messages on standard error, results on standard output, drawn or as plain lines."""

import io
import logging
import math
import re
from contextlib import redirect_stdout

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from makemore.inference.evaluation import print_nlls
from makemore.inference.likelihood import NLL
from makemore.inference.scoring import WordScore, print_scores
from makemore.system.console import ConsoleHandler, TableColumn, print_table, visible


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("São Paulo\u00a0é 👩‍👧 می‌خواهم", "São Paulo\u00a0é 👩‍👧 می‌خواهم"),
        ("a\tb", "a\\tb"),
        ("a\u2028b\u202ec\ufeff", "a\\u2028b\\u202ec\\ufeff"),
        ("\ue000", "\ue000"),
    ],
)
def test_what_cannot_be_seen_is_escaped(text: str, seen: str) -> None:
    assert visible(text) == seen


def test_a_table_of_words_with_tabs_has_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores([WordScore("a\tb", ["a", "\t", "b", "."], [-1.0] * 4)])
    lines = capsys.readouterr().out.split("\n")
    assert lines[0] == "a\\tb"
    assert lines[2].split()[0] == "\\t"
    assert "\t" not in "".join(lines)


@pytest.fixture
def logger() -> logging.Logger:
    logger = logging.Logger("test")
    handler = ConsoleHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    return logger


@pytest.mark.parametrize(
    "message",
    [
        "everything is in logs/train",
        "markup is text: [bold]names[/bold] [/] [red] :smile:",
        "/a/very/long/path" * 30,
        "umlauts zoë",
    ],
)
def test_a_message_is_one_line_on_standard_error_as_it_is(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], message: str
) -> None:
    logger.info("%s", message)
    assert capsys.readouterr() == ("", message + "\n")


def drawn(output: str) -> list[list[str]]:
    """The cells of a table as a terminal shows it, the headings first."""
    lines = [line.replace("┃", "│") for line in re.sub(r"\x1b\[[\d;]*m", "", output).split("\n")]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]


def table(output: str, title: str) -> list[list[str]]:
    """The cells of a table as plain lines, as awk would read them, the headings first."""
    return [re.split(" {2,}", line) for line in output.partition(f"{title}\n")[2].splitlines()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")


HEADINGS = ["split", "characters", "NLL (nats/char)", "bits/char", "perplexity"]
NLLS = {"train": NLL(2e6 * math.log(2), 1_000_000), "val": NLL(3.0, 2)}


def test_what_is_no_terminal_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_nlls("NLL of the final weights", NLLS)
    assert capsys.readouterr().out == (
        "NLL of the final weights\n"
        "split  characters  NLL (nats/char)  bits/char  perplexity\n"
        "train   1,000,000        1.3862944     2.0000      4.0000\n"
        "val             2        1.5000000     2.1640      4.4817\n"
    )


def test_the_reference_row_is_a_column_for_the_splits_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_nlls("NLL", {"val": NLL(3.0, 2)}, {"train": NLL(1.0, 1), "val": NLL(2.5, 2)})
    assert table(capsys.readouterr().out, "NLL") == [
        [*HEADINGS, "Kneser-Ney"],
        ["val", "2", "1.5000000", "2.1640", "4.4817", "1.2500000"],
    ]


@pytest.mark.usefixtures("terminal")
def test_the_table_with_the_reference_row_fits_into_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_nlls("NLL", NLLS, NLLS)
    assert max(map(len, re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines())) <= 80


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_the_same_in_a_drawn_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_nlls("NLL of the final weights", NLLS)
    out = capsys.readouterr().out
    assert "\x1b[3mNLL of the final weights\x1b[0m\n┏━" in out
    assert drawn(out) == [
        HEADINGS,
        ["train", "1,000,000", "1.3862944", "2.0000", "4.0000"],
        ["val", "2", "1.5000000", "2.1640", "4.4817"],
    ]


CELLS = st.lists(st.text(st.characters(exclude_categories=["C", "Z", "M"])), min_size=3, max_size=3)


@given(columns=st.lists(st.tuples(st.text("ab", min_size=1), CELLS, st.booleans()), min_size=1, max_size=5))
@example([("a", ["", "", ""], False), ("b", ["中文", "x" * 300, ""], True), ("a", ["1", "", "-"], False)])
def test_plain_lines_are_read_back_cell_by_cell(columns: list[tuple[str, list[str], bool]]) -> None:
    with redirect_stdout(io.StringIO()) as printed:
        print_table("title", [TableColumn(*column) for column in columns])
    first, *lines = printed.getvalue().split("\n")[:-1]
    assert first == "title"
    rows = zip(*((heading, *cells) for heading, cells, _ in columns), strict=True)
    assert [re.split(" {2,}", line) for line in lines] == [[cell or "-" for cell in row] for row in rows]


@pytest.mark.usefixtures("terminal")
def test_a_narrow_terminal_goes_without_the_spare_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = [TableColumn(name, [name * 20]) for name in "abcd"]
    expected = {"120": "abcd", "80": "abd", "60": "ad", "10": "ad"}
    for width, names in expected.items():
        monkeypatch.setenv("COLUMNS", width)
        print_table("title", columns, spare="cb")
        # the others are neither cut nor wrapped
        assert drawn(capsys.readouterr().out) == [list(names), [name * 20 for name in names]]
    monkeypatch.delenv("FORCE_COLOR")
    print_table("title", columns, spare="cb")
    assert table(capsys.readouterr().out, "title") == [list("abcd"), [name * 20 for name in "abcd"]]


@pytest.mark.usefixtures("terminal")
def test_a_column_that_wraps_leaves_the_others_their_room(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("title", [TableColumn("a", ["word " * 30], True, wraps=True), TableColumn("b", ["1" * 40])])
    rows = drawn(capsys.readouterr().out)
    assert rows[1][1] == "1" * 40
    assert " ".join(row[0] for row in rows[1:]).split() == ["word"] * 30


def test_nlls_are_a_row_each_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_nlls("NLL", {"train": NLL(2e6 * math.log(2), 1_000_000), "val": NLL(math.inf, 3)})
    out, err = capsys.readouterr()
    assert err == ""
    headings, *rows, note = table(out, "NLL")
    assert headings == HEADINGS
    assert rows == [
        ["train", "1,000,000", "1.3862944", "2.0000", "4.0000"],
        ["val", "3", "inf", "inf", "inf"],
    ]
    assert note[0].startswith("inf: something there was never seen in training")


def test_a_title_that_looks_like_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    title = "best[bold].ckpt :smile:, step 3"
    print_nlls(title, {"train": NLL(1.0, 1)})
    assert capsys.readouterr().out.split("\n")[0].strip() == title


def test_scores_show_each_character_and_then_each_word(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores(
        [
            WordScore("ab", ["a", "b", "<E>"], [math.log(0.5), math.log(0.25), 0.0]),
            WordScore("q", ["q", "<E>"], [-math.inf, -1.0]),
        ]
    )
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split() for line in out.split("\n")[:7]] == [
        ["ab"],
        ["a", "0.5000", "-0.6931"],
        ["b", "0.2500", "-1.3863"],
        ["<E>", "1.0000", "0.0000"],
        ["q"],
        ["q", "0.0000", "-inf"],
        ["<E>", "0.3679", "-1.0000"],
    ]
    assert table(out, "NLL of each word") == [
        ["word", "characters", "log-likelihood", "NLL (nats/char)"],
        ["ab", "3", "-2.0794", "0.6931"],
        ["q", "2", "-inf", "inf"],
    ]


@pytest.mark.parametrize("word", ["[red]a[/red]", "[/]", ":smile:", "", "a|b", "zoë"])
def test_a_word_that_looks_like_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str], word: str) -> None:
    print_scores([WordScore(word, ["."], [-1.0])])
    out, _ = capsys.readouterr()
    assert out.split("\n")[0] == word
    assert table(out, "NLL of each word")[1][0] == (word or "-")


def test_nothing_to_show_is_an_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_nlls("nothing", {})
    assert table(capsys.readouterr().out, "nothing") == [HEADINGS]
