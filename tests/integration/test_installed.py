"""Checks `makemore` from the wheel, in a directory with nothing but a user's own: all works, none writes into it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import own_directory
import pytest
from trials import ROOT, Outcome, table

pytestmark = pytest.mark.full
Makemore = Callable[..., Outcome]


@pytest.fixture(scope="module")
def package(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel is installed; the packages that it needs are those of the tests."""
    directory = tmp_path_factory.mktemp("installed") / "site"
    line = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*line, "--target", str(directory), str(wheel)], check=True)
    return directory


@pytest.fixture(scope="module")
def makemore(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Makemore:
    """Run `makemore` as installed, in one working directory with a conf/ of its own."""
    cwd = own_directory.make(tmp_path_factory.mktemp("user"))
    env = os.environ | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(cwd / "home")}
    del env["XDG_CACHE_HOME"]

    def run(*arguments: str) -> Outcome:
        line = [sys.executable, str(package / "bin" / "makemore"), *arguments]
        ended = subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return Outcome(ended.returncode, ended.stdout, ended.stderr)

    return run


def test_all_works_and_nothing_is_written_into_the_package(makemore: Makemore, package: Path) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in package.rglob("*")}

    before = state()
    trained = makemore("train", "experiment=own", "name=own")
    # the text is the package's
    assert trained.err.startswith(str(package / "makemore" / "data" / "names.txt"))
    assert str(ROOT) not in trained.out + trained.err
    assert "\n  makemore report " in trained.out
    assert len(makemore("sample", "ckpt_path=logs/train/runs/own", "num_samples=3").out.splitlines()) == 3
    swept = makemore("train", "sweep=own", "hydra.sweep.dir=S", "hydra.launcher.n_jobs=2")
    assert "makemore report S" in swept.out
    cwd = Path(trained.out.partition("everything is in ")[2].splitlines()[0]).parents[3]
    assert [row["status"] for row in table(cwd / "S")] == ["finished"] * 4
    assert "report.html" in makemore("report", "S").out
    assert {path.name for path in cwd.iterdir()} <= {"S", "conf", "home", "logs", "own_networks.py"}
    assert state() == before
