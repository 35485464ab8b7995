"""Checks the table of jobs: its order, its columns, what is printed, and that sweep.csv has all of it."""

import csv
import math
import random
import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fabricated import MESSAGE, job
from hypothesis import example, given
from hypothesis import strategies as st

from makemore.errors import UserError
from makemore.sweeps.records import Job, Reference, SweepRecord
from makemore.sweeps.table import Sweep, Table, shown, sorted_jobs, spelt, table_of

STATUSES = ("finished", "running", "stopped", "failed", "not run")
NLLS = st.one_of(st.sampled_from([2.0, math.inf, math.nan]), st.floats(0, 60))


def table(jobs: list[Job], keys: list[str] | None = None, reference: Reference | None = None) -> Table:
    return table_of([Sweep(Path("sweep"), SweepRecord(["-m"], keys or [], reference=reference), jobs)])


def column(made: Table, name: str) -> list[Any]:
    (values,) = [column.values for column in made.columns if column.name == name]
    return values


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cells(output: str) -> list[list[str]]:
    """The cells of the plain lines, the headings first."""
    lines = output.partition("NLL (nats/char)\n")[2].splitlines()
    headings = re.split(" {2,}", lines[0])
    rows = [re.split(" {2,}", line) for line in lines]
    return [row for row in rows if len(row) == len(headings)]


def drawn(output: str) -> list[list[str]]:
    """The cells of the table that a terminal shows, the headings first."""
    lines = [line.replace("┃", "│") for line in output.splitlines() if line[:1] in ("│", "┃")]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


def test_the_best_is_first_and_what_did_not_finish_last() -> None:
    jobs = [
        job({}, status="not run", name="a"),
        job({}, status="failed", name="b"),
        job({}, status="stopped", name="c"),
        job({}, status="running", name="d"),
        job({}, math.inf, name="e"),
        job({}, 2.5, name="f"),
        job({}, 2.1, name="h"),
        job({}, 2.1, name="g"),
        # what it has is not that of all its steps
        job({}, 2.0, "pruned", name="j"),
        job({}, 1.9, "pruned", name="i"),
    ]
    assert "".join(each.name for each in sorted_jobs(jobs)) == "ghfeijdcba"


@given(st.lists(st.tuples(st.sampled_from(STATUSES), NLLS), max_size=8), st.randoms(use_true_random=False))
def test_the_order_is_one_whatever_order_the_jobs_come_in(made: list[tuple[Any, float]], draws: random.Random) -> None:
    jobs = [job({}, nll, status, str(number)) for number, (status, nll) in enumerate(made)]
    mixed = draws.sample(jobs, len(jobs))
    ordered = sorted_jobs(mixed)
    assert [each.name for each in ordered] == [each.name for each in sorted_jobs(jobs)]
    assert sorted(each.name for each in ordered) == sorted(each.name for each in jobs)
    nlls = [each.nlls["val"] for each in ordered if each.status == "finished" and each.nlls["val"] < math.inf]
    assert nlls == sorted(nlls)


def test_each_swept_key_is_a_column_in_the_order_of_the_record() -> None:
    made = table([job({"model.l2": 0, "optimizer.lr": 0.1}, 2.0), job({"x.lr": 1}, 2.1)], ["optimizer.lr", "model.l2"])
    assert [each.name for each in made.columns[:3]] == ["optimizer.lr", "model.l2", "x.lr"]
    # the last part of a key is enough where it is the only one
    assert [each.heading for each in made.columns[:3]] == ["optimizer.lr", "l2", "x.lr"]
    assert [each.values for each in made.columns[:3]] == [[0.1, None], [0, None], [None, 1]]


def test_a_key_is_not_mistaken_for_what_the_table_says_itself() -> None:
    (heading,) = [each.heading for each in table([job({"data.val": 1}, 2.0)]).columns if each.name == "data.val"]
    assert heading == "data.val"


@pytest.mark.parametrize(
    ("value", "plain", "on_screen"),
    [
        (3, 3, "3"),
        (0.1, 0.1, "0.1"),
        (0.0052230162858867, 0.0052230162858867, "0.00522302"),
        (None, "null", "null"),
        (True, "true", "true"),
        ([100, 200], "[100,200]", "[100,200]"),
        ({"a": "é"}, '{"a":"é"}', '{"a":"é"}'),
        ("mlp", "mlp", "mlp"),
        ("", "", '""'),
        ("a\nb", "a\nb", '"a\\nb"'),
        ("\x1b[31m", "\x1b[31m", '"\\u001b[31m"'),
        (math.inf, "inf", "inf"),
        (math.nan, "nan", "nan"),
        (10**400, str(10**400), str(10**400)),
    ],
)
def test_a_value_is_a_finite_number_or_text_and_one_line_on_screen(value: Any, plain: Any, on_screen: str) -> None:
    assert (spelt(value), type(spelt(value))) == (plain, type(plain))
    assert shown(spelt(value)) == on_screen


@given(st.lists(st.one_of(st.floats(), st.integers(), st.booleans(), st.text(), st.lists(st.integers())), min_size=1))
@example(["a\rb", "a\nb", 'a"b', "a,b", "\0", " a ", "-0.0"])
def test_the_csv_has_every_digit_and_character(values: list[Any]) -> None:
    jobs = [job({"key": value}, 2.0 + number / 3, name=str(number)) for number, value in enumerate(values)]
    with TemporaryDirectory() as directory:
        path = Path(directory) / "sweep.csv"
        table(jobs).write(path)
        written = rows(path)
    assert [row["key"] for row in written] == [str(spelt(value)) for value in values]
    assert [float(row["val/nll"]) for row in written] == [each.nlls["val"] for each in jobs]


def test_the_csv_has_full_keys_and_empty_cells_for_what_there_is_not(tmp_path: Path) -> None:
    jobs = [job({"optimizer.lr": 0.1}, 2.0, seconds=1.5), job({"optimizer.lr": 9.0}, status="failed")]
    table(jobs).write(tmp_path / "new" / "sweep.csv")
    assert (tmp_path / "new" / "sweep.csv").read_text() == (
        "optimizer.lr,val/nll,train/nll,test/nll,steps,seconds,status,job,message\n"
        "0.1,2.0,1.9,,1000,1.5,finished,lr=0.1,\n"
        f"9.0,,,,,,failed,lr=9.0,{MESSAGE}\n"
    )


def test_a_csv_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"sweep\.csv: cannot be written"):
        table([job({}, 2.0, name="a")]).write(tmp_path / "file" / "sweep.csv")


REFERENCE = Reference("lesson", "train/loss", "model.l2", {0.01: 2.5, 1.0: 2.9})


def test_known_figures_stand_beside_the_metric_that_they_belong_to() -> None:
    values = [0.01, 1, 5.0, True, [1], "1"]
    jobs = [job({"model.l2": value}, 2.0 + place, last={"train/loss": 7.0}) for place, value in enumerate(values)]
    made = table([*jobs, job({"model.l2": 1.0}, status="failed")], reference=REFERENCE)
    assert column(made, "train/loss") == [7.0] * 6 + [None]
    assert column(made, "lesson") == [2.5, 2.9, None, None, None, None, 2.9]


def test_known_figures_of_an_nll_that_the_table_has_add_no_second_column() -> None:
    made = table([job({"model.l2": 0.01}, 2.0)], reference=replace(REFERENCE, metric="val/nll"))
    names = [each.name for each in made.columns]
    assert names.count("val/nll") == 1
    assert column(made, "lesson") == [2.5]


def test_of_several_sweeps_it_says_which_one_and_shows_the_known_figures_of_that_one() -> None:
    jobs = [job({"model.l2": 0.01}, nll, last={"train/loss": nll}) for nll in (2.2, 2.1)]
    records = [SweepRecord(["-m"], ["model.l2"], total=3, reference=REFERENCE), SweepRecord(["-m"], ["model.l2"])]
    sweeps = [Sweep(Path("x") / name, record, [each]) for name, record, each in zip("ab", records, jobs, strict=True)]
    made = table_of(sweeps)
    assert made.columns[0].name == "sweep"
    assert column(made, "sweep") == ["b", "a"]
    assert column(made, "lesson") == [None, 2.5]
    assert made.not_begun == 2
    # a name that two of them have says nothing
    same = table_of([sweeps[0], replace(sweeps[1], directory=Path("y/a"))])
    assert column(same, "sweep") == ["y/a", "x/a"]


def test_what_is_printed_is_what_one_compares(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job({"optimizer.lr": lr}, 2 + lr, seconds=1234.56, steps=30000) for lr in (0.3, 0.1)]
    table(jobs).show()
    out, err = capsys.readouterr()
    assert err == ""
    assert cells(out) == [
        ["lr", "val", "train", "steps", "seconds", "job"],
        ["0.1", "2.1000000", "2.0000000", "30,000", "1,234.6", "lr=0.1"],
        ["0.3", "2.3000000", "2.2000000", "30,000", "1,234.6", "lr=0.3"],
    ]
    assert out.splitlines()[-3:] == [
        "best of 2: validation NLL 2.1000000 with optimizer.lr=0.1",
        "  python scripts/evaluate.py \"ckpt_path='sweep/lr=0.1'\"",
        "  python scripts/sample.py \"ckpt_path='sweep/lr=0.1'\"",
    ]


def test_jobs_that_did_not_finish_have_a_status_and_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [
        job({"lr": 0.1}, 2.0, name="a"),
        job({"lr": 9.0}, status="failed", name="b", message="two\n lines"),
        job({"lr": 8.0}, status="not run", name="c"),
        job({"lr": 7.0}, status="running", name="d"),
    ]
    replace(table(jobs), not_begun=2).show()
    out = capsys.readouterr().out
    assert [row[-2] for row in cells(out)] == ["status", "finished", "running", "failed", "not run"]
    assert out.splitlines()[6:8] == ["sweep/b: two lines", "1 finished, 1 running or killed, 1 failed, 3 not run"]


def test_without_a_finished_job_there_is_no_best(capsys: pytest.CaptureFixture[str]) -> None:
    table([job({"lr": 9.0}, status="failed")]).show()
    table([]).show()
    out = capsys.readouterr().out
    assert "1 failed" in out
    assert "best" not in out
    assert "scripts/" not in out


def test_a_pruned_job_is_the_best_only_where_none_has_finished(capsys: pytest.CaptureFixture[str]) -> None:
    pruned = [job({"lr": 0.1}, 2.0, "pruned"), job({"lr": 0.2}, 2.1, "pruned")]
    table([*pruned, job({"lr": 0.3}, 2.5)]).show()
    out = capsys.readouterr().out
    assert "best of 3: validation NLL 2.5000000 with lr=0.3" in out
    assert "1 finished, 2 pruned" in out
    table(pruned).show()
    assert "best of 2: validation NLL 2.0000000 with lr=0.1" in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["20", "80", "300"])
@pytest.mark.parametrize("terminal", [True, False])
def test_no_cell_is_cut_or_wrapped_however_narrow_the_terminal(
    columns: str, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")
    jobs = [job({"data.path": "p" * 70, "seed": seed}, 2 + seed, name="n" * 60 + str(seed)) for seed in range(200)]
    table(jobs).show()
    out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    heading, *printed = drawn(out) if terminal else cells(out)
    # names of directories have no room in a narrow terminal, nor have steps
    wide = columns == "300" or not terminal
    assert heading == [
        "path",
        "seed",
        "val",
        "train",
        *(["steps"] if wide else []),
        "seconds",
        *(["job"] if wide else []),
    ]
    assert [row[1] for row in printed] == [str(seed) for seed in range(200)]
    assert all(row[0] == "p" * 70 for row in printed)


@pytest.mark.parametrize("text", ["[red]a[/red]", "[/]", ":smile:", "zoë"])
def test_what_looks_like_markup_is_shown_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job({text: text}, 2.0, name="a"), job({text: text}, status="failed", name=text, message=text)]
    table(jobs).show()
    out = capsys.readouterr().out
    assert [row[0] for row in cells(out)] == [text] * 3
    assert f"sweep/{text}: {text}" in out.splitlines()


def test_the_csv_is_the_same_whatever_order_the_jobs_come_in(tmp_path: Path) -> None:
    jobs = [job({"lr": lr}, 2 + lr) for lr in (0.2, 0.1)]
    for name, ordered in (("a.csv", jobs), ("b.csv", jobs[::-1])):
        table(ordered, ["lr"]).write(tmp_path / name)
    assert [row["lr"] for row in rows(tmp_path / "a.csv")] == ["0.1", "0.2"]
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]
