"""The catalogue of inputs: each gives the lines, counts and NLL that it should, or ends in one line.

What only `tests/integration/test_errors_are_one_line.py` has is not here again.
"""

import json
import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from makemore.inference.trained_model import load

Command = Callable[..., Any]

COUNTING = ("model=ngram", "model.fake_count=1", "num_samples=2")
ONE_SPLIT = "data.splits=[1,0,0]"


def smoothed_nll(lines: list[str], of: list[str], size: int) -> float:
    """The NLL of `of` by the bigram counts of `lines` plus one, `size` tokens in all, nats a character."""
    counts = Counter(pair for line in lines for pair in pairwise(["", *line, ""]))
    totals = Counter(character for line in lines for character in ["", *line])
    pairs = [pair for line in of for pair in pairwise(["", *line, ""])]
    return -sum(math.log((counts[pair] + 1) / (totals[pair[0]] + size)) for pair in pairs) / len(pairs)


def run_of(cwd: Path) -> Path:
    """The directory of the only run."""
    (run_dir,) = (cwd / "logs" / "train" / "runs").iterdir()
    return run_dir


@pytest.mark.parametrize(
    ("raw", "options", "lines", "says"),
    [
        pytest.param("emma\nava\n", "", ["emma", "ava"], "2 lines of 3 to 4 characters", id="nothing special"),
        pytest.param("emma\r\nava\r\n", "", ["emma", "ava"], "(2 carriage returns dropped)", id="CRLF"),
        pytest.param("\ufeffemma\nava", "", ["emma", "ava"], "(1 byte order marks dropped)", id="byte order mark"),
        pytest.param(" emma\nava\t\n", "", ["emma", "ava"], "(2 edge spaces dropped)", id="edge spaces"),
        pytest.param(
            "\nemma\n\nava\n", "", ["emma", "ava"], "(2 blank lines dropped)", id="blank lines", marks=pytest.mark.full
        ),
        pytest.param(
            "em\u2028ma\na\u2029va\n",
            "",
            ["em\u2028ma", "a\u2029va"],
            "2 lines",
            id="U+2028 and U+2029",
            marks=pytest.mark.full,
        ),
        pytest.param("emma\n", "", ["emma"], "1 lines of 4 to 4 characters", id="one line", marks=pytest.mark.full),
        pytest.param("emma\n" * 50, "", ["emma"] * 50, "50 lines", id="identical lines", marks=pytest.mark.full),
        pytest.param(
            "emma\n" + "x" * 10**7 + "\nava\n", "", ["emma", "ava"], "(1 long lines dropped)", id="a line of 10 MB"
        ),
        pytest.param("emma\nava\n", "data.max_length=3", ["ava"], "(1 long lines dropped)", id="max_length"),
        pytest.param(
            "x" * 2000,
            "data.max_length=null",
            ["x" * 2000],
            "1 lines of 2,000 to 2,000",
            id="no max_length",
            marks=pytest.mark.full,
        ),
        pytest.param(
            "a.b\n.\n",
            "",
            ["a.b", "."],
            "2 lines of 1 to 3 characters, 4 tokens",
            id="a dot in a word",
            marks=pytest.mark.full,
        ),
        pytest.param("Zo\u00eb\nZoe\u0308\n", "", ["Zo\u00eb"] * 2, "of 3 to 3 characters", id="NFC and NFD"),
        pytest.param(
            "Zoe\u0308\n",
            "data.normalize=NFD",
            ["Zoe\u0308"],
            "of 4 to 4 characters",
            id="NFD asked for",
            marks=pytest.mark.full,
        ),
        pytest.param(
            "Zo\u00eb\nZoe\u0308\n",
            "data.normalize=null",
            ["Zo\u00eb", "Zoe\u0308"],
            "of 3 to 4",
            id="as they are",
            marks=pytest.mark.full,
        ),
        pytest.param(
            "".join(f"item\t{n}\n" for n in range(12)),
            "",
            [f"item\t{n}" for n in range(12)],
            "text.txt: looks like a table (columns, with the same number of tabs in most lines)",
            id="tabs",
        ),
        pytest.param(
            '\ufeff"Name";"Year"\r\n' + "".join(f'"Anna{n}";"{1900 + n}"\r\n' for n in range(12)),
            "",
            ['"Name";"Year"', *(f'"Anna{n}";"{1900 + n}"' for n in range(12))],
            "looks like a table (columns, with the same number of semicolons in most lines and fields in quotes)",
            id="a spreadsheet's export",
        ),
        pytest.param("👩‍👧a\n🇫🇷\n", "", ["👩‍👧a", "🇫🇷"], "2 lines of 2 to 4 characters", id="emoji"),
    ],
)
def test_a_text_that_is_cleaned(
    raw: str, options: str, lines: list[str], says: str, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_bytes(raw.encode())
    outcome = command("train", *COUNTING, "data=text", "data.path=text.txt", ONE_SPLIT, *options.split())
    assert outcome.code == 0, outcome.err
    assert says in outcome.err
    run_dir = run_of(tmp_path)
    assert load(run_dir).vocabulary.characters == "".join(sorted(set("".join(lines))))
    nll = json.loads((run_dir / "metrics.json").read_text())["train/nll"]
    assert nll == pytest.approx(smoothed_nll(lines, lines, len(set("".join(lines))) + 1), abs=1e-9)


@pytest.mark.parametrize(
    ("raw", "options", "says"),
    [
        pytest.param("em\0ma\n", "", "line 1 has the control character U+0000, as UTF-16", id="NUL"),
        pytest.param("emma\nav\x85a\n", "", "line 2 has the control character U+0085", id="next line"),
        pytest.param("emma\rava\r", "", "line 1 has the control character U+000D", id="lone carriage returns"),
        pytest.param("emma\nav\x1ba\n", "", "line 2 has the control character U+001B", id="escape"),
        pytest.param("emma\n", "", "the training split would be empty: 1 distinct lines", id="one line"),
        pytest.param("emma\n" * 50, "", "the validation split would be empty: 1 distinct", id="identical lines"),
        pytest.param("emma\nava\n", "data.max_length=2", "more than data.max_length=2 characters", id="all long"),
        pytest.param("emma\n", "data.max_length=0", "data.max_length must be at least 1", id="max_length 0"),
        pytest.param("emma\n", "data.max_length=1.5", "data.max_length must be a whole", id="max_length no number"),
        pytest.param("emma\n", "data.max_lenght=9", "did you mean data.max_length?", id="misspelt max_length"),
        pytest.param("emma\n", "data.split=[1,0,0]", "did you mean data.splits?", id="misspelt splits"),
        pytest.param("emma\n", "trainer.maxsteps=9", "did you mean trainer.max_steps?", id="misspelt max_steps"),
        pytest.param("emma\n", "schedular.gamma=1", "did you mean scheduler?", id="misspelt group"),
    ],
)
def test_a_text_or_option_that_is_refused(raw: str, options: str, says: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(raw.encode())
    assert says in command("train", *COUNTING[:2], "data=text", "data.path=text.txt", *options.split()).error
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("splits", "sizes"),
    [
        ("[0.8,0.1,0.1]", "train 240, val 30, test 30"),
        ("[0.5,0.25,0.25]", "train 150, val 75, test 75"),
        ("[0.9,0,0.1]", "train 270, val 0, test 30"),
        ("[0.75,0.25,0]", "train 225, val 75, test 0"),
        ("[1,0,0]", "train 300, val 0, test 0"),
    ],
)
def test_ratios_and_empty_splits(splits: str, sizes: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("".join(f"{a}{b}\n" for a in "abcdefghij" for b in "klmnopqrst"))
    outcome = command("train", *COUNTING, "data=text", "data.path=text.txt", f"data.splits={splits}")
    assert outcome.code == 0, outcome.err
    assert f"examples: {sizes}" in outcome.err
    metrics = json.loads((run_of(tmp_path) / "metrics.json").read_text())
    asked = {name for name, size in (part.split() for part in sizes.split(", ")) if size != "0"}
    assert {name.removesuffix("/nll") for name in metrics if name.endswith("/nll")} == {
        *asked,
        *(f"reference/{split}" for split in asked),
    }


def test_characters_that_only_the_test_split_has_are_said(command: Command, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("emma\nava\n")
    (tmp_path / "test.txt").write_text("zoe\nemma\n")
    paths = ("data=text", "data.path=train.txt", "data.test_path=test.txt")
    outcome = command("train", *COUNTING, *paths)
    assert outcome.code == 0, outcome.err
    assert "in val or test alone, so training never sees them: 2, 'o' 'z'" in outcome.err
    metrics = json.loads((run_of(tmp_path) / "metrics.json").read_text())
    assert metrics["test/nll"] == pytest.approx(smoothed_nll(["emma", "ava"], ["zoe", "emma"], 7), abs=1e-9)


SMALL_MLP = ("model=mlp", "trainer.max_steps=2", "model.hidden_dim=4")


@pytest.mark.parametrize(
    ("model", "lower"),
    [
        ((*SMALL_MLP, "model.block_size=6"), "model.block_size to 5"),
        (("model=ngram", "model.order=7"), "model.order to 6"),
    ],
)
def test_contexts_beyond_the_longest_line_are_warned_of_once(
    model: tuple[str, ...], lower: str, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("emma\nava\n")
    outcome = command("train", *model, "data=text", "data.path=text.txt", ONE_SPLIT)
    assert outcome.code == 0, outcome.err
    (warning,) = (line for line in outcome.err.splitlines() if "longer than the longest line" in line)
    what = "contexts of 6 tokens are longer than the longest line with the start before it, 5; the rest is padding"
    assert warning == f"{what}; lower {lower}"


@pytest.mark.parametrize("model", [(*SMALL_MLP, "model.block_size=5"), ("model=ngram", "model.order=6")])
def test_a_context_that_holds_the_longest_line_and_its_start_is_not_too_long(
    model: tuple[str, ...], command: Command, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("emma\nava\n")
    outcome = command("train", *model, "data=text", "data.path=text.txt", ONE_SPLIT)
    assert outcome.code == 0, outcome.err
    assert "longer than" not in outcome.err


@pytest.mark.full
def test_what_a_terminal_cannot_show_is_escaped(
    tmp_path: Path, new_process: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    (tmp_path / "text.txt").write_text("ann\u00e9\n\U0001f600\n", encoding="utf-8")
    trained = new_process("train", *COUNTING, "data=text", "data.path=text.txt", ONE_SPLIT, "hydra.run.dir=run")
    assert trained.code == 0, trained.err
    scored = new_process("score", "ckpt_path=run", "words=['ann\u00e9','\U0001f600']")
    assert scored.code == 0, scored.err
    assert "\\U0001f600" in scored.out
    assert "ann\\xe9" in scored.out


def test_an_argument_that_is_not_utf8_is_refused(tmp_path: Path, process: Command) -> None:
    (tmp_path / "te\udcff").write_text("anna\n")
    assert "is not UTF-8" in process("train", *COUNTING, "data=text", "data.path='te\udcff'").error
    assert not (tmp_path / "logs").exists()


def test_a_number_beyond_floats_that_is_not_used_does_no_harm(command: Command, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("emma\nava\n")
    unused = "optimizer.lr=1" + "0" * 400
    assert command("train", *COUNTING, "data=text", "data.path=text.txt", ONE_SPLIT, unused).code == 0


def test_contexts_as_long_as_the_longest_line_are_not_warned_of(command: Command, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("emma\nava\n")
    outcome = command("train", "model=ngram", "model.order=5", "data=text", "data.path=text.txt", ONE_SPLIT)
    assert outcome.code == 0, outcome.err
    assert "longest line" not in outcome.err


@pytest.mark.parametrize("model", ["gru", pytest.param("transformer", marks=pytest.mark.full)])
@pytest.mark.parametrize(
    ("lines", "options"),
    [
        pytest.param(["a", "b"] * 10, (), id="one character"),
        pytest.param(["emma"], ("data.batch_size=1", "model.block_size=1"), id="contexts of one token"),
        pytest.param(["ab" * 2500, "ba"], ("data.batch_size=2",), id="a line of 5,000"),
        pytest.param(
            ["".join(map(chr, range(0x4E00, 0x4E00 + 3000)))], (), id="3,000 characters", marks=pytest.mark.slow
        ),
        pytest.param(["emma", "ava"], ("data.batch_size=null", "data.boundary=separate"), id="all lines at once"),
    ],
)
def test_lines_of_any_kind_are_trained_on_whole(
    model: str, lines: list[str], options: tuple[str, ...], command: Command, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("\n".join(lines))
    small = ("model.embedding_dim=4", "trainer.max_steps=3", "num_samples=1")
    outcome = command("train", f"model={model}", "data=text", "data.path=text.txt", ONE_SPLIT, *small, *options)
    assert outcome.code == 0, outcome.err
    run_dir, tokens = run_of(tmp_path), sum(len(line) + 1 for line in lines)
    nll = json.loads((run_dir / "metrics.json").read_text())["train/nll"]
    scored = sum(nll * (len(line) + 1) for line, nll in zip(lines, load(run_dir).nll(lines), strict=True))
    assert nll == pytest.approx(scored / tokens, abs=1e-5)
    longer = sum(len(line) + 1 > load(run_dir).network.block_size for line in lines)
    (said,) = [line for line in outcome.err.splitlines() if "are longer than model.block_size" in line] or [""]
    assert said.startswith(f"{longer:,} lines are longer than model.block_size=" if longer else "")
    assert bool(said) == bool(longer)
