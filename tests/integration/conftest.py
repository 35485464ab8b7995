"""Running the scripts: in this process, in a forked one, or in a new one, as a user does."""

import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trials
from hydra.core.hydra_config import HydraConfig
from trials import ROOT, Outcome

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Command = Callable[..., Outcome]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a script in this process, from a new working directory."""
    monkeypatch.chdir(tmp_path)
    # --help leaves the config of its command there
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)

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
    """Run a script in a process of its own that is forked from one with the heavy imports (see trials.py)."""
    return partial(trials.run, cwd=tmp_path)


@pytest.fixture
def new_process(tmp_path: Path) -> Command:
    """Run a script in a new process, as a user does, from a new working directory."""

    def run(script: str, *arguments: object) -> Outcome:
        line = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *map(str, arguments)]
        ended = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
        return Outcome(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a short run of a smaller model than the default."""
    short = (
        "model=mlp",
        "model.hidden_dim=32",
        "data.max_lines=2000",
        "trainer.max_steps=300",
        "val_every=100",
        "log_every=10",
        "checkpoint_every=100",
        "model.l2=0.01",
    )
    return trials.train(tmp_path_factory.mktemp("trained") / "cwd", *short)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Headless Chromium or Chrome; where there is none, its tests are skipped."""
    from browser.chromium import PATH, chromium

    if PATH is None:
        pytest.skip("there is no Chromium or Chrome on this machine")
    with chromium() as started:
        yield started
