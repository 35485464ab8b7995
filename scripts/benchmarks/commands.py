"""Commands as they are measured: in new processes, from the moment they are started."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Measurement
from benchmarks.step_clock import Tick, clock_overrides, read_ticks

SCRIPTS = Path(__file__).resolve().parents[1]
TRAIN = str(SCRIPTS / "train.py")

# A process of its own starts the command, as Linux counts the memory of whoever starts a process as the process's.
_PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def python(arguments: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """Run Python with arguments in a new process and an empty directory, on one thread, and return what it printed.

    Args:
        arguments: of the interpreter.
        environment: variables beside those of this process.

    Raises:
        RuntimeError: the command failed.
    """
    # this package is not installed: `-m benchmarks.stock` finds it here
    path = os.pathsep.join(filter(None, (str(SCRIPTS), os.environ.get("PYTHONPATH"))))
    variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path} | (environment or {})
    with tempfile.TemporaryDirectory() as directory:
        line = [sys.executable, *arguments]
        ended = subprocess.run(line, cwd=directory, env=variables, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(line)} ended with {ended.returncode}: {ended.stderr.strip()[-2000:]}")
    return ended.stdout


def command(*arguments: str) -> Measurement:
    """Return a measurement: the seconds of a whole command."""

    def seconds() -> float:
        started = time.perf_counter()
        python(arguments)
        return time.perf_counter() - started

    return seconds


def ticks_of(overrides: Sequence[str], environment: dict[str, str] | None = None) -> tuple[float, list[Tick]]:
    """Run scripts/train.py, and return the time of day when it was started and that of each block of its steps."""
    with tempfile.TemporaryDirectory() as directory:
        ticks = Path(directory) / "ticks.json"
        started = time.time()
        python([TRAIN, *overrides, *clock_overrides(ticks)], environment)
        return started, read_ticks(ticks)


def first_step(*overrides: str) -> Measurement:
    """Return a measurement: the seconds from the start of scripts/train.py until its first step is done."""

    def seconds() -> float:
        started, (_, (_, done), *_) = ticks_of(["trainer.max_steps=1", *overrides])
        return done - started

    return seconds


def peak_memory(arguments: Sequence[str], environment: dict[str, str] | None = None) -> float:
    """Return the most memory that Python with arguments held at once (resident), in gigabytes (10^9 bytes)."""
    printed = python(["-c", _PEAK, sys.executable, *arguments], environment)
    unit = 1 if sys.platform == "darwin" else 1024
    return int(printed) * unit / 1e9
