"""Validate the composed config of a training run before anything is written."""

from pathlib import Path

import torch
from lightning.pytorch.callbacks import EarlyStopping
from omegaconf import DictConfig

from makemore.checkpoints import newest_first
from makemore.errors import UserError, first_line, one_of, real_number, whole_number
from makemore.runs.assemble import Parts, assemble
from makemore.runs.directory import check_writable
from makemore.training.optimizers import parameters_of


def check(cfg: DictConfig, run_dir: Path) -> None:
    """Raise the `UserError` that would stop a run from starting in `run_dir`, which need not exist yet."""
    if cfg.resume is None and newest_first(run_dir):
        mend = "choose another hydra.run.dir, or resume it by resume="
        raise UserError(f"{run_dir}: holds the checkpoints of a run already; {mend}")
    parts = assemble(cfg, run_dir)
    optimizers, _ = parts.model.configure_optimizers()
    _check_early_stopping(parts)
    check_writable(run_dir, sum(tensor.nbytes for tensor in parts.model.state_dict().values()))
    if parts.trainer().strategy.root_device.type == "cpu":
        # some optimisers refuse their options only in a step; this one has gradients of zero
        for optimizer in optimizers:
            for parameter in parameters_of(optimizer):
                parameter.grad = torch.zeros_like(parameter)
            try:
                optimizer.step()
            except (ValueError, TypeError, RuntimeError, AssertionError) as error:
                raise UserError(f"optimizer: {first_line(error)}") from error


def _check_early_stopping(parts: Parts) -> None:
    for callback in parts.callbacks:
        if not isinstance(callback, EarlyStopping):
            continue
        if not parts.data.corpus.size("val"):
            mend = "give data.splits a second ratio above 0"
            raise UserError(f"callbacks=early_stopping needs a validation split; {mend}")
        one_of("callbacks.early_stopping.monitor", callback.monitor, ("val/nll",))
        whole_number("callbacks.early_stopping.patience", callback.patience)
        for name in ("min_delta", "stopping_threshold", "divergence_threshold"):
            if (value := getattr(callback, name)) is not None:
                real_number(f"callbacks.early_stopping.{name}", value)
