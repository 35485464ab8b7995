"""Checks scripts/report.py on sweeps made by hand: what it writes and prints, and what it says where it cannot."""

import csv
import math
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fabricated
import pytest
from fabricated import job

from makemore.checkpoints import FORMAT_VERSION, RECORD_KEY, path_of
from makemore.report.write_report import write_report
from makemore.sweeps.records import Job, Reference
from makemore.system.files import write_sealed

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the script in this process from a new working directory; return its code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["report.py", *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(ROOT / "scripts" / "report.py"), run_name="__main__")
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def grid() -> list[Job]:
    jobs = [job({"optimizer.lr": lr, "model.l2": l2}, 2 + lr + l2) for lr in (0.01, 0.1) for l2 in (0, 0.5)]
    return [*jobs, job({"optimizer.lr": 10.0, "model.l2": 0}, status="failed")]


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def both(*names: str) -> set[str]:
    return {f"{name}.{kind}" for name in names for kind in ("png", "svg")}


PICTURES = both("nll_by_optimizer.lr", "nll_by_model.l2", "nll_by_optimizer.lr_and_model.l2")
WRITTEN = {"sweep.csv", "report.html", *PICTURES}


def test_a_sweep_is_reported_in_its_directory(run: Run) -> None:
    fabricated.write(Path("logs/s"), grid(), total=7)
    code, out, err = run("logs/s")
    assert (code, err) == (0, "")
    assert files(Path("logs/s")) == {"sweep.json", *WRITTEN}
    for name in PICTURES:
        begins = b"\x89PNG\r\n\x1a\n" if name.endswith("png") else b"<?xml"
        assert (Path("logs/s") / name).read_bytes().startswith(begins)
    written = rows(Path("logs/s/sweep.csv"))
    assert [(row["optimizer.lr"], row["model.l2"]) for row in written] == [
        ("0.01", "0"),
        ("0.1", "0"),
        ("0.01", "0.5"),
        ("0.1", "0.5"),
        ("10.0", "0"),
    ]
    lines = out.splitlines()
    assert "4 finished, 1 failed, 2 not run" in lines
    assert f"logs/s/lr=10.0,l2=0: {fabricated.MESSAGE}" in lines
    assert "  python scripts/evaluate.py \"ckpt_path='logs/s/lr=0.01,l2=0'\"" in lines
    assert set(lines[-8:]) == {f"logs/s/{name}" for name in WRITTEN}


@pytest.mark.usefixtures("no_drawing")
def test_pruned_jobs_are_counted_and_the_best_is_none_of_them(run: Run) -> None:
    pruned = [
        job({"optimizer.lr": 0.5, "model.l2": 0}, 1.9, "pruned"),
        job({"optimizer.lr": 7, "model.l2": 0}, 1e6, "pruned"),
    ]
    fabricated.write(Path("s"), [*grid(), *pruned])
    code, out, err = run("s")
    assert (code, err) == (0, "")
    assert "4 finished, 2 pruned, 1 failed" in out
    assert "best of 6: validation NLL 2.0100000 with" in out
    page = Path("s/report.html").read_text()
    assert "The best of 6 jobs" in page
    assert "jobs, of which 2 pruned; 1 more failed" in page
    assert "4 jobs and 2 pruned. 1 lies above the range" in page


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.full
def test_it_says_the_same_when_it_is_asked_again(run: Run) -> None:
    fabricated.write(Path("s"), grid())
    assert run("s") == run("s/")


@pytest.mark.usefixtures("no_drawing")
def test_the_files_go_where_one_says(run: Run) -> None:
    fabricated.write(Path("s"), grid())
    assert run("s", "--output", "new/place")[0] == 0
    assert files(Path("new/place")) == WRITTEN
    assert files(Path("s")) == {"sweep.json"}


def test_it_takes_paths_and_keys_as_the_other_commands_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reported = []
    monkeypatch.setattr("makemore.report.write_report.write_report", lambda *arguments: reported.append(arguments))
    run_dir = Path("logs/train/runs/a")
    for best in (True, False):
        write_sealed({RECORD_KEY: {"format_version": FORMAT_VERSION}}, path_of(run_dir, 5, best))
    for arguments in (["latest"], ["ckpt_path=logs/*/runs/a"], [run_dir]):
        assert run(*arguments, "output=o")[0] == run(*arguments, "--output", "o")[0] == 0
    assert reported == [([run_dir], Path("o"))] * 6
    assert run(run_dir, "which=best")[0] == run("latest", "which=null")[0] == 0
    assert reported[6:] == [([path_of(run_dir, 5, best=True)], None), ([run_dir], None)]
    assert "which must be one of null, last, best" in error(run(run_dir, "which=first"))


@pytest.mark.usefixtures("no_drawing")
def test_the_directory_may_be_the_one_that_one_is_in(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabricated.write(Path("s"), grid())
    monkeypatch.chdir(tmp_path / "s")
    assert run(".")[0] == 0
    assert (tmp_path / "s" / "sweep.csv").exists()


@pytest.mark.usefixtures("no_drawing")
def test_several_sweeps_are_compared(run: Run) -> None:
    fabricated.write(Path("a"), grid(), total=5)
    reference = Reference("lesson", "train/loss", "model.l2", {0.5: 2.6})
    ours = [job({"model.l2": l2, "data.path": "é"}, 1.9 + l2, last={"train/loss": 2.7}) for l2 in (0, 0.5)]
    fabricated.write(Path("b"), ours, reference=reference)
    # one of them named twice is one still
    code, out, err = run("a", "b", "a/../a")
    assert (code, err) == (0, "")
    pairs = both("nll_by_optimizer.lr_and_model.l2", "nll_by_optimizer.lr_and_sweep", "nll_by_model.l2_and_sweep")
    singles = both("nll_by_optimizer.lr", "nll_by_model.l2", "nll_by_sweep")
    assert files(Path("report")) == {"sweep.csv", "report.html", *pairs, *singles}
    written = rows(Path("report/sweep.csv"))
    assert [row["sweep"] for row in written] == ["b", "a", "a", "b", "a", "a", "a"]
    assert list(written[0])[:4] == ["sweep", "optimizer.lr", "model.l2", "data.path"]
    assert [row["lesson"] for row in written if row["sweep"] == "b"] == ["", "2.6"]
    assert "best of 6: validation NLL 1.9000000 with model.l2=0 data.path=é" in out
    assert files(Path("a")) == files(Path("b")) == {"sweep.json"}


@pytest.mark.usefixtures("no_drawing")
def test_a_sweep_that_was_killed_has_what_there_is(run: Run) -> None:
    jobs = [job({"seed": 1}, 2.0, name="a"), job({"seed": 2}, status="running", name="b")]
    fabricated.write(Path("s"), [*jobs, job({"seed": 3}, 2.0, name="c")], total=9)
    Path("s/c/metrics.json").write_text("{")
    code, out, _ = run("s")
    assert code == 0
    assert "1 finished, 1 running or killed, 7 not run" in out.splitlines()
    # one job is no comparison
    assert files(Path("s")) == {"sweep.json", "sweep.csv", "report.html"}


def test_values_of_all_kinds_are_reported(run: Run) -> None:
    values = [None, [100, 200], "mlp", True, 3, math.inf, "a/b\n$c_{$", "中"]
    jobs = [
        job({"a.b@c/d": value, "seed": seed}, 2.0, name=f"{place}-{seed}")
        for place, value in enumerate(values)
        for seed in (1, 2)
    ]
    jobs.append(job({"a.b@c/d": "n", "seed": 1}, math.inf, name="n"))
    fabricated.write(Path("s"), jobs)
    code, out, err = run("s")
    assert (code, err) == (0, "")
    assert files(Path("s")) == {
        "sweep.json",
        "sweep.csv",
        "report.html",
        *both("nll_by_a.b_c_d", "nll_by_seed", "nll_by_a.b_c_d_and_seed"),
    }
    assert {row["a.b@c/d"] for row in rows(Path("s/sweep.csv"))} == {
        "null",
        "[100,200]",
        "mlp",
        "true",
        "3",
        "inf",
        "a/b\n$c_{$",
        "中",
        "n",
    }
    assert "[100,200]" in out


def error(outcome: tuple[int, str, str]) -> str:
    code, out, err = outcome
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    return line


def test_what_is_no_sweep_is_one_line(run: Run) -> None:
    kinds = "give a checkpoint, or the directory of a run or a sweep"
    assert error(run("nowhere")) == f"error: nowhere: no such file or directory; {kinds}"
    Path("empty").mkdir()
    neither = "neither a checkpoint, nor the directory of a run (checkpoints/), a sweep (sweep.json) or an export"
    assert error(run("empty")) == f"error: empty: is {neither}"
    Path("empty/sweep.json").write_text("{")
    assert "empty/sweep.json: cannot be read" in error(run("empty"))


def test_a_directory_of_sweeps_says_which_there_are(run: Run) -> None:
    for name in ("b", "a"):
        fabricated.write(Path("logs") / name, grid())
    assert error(run("logs")) == "error: logs: is a directory of sweeps; give one or more of logs/a, logs/b"


def test_a_sweep_without_a_finished_job_is_one_line(run: Run) -> None:
    fabricated.write(Path("s"), [job({"seed": 1}, status="failed"), job({"seed": 2}, status="running")])
    assert error(run("s")) == "error: s: no job has finished; wait for one, or resume the sweep"
    assert files(Path("s")) == {"sweep.json"}


@pytest.mark.parametrize("output", ["taken", "taken/below"])
def test_an_output_that_cannot_be_written_is_one_line(output: str, run: Run) -> None:
    fabricated.write(Path("s"), grid())
    Path("taken").touch()
    assert error(run("s", "--output", output)).startswith(f"error: {output}/sweep.csv: cannot be written: ")


def test_a_picture_that_cannot_be_written_is_one_line(run: Run) -> None:
    fabricated.write(Path("s"), grid())
    Path("s/nll_by_model.l2.png").mkdir()
    assert error(run("s")).startswith("error: s/nll_by_model.l2.png: cannot be written: ")


@pytest.mark.full
def test_a_report_needs_neither_lightning_nor_a_display(tmp_path: Path) -> None:
    sweep = fabricated.write(tmp_path / "s", grid())
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['report.py', {str(sweep)!r}]\n"
        f"runpy.run_path({str(ROOT / 'scripts' / 'report.py')!r}, run_name='__main__')\n"
        "heavy = {'lightning', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.full
def test_a_reader_that_has_had_enough_is_no_error(tmp_path: Path) -> None:
    jobs = [job({"seed": seed}, 2 + seed / 1000) for seed in range(1000)]
    sweep = fabricated.write(tmp_path / "s", jobs)
    line = f"{sys.executable} {ROOT / 'scripts' / 'report.py'} {sweep} | head -n 1"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (len(ended.stdout.splitlines()), ended.stderr) == (1, "")


def test_help_is_shown_without_heavy_imports(tmp_path: Path) -> None:
    program = (
        "import runpy, sys\n"
        "sys.argv = ['report.py', '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(ROOT / 'scripts' / 'report.py')!r}, run_name='__main__')\n"
        "except SystemExit:\n"
        "    sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert "PATH" in ended.stdout


@pytest.mark.usefixtures("no_drawing")
def test_it_is_a_function_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report([fabricated.write(tmp_path / "s", grid())], tmp_path / "out")
    assert files(tmp_path / "out") == WRITTEN
    assert str(tmp_path / "out" / "sweep.csv") in capsys.readouterr().out.splitlines()
