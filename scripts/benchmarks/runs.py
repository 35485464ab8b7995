"""Training runs measured in this process, as scripts/train.py does them.

The time is that of all of `makemore.runs.train.train`: building the model and the Trainer, `Trainer.fit`, the last
checkpoint, the final evaluation and the names. TensorBoard, metrics.csv and checkpoints are on; the progress bar and
the log are drawn on a terminal that discards them. Reading the text and composing the config come before and are not
measured, as the lessons' loops are given their X and Y.
"""

import io
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO, Any, cast
from unittest.mock import patch

import lightning as L
from hydra import compose
from omegaconf import DictConfig

from benchmarks.measure import Measurement, timed
from benchmarks.step_clock import after_first_block, clock_overrides, read_ticks
from makemore.runs.assemble import assemble
from makemore.runs.outcome import TrainingResult
from makemore.runs.train import train
from makemore.system.console import ConsoleHandler
from makemore.system.hydra_release import composing


class Screen(io.TextIOBase):
    """A terminal that discards its text."""

    def isatty(self) -> bool:
        """Return True, so that progress bars are drawn."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Discard the text."""
        return len(text)


@contextmanager
def unseen_terminal() -> Iterator[None]:
    """Redirect the progress bar and the log to a terminal that discards them."""
    screen, logger, handler = Screen(), logging.getLogger("makemore"), ConsoleHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with redirect_stdout(cast(IO[str], screen)), redirect_stderr(cast(IO[str], screen)):
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def composed(overrides: Sequence[str]) -> DictConfig:
    """Compose conf/train.yaml with overrides, as scripts/train.py does."""
    with composing():
        return compose("train", list(overrides))


def run(overrides: Sequence[str], run_dir: Path) -> TrainingResult:
    """Train as scripts/train.py does, without its output."""
    with unseen_terminal():
        return train(composed(overrides), run_dir)


def whole_run(overrides: Sequence[str], units: int = 1) -> Measurement:
    """Measure a whole run, in seconds divided by `units`, the amount of work that it does."""

    def seconds() -> float:
        cfg = composed(overrides)
        with tempfile.TemporaryDirectory() as directory, unseen_terminal():
            assemble(cfg, Path(directory))
            return timed(lambda: train(cfg, Path(directory)), units)()

    return seconds


def fit_alone(overrides: Sequence[str], units: int = 1) -> Measurement:
    """Measure `Trainer.fit` of a run, final evaluation included, in seconds divided by `units`."""
    fit, values = L.Trainer.fit, []

    def timed_fit(*arguments: Any, **named: Any) -> None:
        values.append(timed(lambda: fit(*arguments, **named), units)())

    def seconds() -> float:
        with patch.object(L.Trainer, "fit", timed_fit):
            whole_run(overrides)()
        return values[-1]

    return seconds


def later_steps(overrides: Sequence[str]) -> Measurement:
    """Measure a run from the end of its first block to its end, in seconds a step."""

    def seconds() -> float:
        with tempfile.TemporaryDirectory() as directory:
            ticks = Path(directory) / "ticks.json"
            run([*overrides, *clock_overrides(ticks)], Path(directory))
            return after_first_block(read_ticks(ticks), ended=time.time())

    return seconds


def unseen_work(work: Callable[[Path], object], units: int = 1) -> Measurement:
    """Measure `work`, called with an empty directory, in seconds divided by `units`; its output is discarded."""

    def seconds() -> float:
        with tempfile.TemporaryDirectory() as directory, unseen_terminal():
            return timed(lambda: work(Path(directory)), units)()

    return seconds
