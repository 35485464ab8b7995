"""What one sees of training beside what TensorBoard watches: progress, pictures at the end, tables of counts."""

import csv
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from makemore.console import MESSAGES
from makemore.data.batches import Block
from makemore.data.corpus import Corpus
from makemore.errors import DivergedError
from makemore.inference.diagnosis import diagnose
from makemore.inference.trained_model import load
from makemore.models.ngram import NGram
from makemore.pictures.curves import Curves, read_curves
from makemore.pictures.gallery import bigram_picture, pictures_of_model, pictures_of_training, range_test_picture
from makemore.pictures.picture import Picture, add_to_tensorboard, save
from makemore.training.loggers import MetricsCsv, tensorboards
from makemore.training.module import LanguageModel, StepOutputs

log = logging.getLogger(__name__)


class ProgressBar(Callback):
    """A bar of optimiser steps where standard error is a terminal, and a logged line at each validation."""

    def __init__(self) -> None:
        # drawn by its own thread, in time that training would have
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
            console=MESSAGES,
            transient=True,
            refresh_per_second=2,
        )
        self.nll = float("nan")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the bar."""
        self.bar.disable = not MESSAGES.is_terminal
        self.task = self.bar.add_task("training", total=trainer.max_steps, completed=trainer.global_step)
        self.bar.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Block, batch_idx: int
    ) -> None:
        """Move the bar on by the steps of a block, which has none where a validation was interrupted."""
        self.nll = outputs["nlls"][-1] if outputs["nlls"] else self.nll
        self.bar.update(self.task, completed=trainer.global_step, description=f"train NLL {self.nll:.4f}")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log where training is, after the validation that ends a Lightning epoch."""
        line = f"step {trainer.global_step:,} of {trainer.max_steps:,}: NLL before the last update {self.nll:.4f}"
        if (val := trainer.callback_metrics.get("val/nll")) is not None:
            line += f", validation NLL {float(val):.4f}"
        log.info(line)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the bar away."""
        self.bar.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Take the bar away."""
        self.bar.stop()


class LearningRateRangePlot(Callback):
    """Ends a learning-rate range test with its picture, `lr_range.png` and `.svg` (L2)."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.nlls: list[float] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Block, batch_idx: int
    ) -> None:
        """Remember the rate and the loss of every step."""
        steps: StepOutputs = outputs
        self.rates += steps["rates"]
        self.nlls += steps["nlls"]

    def state_dict(self) -> dict[str, Any]:
        """Return the steps up to now."""
        return {name: torch.tensor(getattr(self, name), dtype=torch.float64) for name in ("rates", "nlls")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the steps of the run that is resumed."""
        self.rates, self.nlls = (state_dict[name].tolist() for name in ("rates", "nlls"))

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the picture into the run's directory and TensorBoard."""
        self._draw(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Draw what there is when the loss has exploded beyond numbers, which is the end of a range test too."""
        if isinstance(exception, DivergedError):
            self._draw(trainer)

    def _draw(self, trainer: L.Trainer) -> None:
        _show(trainer, [range_test_picture(self.rates, self.nlls)], Path(trainer.default_root_dir))


class BigramMatrix(Callback):
    """Ends a run with the heat map of the bigrams that it was trained on, `bigrams.png` and `.svg` (L0, L3)."""

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Draw it, when all else is written."""
        run_dir = Path(trainer.default_root_dir)
        model = load(run_dir)
        found = diagnose(model.network, _corpus(trainer), "train")
        _show(trainer, [bigram_picture(found, model.vocabulary)], run_dir)


class Pictures(Callback):
    """Ends a run with the pictures of its model and of its training, in `pictures/` (see docs/pictures.md)."""

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Draw them, when all else is written."""
        run_dir = Path(trainer.default_root_dir)
        curves: Curves = {}
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCsv):
                # its last row too
                logger.finalize("success")
                curves = read_curves(logger.path) if logger.path.exists() else {}
        pictures = [*pictures_of_model(load(run_dir), _corpus(trainer)), *pictures_of_training(curves)]
        _show(trainer, pictures, run_dir / "pictures")


def _corpus(trainer: L.Trainer) -> Corpus:
    corpus: Corpus = trainer.datamodule.corpus  # type: ignore[attr-defined]
    return corpus


def _show(trainer: L.Trainer, pictures: Sequence[Picture], directory: Path) -> None:
    """Write pictures into a directory and into the run's TensorBoard."""
    paths = save(pictures, directory)
    for writer in tensorboards(trainer.loggers):
        add_to_tensorboard(writer, pictures, trainer.global_step)
    log.info("%s: %s", "picture" if len(pictures) == 1 else "pictures", paths[0] if len(pictures) == 1 else directory)


class CountTable(Callback):
    """Writes what an n-gram counted to `counts.csv`, the most common first, and logs the first ten (L0, L3)."""

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the table."""
        assert isinstance(pl_module, LanguageModel)
        network = pl_module.network
        if not isinstance(network, NGram):
            return
        labels = pl_module.vocabulary.labels
        rows = [([labels[token] for token in tokens], count) for tokens, count in network.most_common()]
        path = Path(trainer.default_root_dir) / "counts.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*(f"token_{place}" for place in range(1, network.order + 1)), "count"])
            writer.writerows([*tokens, count] for tokens, count in rows)
        log.info("most common: %s", ", ".join(f"{''.join(tokens)} {count}" for tokens, count in rows[:10]))
        log.info("all %s counts: %s", f"{len(rows):,}", path)
