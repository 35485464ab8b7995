"""Which arguments of Lightning's Trainer act in a run, and what to use in place of the others.

A run is one device and blocks of optimiser steps, with signals, checkpoints and a progress bar of its own; with most
other values of these arguments the Trainer would do nothing, or something else than it documents. docs/lightning.md
has the table.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from makemore.errors import UserError


@dataclass(frozen=True)
class Argument:
    """What becomes of an argument of the Trainer.

    Args:
        accepts: the values that act as Lightning documents them; None for all that Lightning takes.
        says: what it does, or what to use in place of other values.
        acts: whether it changes anything; else `accepts` has what a run does anyway.
    """

    accepts: tuple[Any, ...] | None
    says: str
    acts: bool = False

    def takes(self, value: Any) -> bool:
        """Return whether a value acts; `1` is not `1.0` here, as it is not to Lightning."""
        return self.accepts is None or any(type(each) is type(value) and each == value for each in self.accepts)


_ONE_DEVICE = "one run is one device"
_MANY_RUNS = f"{_ONE_DEVICE}, and scale comes from many: hydra/launcher=joblib, ray or submitit_slurm"
_STEPS = "trainer.max_steps is the length of a run, in optimiser steps"
_WHOLE_SPLIT = "each validation is exact, on the whole split; val_every is the steps between two"

ARGUMENTS = {
    "accelerator": Argument(None, "the device: cpu, gpu, auto or another of Lightning's", acts=True),
    "strategy": Argument(("auto",), _MANY_RUNS),
    "devices": Argument((1,), f"{_MANY_RUNS}; the environment variable CUDA_VISIBLE_DEVICES chooses a GPU"),
    "num_nodes": Argument((1,), _MANY_RUNS),
    "precision": Argument(
        (None, 32, "32", "32-true", "bf16-mixed"),
        "bf16-mixed is torch.autocast of steps to bfloat16, whose loss needs no scaling; NLLs are exact, in float32",
        acts=True,
    ),
    "logger": Argument((None,), "loggers have names in the config: logger.NAME, as in conf/logger/default.yaml"),
    "callbacks": Argument((None,), "callbacks have names in the config: callbacks.NAME, as in conf/callbacks"),
    "fast_dev_run": Argument((False,), "trainer.max_steps=1 goes once through all of a run"),
    "max_epochs": Argument((None, -1), _STEPS),
    "min_epochs": Argument((None,), f"{_STEPS}; patience is how many validations it waits"),
    "max_steps": Argument(None, "the length of a run, in optimiser steps, at least 1", acts=True),
    "min_steps": Argument((None,), f"{_STEPS}; patience is how many validations it waits"),
    "max_time": Argument(
        (None,), f"{_STEPS}; the command `timeout 600 makemore train ...` saves after that many seconds"
    ),
    "limit_train_batches": Argument((None, 1.0), "data.max_lines shortens the text, trainer.max_steps the run"),
    "limit_val_batches": Argument((None, 1.0), _WHOLE_SPLIT),
    "limit_test_batches": Argument((None, 1.0), "the test split is evaluated as a whole; data.splits is its share"),
    "limit_predict_batches": Argument((None, 1.0), "a run predicts nothing; num_samples is how many items it samples"),
    "overfit_batches": Argument(
        (0, 0.0), "data.max_lines shortens the text, and data.batch_size=null takes all of it"
    ),
    "val_check_interval": Argument((None, 1.0), _WHOLE_SPLIT),
    "check_val_every_n_epoch": Argument((1,), _WHOLE_SPLIT),
    "num_sanity_val_steps": Argument((0,), _WHOLE_SPLIT),
    "log_every_n_steps": Argument((None,), "log_every is the steps between rows of the log"),
    "enable_checkpointing": Argument((None, True), "every run has checkpoints; checkpoint_every is the steps between"),
    "enable_progress_bar": Argument(
        (None, False, True), "false: no bar of steps on a terminal, and no line at each validation", acts=True
    ),
    "enable_model_summary": Argument((None, False, True), "true prints the layers and their parameters", acts=True),
    "accumulate_grad_batches": Argument((1,), "data.batch_size is the examples of a step"),
    "gradient_clip_val": Argument((None,), "optimizer.clip_norm is the greatest norm of all gradients together"),
    "gradient_clip_algorithm": Argument((None,), "optimizer.clip_norm clips by the norm of all gradients together"),
    "deterministic": Argument((None, False, True, "warn"), "torch.use_deterministic_algorithms", acts=True),
    "benchmark": Argument((None, False, True), "torch.backends.cudnn.benchmark, for GPUs", acts=True),
    "inference_mode": Argument(
        (True,), f"it is of Trainer.validate and test, which a run does not call; {_WHOLE_SPLIT}"
    ),
    "use_distributed_sampler": Argument((True,), f"{_ONE_DEVICE}; data.draw chooses how examples are drawn"),
    "profiler": Argument(
        (None, "simple", "advanced", "pytorch"),
        "written to RUN_DIR/fit-profile.txt; training_step is a block",
        acts=True,
    ),
    "detect_anomaly": Argument(
        (False, True), "torch.autograd.detect_anomaly: a gradient of NaN ends in a traceback; not compiled", acts=True
    ),
    "barebones": Argument(
        (False,), "steps_per_execution, the steps of a block, is what makes the Trainer's part small"
    ),
    "plugins": Argument((None,), "checkpoints and signals are a run's own; trainer.precision has bf16-mixed"),
    "sync_batchnorm": Argument((False,), f"{_ONE_DEVICE}; model.batch_norm is over all of its minibatch"),
    "reload_dataloaders_every_n_epochs": Argument((0,), "data.draw chooses the examples of each step anew"),
    "default_root_dir": Argument((None,), "hydra.run.dir is the directory of a run"),
    "enable_autolog_hparams": Argument((True,), "every run logs its config; logger.tensorboard=null leaves it out"),
    "model_registry": Argument((None,), "checkpoints stay in the directory of the run, hydra.run.dir"),
}


def check_arguments(trainer: DictConfig) -> None:
    """Raise `UserError` for an argument of the Trainer that would not act as Lightning documents it."""
    for name, value in ineffective(trainer).items():
        raise refusal(f"trainer.{name}", ARGUMENTS[name], value)


def refusal(key: str, argument: Argument, value: Any) -> UserError:
    """Return the error that refuses a value of an argument, under its key."""
    assert argument.accepts is not None
    return UserError(f"{key} must be {choices(argument.accepts)}, not {shown(value)}; {argument.says}")


def ineffective(trainer: DictConfig) -> dict[str, Any]:
    """Return the arguments of the Trainer whose values would not act."""
    values = OmegaConf.to_container(trainer, resolve=True)
    assert isinstance(values, dict)
    return {
        str(name): value for name, value in values.items() if name in ARGUMENTS and not ARGUMENTS[name].takes(value)
    }


def choices(values: Sequence[Any]) -> str:
    """Return values as a text lists them."""
    *others, last = dict.fromkeys(map(shown, values))
    return f"{', '.join(others)} or {last}" if others else last


def shown(value: Any) -> str:
    """Return a value as it is written in a config."""
    return json.dumps(value, default=str).strip('"')
