"""Checks that nothing needs what Windows lacks: a run and a sweep without the names that only POSIX systems have."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WITHOUT = """
import importlib, os, pkgutil, runpy, signal, sys
# libraries ask for the system by its name, when they are imported
import filelock, hydra.main, lightning, matplotlib.pyplot, platformdirs, plotly.graph_objects, psutil, rich.live
import gradio, torch.utils.tensorboard
sigusr1 = signal.SIGUSR1
for name in ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGCHLD", "SIGCONT", "SIGPIPE"):
    delattr(signal, name)
for name in ("fork", "forkpty", "sched_getaffinity", "getuid", "geteuid", "killpg", "getpgid", "setsid", "uname"):
    delattr(os, name)
for name in ("resource", "fcntl", "termios", "pty", "grp", "pwd"):
    sys.modules[name] = None
import makemore
for module in pkgutil.walk_packages(makemore.__path__, "makemore."):
    # needs JAX
    if module.name != "makemore.training.aten":
        importlib.import_module(module.name)
# Lightning knows which system this is
signal.SIGUSR1 = sigusr1
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.full
def test_a_sweep_runs_without_the_names_that_windows_lacks(tmp_path: Path) -> None:
    short = ["model=bigram", "trainer.max_steps=3", "num_samples=1", "watch=none"]
    line = [sys.executable, "-c", WITHOUT, str(ROOT / "scripts" / "train.py"), "-m", "seed=0,1", *short]
    outcome = subprocess.run(
        [*line, "hydra/launcher=vectorized", "hydra.launcher.n_jobs=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert len(list(tmp_path.glob("logs/**/metrics.json"))) == 2
