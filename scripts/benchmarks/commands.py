"""Commands measured in new processes, from their start."""

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

# A small process starts the command: on Linux a child's peak memory includes that of the process it forked from.
_PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def python(arguments: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """Run Python in a new process on one thread, in an empty directory, and return its standard output.

    Args:
        arguments: the interpreter's.
        environment: variables added to those of this process.

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
    """Measure a whole command, in seconds."""

    def seconds() -> float:
        started = time.perf_counter()
        python(arguments)
        return time.perf_counter() - started

    return seconds


def ticks_of(overrides: Sequence[str], environment: dict[str, str] | None = None) -> tuple[float, list[Tick]]:
    """Run scripts/train.py and return its start time (seconds since the epoch) and the ticks of its `StepClock`."""
    with tempfile.TemporaryDirectory() as directory:
        ticks = Path(directory) / "ticks.json"
        started = time.time()
        python([TRAIN, *overrides, *clock_overrides(ticks)], environment)
        return started, read_ticks(ticks)


def first_step(*overrides: str) -> Measurement:
    """Measure scripts/train.py from its start to the end of its first step, in seconds."""

    def seconds() -> float:
        started, (_, (_, done), *_) = ticks_of(["trainer.max_steps=1", *overrides])
        return done - started

    return seconds


def peak_memory(arguments: Sequence[str], environment: dict[str, str] | None = None) -> float:
    """Run Python and return its peak resident memory, in gigabytes (10^9 bytes)."""
    printed = python(["-c", _PEAK, sys.executable, *arguments], environment)
    unit = 1 if sys.platform == "darwin" else 1024
    return int(printed) * unit / 1e9
