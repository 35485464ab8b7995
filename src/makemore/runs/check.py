"""What is wrong with a training run, found before anything of it is written."""

import inspect
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from omegaconf import DictConfig

from makemore.checkpoints import newest_first
from makemore.data.datamodule import TextDataModule
from makemore.errors import UserError, first_line, one_of, real_number, whole_number
from makemore.overrides import set_threads
from makemore.runs import resuming
from makemore.runs.assemble import build, build_trainer, build_watching, named
from makemore.runs.directory import check_writable
from makemore.training.module import CountingLanguageModel
from makemore.training.optimizers import parameters_of


def check(cfg: DictConfig, run_dir: Path) -> None:
    """Find what is wrong with a composed config before anything is written.

    Args:
        cfg: conf/train.yaml, composed.
        run_dir: where the run's files are to go.

    Raises:
        UserError: whatever would stop the run from starting.
    """
    if cfg.resume is None and newest_first(run_dir):
        raise UserError(
            f"{run_dir}: holds the checkpoints of a run already; choose another hydra.run.dir, or go on with resume="
        )
    set_threads(cfg.threads)
    datamodule, model = build(cfg)
    if cfg.resume is not None:
        resuming.check(run_dir, model, datamodule.corpus, cfg.trainer.max_steps)
    optimizers, _ = model.configure_optimizers()
    callbacks = named(cfg.callbacks, "callbacks")
    if not all(isinstance(callback, Callback) for callback in callbacks):
        raise UserError("callbacks: each must be a callback of Lightning; see conf/callbacks/early_stopping.yaml")
    build_watching(cfg)
    for make in named(cfg.logger, "logger"):
        try:
            inspect.signature(make).bind(save_dir=str(run_dir))
        except (TypeError, ValueError) as error:
            raise UserError(
                f"logger: {error}; each must have _partial_: true, and takes save_dir; see conf/logger/default.yaml"
            ) from error
    for callback in callbacks:
        if isinstance(callback, EarlyStopping):
            _check_early_stopping(callback, datamodule)
    # at each validation, while a signal waits; sample.py makes more
    whole_number("num_samples", cfg.num_samples, at_most=1000)
    check_writable(run_dir, sum(tensor.nbytes for tensor in model.state_dict().values()))
    trainer = build_trainer(
        cfg, isinstance(model, CountingLanguageModel), datamodule, run_dir, callbacks=[], loggers=[]
    )
    if trainer.strategy.root_device.type == "cpu":
        for optimizer in optimizers:
            _try_step(optimizer)


def _try_step(optimizer: torch.optim.Optimizer) -> None:
    """Take a step without a gradient, in which an optimiser finds wrong what its constructor takes."""
    for parameter in parameters_of(optimizer):
        parameter.grad = torch.zeros_like(parameter)
    try:
        optimizer.step()
    except (ValueError, TypeError, RuntimeError, AssertionError) as error:
        raise UserError(f"optimizer: {first_line(error)}") from error


def _check_early_stopping(callback: EarlyStopping, datamodule: TextDataModule) -> None:
    if not datamodule.corpus.size("val"):
        raise UserError("callbacks=early_stopping needs a validation split; give data.splits a second ratio above 0")
    one_of("callbacks.early_stopping.monitor", callback.monitor, ("val/nll",))
    whole_number("callbacks.early_stopping.patience", callback.patience)
    for name in ("min_delta", "stopping_threshold", "divergence_threshold"):
        if (value := getattr(callback, name)) is not None:
            real_number(f"callbacks.early_stopping.{name}", value)
