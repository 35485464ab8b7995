"""Pastes every command that is printed into a shell, for directories with names that a shell would trip over."""

import contextlib
import io
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from makemore.cli import train_command
from makemore.data.tables import table_note
from makemore.overrides import _available, describe, override
from makemore.report import run_page, sweep_page
from makemore.runs import opening_loggers
from makemore.runs.outcome import KeptWeights
from makemore.runs.train import log_stopped, naming_last_checkpoint
from makemore.sweeps import lifecycle
from makemore.sweeps.plan import Plan
from makemore.sweeps.records import Job, SweepRecord, write_job
from makemore.sweeps.table import Sweep, table_of

# what a shell, Hydra, OmegaConf, argparse or a terminal read as something else
HOSTILE = " =,'\"$(){}[];&|<>*?!~#\\-+.:@%^`é名\t\n\u2028\u202eab"
NAMES = st.text(alphabet=HOSTILE, min_size=1, max_size=12).filter(lambda name: name not in (".", ".."))
# each records how it was called, in place of running
STUBS = """
record() { printf '%s\\0' "$@" $'\\x01'; }
python() { record python "$@"; }
makemore() { record makemore "$@"; }
tensorboard() { record tensorboard "$@"; }
wandb() { record wandb "$@"; }
mlflow() { record mlflow "$@"; }
"""


def pasted(commands: list[str], cwd: Path) -> list[list[str]]:
    """Return the arguments with which a shell calls programs, given commands one a line."""
    assert not any("\n" in command for command in commands), commands
    ended = subprocess.run(["bash", "-c", STUBS + "\n".join(commands)], cwd=cwd, capture_output=True, check=False)
    assert ended.returncode == 0, (commands, ended.stderr)
    assert ended.stderr == b"", (commands, ended.stderr)
    calls = ended.stdout.decode().split("\0\x01\0")
    assert calls.pop() == ""
    return [call.split("\0") for call in calls]


def value(argument: str) -> Any:
    """Return what a config has for the value of KEY=VALUE, as Hydra reads it."""
    (parsed,) = OverridesParser.create().parse_overrides([argument])
    return OmegaConf.create({"key": parsed.value()}).key


def named(calls: list[list[str]], key: str) -> list[Path]:
    """Return the paths given to a key in some calls."""
    return [Path(value(each)) for call in calls for each in call if each.startswith(f"{key}=")]


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """Collect what is logged of a run within the block."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("makemore.runs.train")
    log.addHandler(handler)
    try:
        yield messages
    finally:
        log.removeHandler(handler)


def commands_in(lines: list[str]) -> list[str]:
    """Return the commands among printed lines, which are indented."""
    return [line.strip() for line in lines if line.startswith("  ") and line.strip()]


@given(names=st.lists(NAMES, min_size=1, max_size=2), absolute=st.booleans())
@example(names=["a=b c", "run"], absolute=False)
@example(names=["-rf"], absolute=False)
@example(names=["~root"], absolute=False)
@example(names=["${oc.env:HOME}", "\\${x}", "it's\\"], absolute=True)
@example(names=["a\nb\t'"], absolute=True)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_printed_command_can_be_pasted(names: list[str], absolute: bool, tmp_path: Path) -> None:
    run_dir = Path("/logs" if absolute else "", *names)
    job = Job(run_dir, ["seed=1"], {"seed": 1}, "finished", nlls={"val": 2.0})
    arguments = ["-m", "seed=0,1", f"name={names[0]}", override("data.path", run_dir)]
    sweep = Sweep(run_dir, SweepRecord(arguments, ["seed"]), [job])
    model = SimpleNamespace(path=run_dir / "step.ckpt", step=5, network=None)
    ended = {"has_ended": True, "taken": 5, "config": {"trainer.max_steps": 5}}
    data: Any = SimpleNamespace(run_dir=run_dir, overrides=arguments, model=model, **ended)
    result: Any = SimpleNamespace(run_dir=run_dir, other=KeptWeights("last", run_dir / "step.ckpt", {}))
    with logged() as messages:
        log_stopped(SimpleNamespace(), run_dir)  # type: ignore[arg-type]
    printed = [
        train_command._commands(result, is_mixed=True),
        commands_in(table_of([sweep]).notes()),
        [command for _, command in sweep_page._commands([sweep, sweep])],
        [command for _, command in run_page._commands(data)],
        commands_in(messages),
        [opening_loggers._wandb_command(run_dir), opening_loggers._mlflow_command(f"sqlite:///{run_dir}")],
        # within an error
        [f"makemore train {override('resume', run_dir)}"],
    ]
    calls = [pasted(commands, tmp_path) for commands in printed]
    of_run, of_table, of_sweeps, of_page, of_stop, of_loggers, of_error = calls
    logs = Path("/logs") if absolute else run_dir
    assert [Path(of_run[0][2]), Path(of_run[1][-1])] == [logs, run_dir]
    assert not any(path.startswith(("-", "~")) for path in (of_run[0][2], of_run[1][-1], *of_sweeps[-1][-2:]))
    assert named(of_run, "ckpt_path") == [run_dir, run_dir, run_dir / "mixture"]
    assert named(of_table, "ckpt_path") == [run_dir] * 2
    assert named(of_sweeps, "hydra.sweep.dir") == [run_dir] * 2
    assert list(map(Path, of_sweeps[-1][-2:])) == [run_dir] * 2
    # the arguments of the command as they were
    assert of_sweeps[1][2:-1] == arguments
    assert named(of_page, "ckpt_path") == [model.path] * 3
    assert named(of_page, "resume") == [run_dir]
    assert named(of_stop, "resume") == named(of_error, "resume") == [run_dir]
    sync, ui = of_loggers
    assert (sync[:2], Path(sync[2])) == (["wandb", "sync"], run_dir)
    assert not sync[2].startswith(("-", "~"))
    assert ui == ["mlflow", "ui", "--backend-store-uri", f"sqlite:///{run_dir}"]
    for part in (str(naming_last_checkpoint(OSError(28, "full"), run_dir)),):
        assert override("resume", run_dir) in part


@given(name=NAMES.filter(lambda name: not set("\n\t\u2028") & set(name)))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_end_of_a_sweep_can_be_pasted(name: str, tmp_path: Path) -> None:
    sweep_dir = tmp_path / name
    done, waiting = ["seed=0"], ["seed=1"]
    (sweep_dir / "seed_0-x").mkdir(parents=True, exist_ok=True)
    write_job(sweep_dir / "seed_0-x", done, {"seed": 0}, "failed", "it has no end")
    arguments = ["-m", "seed=0,1", override("data.path", name)]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        plan = Plan(["seed"], [], [done, waiting], 2, [done])
        assert not lifecycle._conclude(sweep_dir, SweepRecord(arguments, ["seed"], 2), plan)
    watch, report, again = pasted(commands_in(out.getvalue().split("\n"))[-3:], tmp_path)
    assert (watch[:2], Path(watch[2]), Path(report[-1])) == (["tensorboard", "--logdir"], sweep_dir, sweep_dir)
    assert again[2:-1] == arguments
    assert named([again], "hydra.sweep.dir") == [sweep_dir]


@given(name=NAMES.filter(lambda name: "=" not in name))
@example(name="\\\n")
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_an_error_advises_to_type_can_be_pasted(name: str, tmp_path: Path) -> None:
    error = pytest.importorskip("hydra.errors").OverrideParseException(f"data.path={name}", "no")
    error.override = f"data.path={name}"
    advice = describe(error)
    if not name.startswith("["):
        (call,) = pasted([f"makemore train {advice.partition('quotes of the shell: ')[2]}"], tmp_path)
        assert value(call[-1]) == name


@given(name=NAMES.filter(lambda name: not name.startswith("~")))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_advice_for_a_file_given_as_a_choice_can_be_pasted(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.touch()
    (call,) = pasted([f"makemore train {_available('data', str(path)).partition('is data=text ')[2]}"], tmp_path)
    assert Path(value(call[-1])) == path


def test_the_command_that_takes_a_column_runs(tmp_path: Path) -> None:
    path = tmp_path / "it's $(a) table;.csv"
    path.write_text('\ufeff"Name";"Year"\r\n' + "".join(f'"An;na{year}";"{year}"\r\n' for year in range(1900, 1920)))
    note = table_note(path.read_text().split("\n")[:-1], path)
    assert note is not None
    subprocess.run(["bash", "-c", note.partition("one column: ")[2]], cwd=tmp_path, check=True)
    lines = (tmp_path / "column.txt").read_text().split("\n")
    assert lines[1:3] == ["An;na1900", "An;na1901"]
