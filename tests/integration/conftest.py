"""Running the scripts: in this process, which is quick, or in a new one, as a user does."""

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from trials import ROOT, Outcome

Command = Callable[..., Outcome]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a script in this process, from a new working directory."""
    monkeypatch.chdir(tmp_path)

    def run(script: str, *arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def process(tmp_path: Path) -> Command:
    """Run a script in a new process, from a new working directory."""

    def run(script: str, *arguments: object, cwd: Path = tmp_path, stdin: str = "") -> Outcome:
        line = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *map(str, arguments)]
        ended = subprocess.run(line, cwd=cwd, input=stdin, capture_output=True, text=True, check=False)
        return Outcome(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a short run of the default model, trained in a new process."""
    cwd = tmp_path_factory.mktemp("trained")
    arguments = ["trainer.max_steps=300", "val_every=100", "log_every=10", "checkpoint_every=100", "model.l2=0.01"]
    line = [sys.executable, str(ROOT / "scripts" / "train.py"), *arguments]
    subprocess.run(line, cwd=cwd, check=True, capture_output=True)
    (run_dir,) = (cwd / "logs" / "train" / "runs").iterdir()
    return run_dir
