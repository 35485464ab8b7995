"""Checks what a person sees in a terminal, and what a pipe gets: the same figures, drawn or as plain lines."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from trials import ROOT, SHORT, Outcome, start

from makemore.system.console import MESSAGES

BOXES = re.compile("[\u2500-\u257f]")
ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:[34]\d|9\d|10\d)[;m]")
HIDE_CURSOR = "\x1b[?25l"
GRID = ("-m", "optimizer.lr=0.1,0.2", "hydra.sweep.dir=S")

Command = Callable[..., Outcome]


def in_terminal(cwd: Path, script: str, *arguments: object, **environment: str) -> str:
    """Run a script as if from a terminal of 80 columns, and return all that it shows there."""
    master, slave = pty.openpty()
    # what would decide it against the terminal
    unset = {"FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"} - environment.keys()
    env = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", **environment}
    prepare = partial(_see_terminal, unset)
    child = start(script, *arguments, cwd=cwd, prepare=prepare, env=env, terminal=os.ttyname(slave))
    shown = b""
    while (is_alive := child.process.is_alive()) or select.select([master], [], [], 0)[0]:
        if select.select([master], [], [], 0.02 if is_alive else 0)[0]:
            shown += os.read(master, 65536)
    for descriptor in (master, slave):
        os.close(descriptor)
    assert child.process.exitcode == 0, shown.decode()
    return shown.decode().replace("\r\n", "\n")


def _see_terminal(unset: set[str]) -> None:
    """Open the streams, and the console of messages, which were made where there is no terminal, anew."""
    sys.stdout, sys.stderr = (open(descriptor, "w", buffering=1, closefd=False) for descriptor in (1, 2))  # noqa: SIM115
    for name in unset:
        os.environ.pop(name, None)
    MESSAGES.__init__(stderr=True)  # type: ignore[misc]


def plain_rows(output: str, title: str) -> list[list[str]]:
    """The cells of the plain table under a title, the headings first, up to a line that is none of it."""
    lines = output.partition(f"{title}\n")[2].splitlines()
    rows = [re.split(" {2,}", line) for line in lines]
    width = len(rows[0])
    return [row for row in rows if len(row) == width]


def drawn_rows(shown: str) -> list[list[str]]:
    lines = re.sub(r"\x1b\[[\d;?]*\w", "", shown).replace("┃", "│").splitlines()
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]


def test_an_evaluation_is_drawn_in_a_terminal_and_plain_in_a_pipe(
    trained: Path, process: Command, tmp_path: Path
) -> None:
    shown = in_terminal(tmp_path, "evaluate", f"ckpt_path={trained}")
    piped = process("evaluate", f"ckpt_path={trained}")
    assert BOXES.search(shown)
    assert ESCAPE in shown
    assert not BOXES.search(piped.out)
    assert ESCAPE not in piped.out
    rows = plain_rows(piped.out, "step 300")
    assert [row[0] for row in rows] == ["split", "train", "val", "test"]
    assert drawn_rows(shown) == rows


@pytest.mark.skipif(shutil.which("awk") is None, reason="there is no awk")
def test_awk_reads_the_table(trained: Path, process: Command) -> None:
    piped = process("evaluate", f"ckpt_path={trained}").out
    program = '$1 == "val" {print $3}'
    read = subprocess.run(["awk", program], input=piped, capture_output=True, text=True, check=True).stdout
    assert read.split() == [plain_rows(piped, "step 300")[2][2]]


def test_training_shows_a_bar_in_a_terminal_and_lines_in_a_pipe(process: Command, tmp_path: Path) -> None:
    shown = in_terminal(tmp_path, "train", *SHORT)
    assert HIDE_CURSOR in shown
    assert "40/40 steps" in re.sub(r"\x1b\[[\d;?]*\w", "", shown)
    assert COLOUR.search(shown)
    assert len(drawn_rows(shown)) >= 4
    piped = process("train", *SHORT)
    for stream in (piped.out, piped.err):
        assert ESCAPE not in stream
        assert not BOXES.search(stream)
    rows = plain_rows(piped.out, "NLL of the final weights")
    assert [row[0] for row in rows[:4]] == ["split", "train", "val", "test"]
    assert "step 20 of 40: " in piped.err


def test_no_color_takes_the_colours_and_leaves_the_rest(tmp_path: Path) -> None:
    shown = in_terminal(tmp_path, "train", *SHORT, NO_COLOR="1")
    assert not COLOUR.search(shown)
    assert HIDE_CURSOR in shown
    assert len(drawn_rows(shown)) >= 4


@pytest.mark.full
def test_a_sweep_shows_its_table_in_both(process: Command, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("n.txt", "n" * 100 + ".txt")]
    for path in paths:
        shutil.copy(ROOT / "data" / "names.txt", path)
    arguments = (*GRID, *SHORT, "data=text", f"data.path={paths[0]},{paths[1]}")
    piped = process("train", *arguments)
    assert piped.code == 0, piped.err
    for stream in (piped.out, piped.err):
        assert ESCAPE not in stream
        assert not BOXES.search(stream)
    headings, *rows = plain_rows(piped.out, "NLL (nats/char)")
    assert headings == ["lr", "path", "val", "train", "test", "steps", "seconds", "job"]
    # nothing is cut or left out, however long a line becomes
    assert sorted(row[1] for row in rows) == sorted(2 * [str(path) for path in paths])
    # the live line
    assert "4 complete" in piped.err
    # what has finished is kept, and only the table is shown
    shown = in_terminal(tmp_path, "train", *arguments)
    headings_in_terminal, *rows_in_terminal = drawn_rows(shown)
    assert headings_in_terminal == ["lr", "path", "val", "train", "test", "seconds"]
    assert [row[:5] for row in rows_in_terminal] == [row[:5] for row in rows]
