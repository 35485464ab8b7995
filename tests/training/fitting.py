"""Fit a model as a run does, with nothing printed; for the tests of every wing that trains."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers.logger import Logger

from makemore.data.datamodule import TextDataModule
from makemore.runs.saving import AtomicCheckpointIO, Checkpoints


def fit(
    model: L.LightningModule,
    data: TextDataModule,
    max_steps: int,
    *callbacks: L.Callback,
    resume: Path | None = None,
    **options: Any,
) -> L.Trainer:
    """Fit a model and return the Trainer; with a `Checkpoints` among the callbacks, checkpoints go to `directory`."""
    trainer = trainer_of(data, max_steps, *callbacks, **options)
    trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    return trainer


def trainer_of(
    data: TextDataModule,
    max_steps: int,
    *callbacks: L.Callback,
    directory: Path | None = None,
    loggers: Sequence[Logger] = (),
    accelerator: str = "cpu",
) -> L.Trainer:
    """Return a Trainer as `fit` has it."""
    return L.Trainer(
        accelerator=accelerator,
        devices=1,
        max_steps=max_steps,
        max_epochs=-1,
        num_sanity_val_steps=0,
        # an empty split has nothing to validate, which Lightning would warn of
        limit_val_batches=1.0 if data.corpus.size("val") else 0.0,
        logger=list(loggers) or False,
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO()],
        default_root_dir=directory,
        enable_checkpointing=any(isinstance(callback, Checkpoints) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
