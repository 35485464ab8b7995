"""A callback that records when each block of training steps ends, to measure a run from outside.

`python scripts/train.py +callbacks.clock._target_=benchmarks.step_clock.StepClock +callbacks.clock.path=FILE`
"""

import json
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

# a number of optimiser steps, and the time when they were done, in seconds since the epoch
Tick = tuple[int, float]


class StepClock(Callback):
    """Record the time at the start of fitting (step 0) and after each block, and write all when training ends.

    Args:
        path: the JSON file to write, a list of [step, seconds since the epoch].
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.ticks: list[Tick] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Record the start."""
        self.ticks.append((0, time.time()))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the end of a block."""
        self.ticks.append((trainer.global_step, time.time()))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the times, only now so that writing is not measured."""
        self.path.write_text(json.dumps(self.ticks))


def clock_overrides(path: Path) -> list[str]:
    """Return the overrides that add a `StepClock` to a run."""
    return [f"+callbacks.clock._target_={__name__}.StepClock", f"+callbacks.clock.path='{path}'"]


def read_ticks(path: Path) -> list[Tick]:
    """Read the file of a `StepClock`."""
    return [(step, seconds) for step, seconds in json.loads(path.read_text())]


def after_first_block(ticks: list[Tick], ended: float) -> float:
    """Return the seconds a step from the end of the first block to `ended`, the time when the run ended."""
    (_, _), (first_step, first_time), *_, (last_step, _) = ticks
    return (ended - first_time) / (last_step - first_step)


def first_block(ticks: list[Tick]) -> float:
    """Return the seconds from the start of fitting to the end of the first block."""
    (_, started), (_, done), *_ = ticks
    return done - started
