"""A run and a sweep in directories with names that a shell trips over: each printed command is pasted, and runs."""

import re
import subprocess
from pathlib import Path

import pytest
from trials import SHORT, Outcome, leave_svgs_empty, run

from makemore.overrides import hydra_override

pytestmark = pytest.mark.slow

HOSTILE = "-a=b c,$x (1);&'\"é[!]{~}#"
PROGRAMS = r"""
record() { printf '%s\0' "$@" $'\x01'; }
python() { record "$@"; }
tensorboard() { record tb "$@"; }
"""


def paste(outcome: Outcome, cwd: Path) -> list[list[str]]:
    """Return how a shell calls the programs of the commands that a command has printed."""
    lines = [line for line in (outcome.out + outcome.err).split("\n") if re.match(" *(python|tensorboard) ", line)]
    ended = subprocess.run(["bash", "-c", PROGRAMS + "\n".join(lines)], cwd=cwd, capture_output=True, check=True)
    assert ended.stderr == b"", ended.stderr
    return [call.split("\0") for call in ended.stdout.decode().split("\0\x01\0")[:-1]]


def run_all(outcome: Outcome, cwd: Path) -> list[str]:
    """Run the printed commands; return which they were."""
    ran = []
    for program, *arguments in paste(outcome, cwd):
        if program == "tb":
            assert list((cwd / arguments[1]).glob("**/events.out.tfevents.*")), arguments
        else:
            ended = run(Path(program).stem, *arguments, cwd=cwd, prepare=leave_svgs_empty)
            assert ended.code == 0, (arguments, ended.err)
        ran.append(Path(program).stem)
    return ran


def test_the_commands_of_a_run_and_of_a_sweep_run(tmp_path: Path) -> None:
    directory = tmp_path / HOSTILE
    directory.mkdir()
    (directory / "names.txt").write_text("".join(f"{a}{b}{a}\n" for a in "abcdefg" for b in "hijklmno"))
    given = ("data=text", hydra_override("data.path", f"{HOSTILE}/names.txt"), *SHORT, "mixture=true")
    of_run = run("train", *given, hydra_override("hydra.run.dir", f"{HOSTILE}/run"), cwd=tmp_path)
    assert of_run.code == 0, of_run.err
    assert run_all(of_run, tmp_path)[:3] == ["tb", "report", "sample"]
    there = hydra_override("hydra.sweep.dir", f"{HOSTILE}/sweep")
    of_sweep = run("train", "-m", *given, there, "optimizer.lr=0.01,1e30", cwd=tmp_path)
    assert of_sweep.code == 1
    *before, (again, *arguments) = paste(of_sweep, tmp_path)
    assert [Path(call[0]).stem for call in before] == ["evaluate", "sample", "tb", "report"]
    # the job that has failed fails again, in the same sweep
    resumed = run(Path(again).stem, *arguments, cwd=tmp_path)
    assert resumed.code == 1
    assert "1 of 2 jobs are complete" in resumed.out
    evaluated = run("evaluate", *before[0][1:], cwd=tmp_path)
    assert evaluated.code == 0, evaluated.err
