"""A callback that notes when each block of training steps was done, for whoever looks from outside the run.

`python scripts/train.py +callbacks.clock._target_=benchmarks.step_clock.StepClock +callbacks.clock.path=FILE`
"""

import json
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

# an optimiser step, and the time of day in seconds when so many steps had been taken
Tick = tuple[int, float]


class StepClock(Callback):
    """Writes the time at the start of fitting (step 0) and after each block of steps, when training ends.

    Args:
        path: of the JSON file, a list of [step, time of day in seconds].
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.ticks: list[Tick] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the start."""
        self.ticks.append((0, time.time()))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note that a block is done."""
        self.ticks.append((trainer.global_step, time.time()))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the times, which would cost something in between."""
        self.path.write_text(json.dumps(self.ticks))


def clock_overrides(path: Path) -> list[str]:
    """Return the overrides that add the callback to a run."""
    return [f"+callbacks.clock._target_={__name__}.StepClock", f"+callbacks.clock.path='{path}'"]


def read_ticks(path: Path) -> list[Tick]:
    """Return what a `StepClock` wrote."""
    return [(step, seconds) for step, seconds in json.loads(path.read_text())]


def after_first_block(ticks: list[Tick], ended: float) -> float:
    """Return the seconds a step from the end of the first block to the time of day when the whole run had ended."""
    (_, _), (first_step, first_time), *_, (last_step, _) = ticks
    return (ended - first_time) / (last_step - first_step)


def first_block(ticks: list[Tick]) -> float:
    """Return the seconds from the start of fitting to the end of the first block."""
    (_, started), (_, done), *_ = ticks
    return done - started
