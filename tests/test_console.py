"""Checks what a person sees: messages on standard error, results on standard output, markup taken for text."""

import logging
import math

import pytest

from makemore.console import ConsoleHandler, print_nlls, print_scores
from makemore.metrics import NLL
from makemore.scoring import WordScore


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


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("│")[1:-1]]


def table(output: str) -> list[list[str]]:
    return [cells(line) for line in output.split("\n") if line.startswith("│")]


def test_nlls_are_a_row_each_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_nlls("NLL of the final weights", {"train": NLL(2e6 * math.log(2), 1_000_000), "val": NLL(math.inf, 3)})
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("NLL of the final weights")
    assert all(heading in out for heading in ("split", "characters", "NLL (nats/char)", "bits/char", "perplexity"))
    assert table(out) == [
        ["train", "1,000,000", "1.3862944", "2.0000", "4.0000"],
        ["val", "3", "inf", "inf", "inf"],
    ]


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
    assert table(out) == [["ab", "3", "-2.0794", "0.6931"], ["q", "2", "-inf", "inf"]]


@pytest.mark.parametrize("word", ["[red]a[/red]", "[/]", ":smile:", "", "a|b", "zoë"])
def test_a_word_that_looks_like_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str], word: str) -> None:
    print_scores([WordScore(word, ["."], [-1.0])])
    out, _ = capsys.readouterr()
    assert out.split("\n")[0] == word
    assert table(out)[0][0] == word


def test_nothing_to_show_is_an_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_nlls("nothing", {})
    assert table(capsys.readouterr().out) == []
