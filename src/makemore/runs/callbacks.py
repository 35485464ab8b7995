"""Callbacks for the user: a progress bar, pictures at the end of a run, tables of counts."""

import csv
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from makemore.errors import DivergedError
from makemore.inference.trained_model import load
from makemore.models.network import Counted
from makemore.pictures.curves import Curves, read_curves
from makemore.pictures.gallery import bigram_picture, pictures_of_model, pictures_of_training, range_test_picture
from makemore.pictures.picture import Picture, save
from makemore.runs.log_media import log_pictures
from makemore.system.console import MESSAGES, visible
from makemore.training.language_model import LanguageModel
from makemore.training.loggers import MetricsCsv

log = logging.getLogger(__name__)


class ProgressBar(L.Callback):
    """A bar of optimiser steps where standard error is a terminal, and a logged line at each validation."""

    def __init__(self) -> None:
        # redrawn by a thread of its own, which takes time from training
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), "steps", TimeRemainingColumn())
        self.bar = Progress(*columns, console=MESSAGES, transient=True, refresh_per_second=2)
        self.nll = float("nan")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the bar."""
        self.bar.disable = not MESSAGES.is_terminal
        self.task = self.bar.add_task("training", total=trainer.max_steps, completed=trainer.global_step)
        self.bar.start()

    def on_train_batch_end(self, trainer: L.Trainer, _module: Any, outputs: Any, *_: Any) -> None:
        """Advance the bar by the steps of a block, which is empty where a validation was interrupted."""
        self.nll = outputs["nlls"][-1] if outputs["nlls"] else self.nll
        self.bar.update(self.task, completed=trainer.global_step, description=f"train NLL {self.nll:.4f}")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log step and NLLs after the validation that ends a Lightning epoch."""
        line = f"step {trainer.global_step:,} of {trainer.max_steps:,}: NLL before the last update {self.nll:.4f}"
        if (val := trainer.callback_metrics.get("val/nll")) is not None:
            line += f", validation NLL {float(val):.4f}"
        log.info(line)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Remove the bar."""
        self.bar.stop()

    on_exception = on_train_end


class LearningRateRangePlot(L.Callback):
    """Ends a learning-rate range test with its picture, `lr_range.png` and `.svg` (L2)."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.nlls: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, _module: Any, outputs: Any, *_: Any) -> None:
        """Remember the rate and the loss of every step."""
        self.rates += outputs["rates"]
        self.nlls += outputs["nlls"]

    def state_dict(self) -> dict[str, Any]:
        """Return the rate and the loss of every step."""
        return {name: torch.tensor(getattr(self, name), dtype=torch.float64) for name in ("rates", "nlls")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore those of the resumed run."""
        self.rates, self.nlls = (state_dict[name].tolist() for name in ("rates", "nlls"))

    def on_fit_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Draw the picture into the run's directory, for its loggers too."""
        _show(trainer, [range_test_picture(self.rates, self.nlls)], Path(trainer.default_root_dir))

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Draw it when the loss has diverged too, as it may at the end of a range test."""
        if isinstance(exception, DivergedError):
            self.on_fit_end(trainer)


class BigramMatrix(L.Callback):
    """Ends a run with the heat map of the bigrams that it was trained on, `bigrams.png` and `.svg` (L0, L3)."""

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Draw the heat map after all else is written."""
        picture = bigram_picture(trainer.datamodule.corpus, ["train"])  # type: ignore[attr-defined]
        _show(trainer, [picture], Path(trainer.default_root_dir))


class Pictures(L.Callback):
    """Ends a run with the pictures of its model and of its training, in `pictures/` (see docs/pictures.md)."""

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Draw the pictures after all else is written."""
        run_dir = Path(trainer.default_root_dir)
        curves: Curves = {}
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCsv):
                # its last row too
                logger.finalize("success")
                curves = read_curves(logger.path) if logger.path.exists() else {}
        of_model = pictures_of_model(load(run_dir), trainer.datamodule.corpus)  # type: ignore[attr-defined]
        _show(trainer, [*of_model, *pictures_of_training(curves)], run_dir / "pictures")


def _show(trainer: L.Trainer, pictures: Sequence[Picture], directory: Path) -> None:
    """Write pictures into a directory, and give them to the run's loggers."""
    paths = save(pictures, directory)
    log_pictures(trainer.loggers, pictures, directory, trainer.global_step)
    log.info("%s: %s", "picture" if len(pictures) == 1 else "pictures", paths[0] if len(pictures) == 1 else directory)


class CountTable(L.Callback):
    """Writes the counts of an n-gram to `counts.csv`, the most common first, and logs the first ten (L0, L3)."""

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the table."""
        assert isinstance(pl_module, LanguageModel)
        network = pl_module.network
        if not isinstance(network, Counted):
            return
        labels = pl_module.vocabulary.labels
        rows = [([labels[token] for token in tokens], count) for tokens, count in network.most_common()]
        places = len(rows[0][0]) if rows else 0
        path = Path(trainer.default_root_dir) / "counts.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*(f"token_{place}" for place in range(1, places + 1)), "count"])
            writer.writerows([*tokens, count] for tokens, count in rows)
        log.info("most common: %s", ", ".join(f"{visible(''.join(tokens))} {count}" for tokens, count in rows[:10]))
        log.info("all %s counts: %s", f"{len(rows):,}", path)
