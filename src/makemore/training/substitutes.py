"""Which callbacks of Lightning and which classes of torch.optim act in a run, and what to use in place of the others.

Lightning's loop sees blocks of steps; so a callback that counts its batches, changes weights or needs a hook within a
step would do something else than it documents. docs/lightning.md has the tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

import lightning as L
from lightning.pytorch import callbacks
from omegaconf import DictConfig

from makemore.errors import UserError


@dataclass(frozen=True)
class Part:
    """What becomes of a class that a config names, and of its subclasses: it acts, or something else does."""

    says: str
    acts: bool = False


_AVERAGE = "optimizer.ema_decay=0.999 keeps an average of the weights, by step"
_BAR = "a run has its own bar, of optimiser steps; trainer.enable_progress_bar=false takes it away"
_CHECKPOINT = "checkpoint_every is the steps between a run's own checkpoints, which have the best too"
_RATE = "log_every is the steps between rows of the log, which have lr"
_TIME = "metrics.json has the seconds in training, and trainer.profiler=simple says where they went"
_FREEZE = "there is no pre-trained backbone to freeze; all weights are trained, at optimizer.lr"

# of lightning.pytorch.callbacks
CALLBACKS = {
    "Callback": Part("your own, by the hooks below", acts=True),
    "EarlyStopping": Part("callbacks=early_stopping; counts validations", acts=True),
    "LambdaCallback": Part("by the hooks below", acts=True),
    "ModelSummary": Part("logs the layers and their parameters", acts=True),
    "RichModelSummary": Part("prints the layers and their parameters", acts=True),
    "BackboneFinetuning": Part(_FREEZE),
    "BaseFinetuning": Part(_FREEZE),
    "BasePredictionWriter": Part("a run predicts nothing; num_samples is how many items it samples"),
    "BatchSizeFinder": Part("data.batch_size is yours to choose: -m data.batch_size=32,128,512 compares"),
    "Checkpoint": Part(_CHECKPOINT),
    "DeviceStatsMonitor": Part(f"it counts blocks, not steps; {_TIME}"),
    "EMAWeightAveraging": Part(_AVERAGE),
    "GradientAccumulationScheduler": Part("data.batch_size is the examples of a step"),
    "LearningRateFinder": Part("scheduler=exponential_ramp is the learning-rate range test"),
    "LearningRateMonitor": Part(f"it counts blocks, not steps; {_RATE}"),
    "ModelCheckpoint": Part(_CHECKPOINT),
    "ModelPruning": Part("it replaces the weights that a run trains; model.hidden_dim is the size of a model"),
    "OnExceptionCheckpoint": Part("a run saves itself when it is stopped, and resume=RUN_DIR resumes it"),
    "ProgressBar": Part(_BAR),
    "RichProgressBar": Part(_BAR),
    "SpikeDetection": Part("optimizer.clip_norm shortens gradients that are too long"),
    "StochasticWeightAveraging": Part(_AVERAGE),
    "TQDMProgressBar": Part(_BAR),
    "ThroughputMonitor": Part(f"it counts blocks, not steps; {_TIME}"),
    "Timer": Part("trainer.max_steps is the length of a run; `timeout 600 makemore train ...` saves and stops"),
    "WeightAveraging": Part(_AVERAGE),
}

# of those that a run refuses, as it has its own
ACT_IN_A_SCRIPT = (callbacks.Checkpoint, callbacks.ProgressBar, callbacks.Timer, callbacks.BasePredictionWriter)

_ITS_RULE = Part("its own rule, a step at a time; the options are torch's", acts=True)

# of torch.optim
OPTIMIZERS = {
    **dict.fromkeys(("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adamax", "NAdam", "RAdam", "RMSprop"), _ITS_RULE),
    "Adam": Part("in functional form, and compiled", acts=True),
    "AdamW": Part("optimizer=adamw; in functional form, and compiled", acts=True),
    "SGD": Part("optimizer=sgd; in functional form, and compiled unless it has dampening", acts=True),
    "Rprop": Part("its own rule; lr is its first step size, so it has no use for a schedule", acts=True),
    "Optimizer": Part("the base of your own, whose step takes no closure", acts=True),
    "LBFGS": Part("it takes a closure, and several losses a step; use optimizer=adamw"),
    "Muon": Part("it takes matrices alone, and a network has vectors too; use optimizer=adamw"),
    "SparseAdam": Part("it takes sparse gradients, and there are none here; use optimizer=adamw"),
}

_STEP = Part("use scheduler=step with scheduler.milestones and scheduler.gamma")
_COSINE = Part("use scheduler=cosine with scheduler.warmup and scheduler.final")
_OWN = Part("use scheduler=constant, cosine, exponential_ramp or step, or a function of your own that returns one")

# of torch.optim.lr_scheduler
SCHEDULERS = {
    **dict.fromkeys(("ConstantLR", "ExponentialLR", "MultiStepLR", "MultiplicativeLR", "StepLR"), _STEP),
    **dict.fromkeys(
        ("CosineAnnealingLR", "CosineAnnealingWarmRestarts", "LinearLR", "OneCycleLR", "PolynomialLR"), _COSINE
    ),
    **dict.fromkeys(("ChainedScheduler", "LRScheduler", "LambdaLR", "SequentialLR"), _OWN),
    "CyclicLR": Part("use scheduler=cosine, or scheduler=exponential_ramp for the learning-rate range test"),
    "ReduceLROnPlateau": Part("use scheduler=cosine; callbacks=early_stopping ends a run whose validation NLL stays"),
}

_RUN = "once a run"
_BLOCK = "before and after each block of up to steps_per_execution steps"
_VALIDATION = "at each validation, val_every steps apart"
_CHECKPOINTS = "at each checkpoint"
_RESUME = "when a run is resumed"
_WITHIN = "never: a step is within a block"
_OTHER = "never: a run is training and validation"

# when the hooks of a callback are called
HOOKS = {
    **dict.fromkeys(("setup", "on_fit_start", "on_train_start", "on_train_end", "on_fit_end", "teardown"), _RUN),
    "on_exception": "when a run ends by an error or a signal",
    **dict.fromkeys(("on_train_batch_start", "on_train_batch_end"), _BLOCK),
    **dict.fromkeys(("on_train_epoch_start", "on_train_epoch_end"), _VALIDATION),
    **dict.fromkeys(("on_validation_start", "on_validation_end"), _VALIDATION),
    **dict.fromkeys(("on_validation_epoch_start", "on_validation_epoch_end"), _VALIDATION),
    **dict.fromkeys(("on_validation_batch_start", "on_validation_batch_end"), _VALIDATION),
    **dict.fromkeys(("state_dict", "on_save_checkpoint"), _CHECKPOINTS),
    **dict.fromkeys(("load_state_dict", "on_load_checkpoint"), _RESUME),
    **dict.fromkeys(("on_before_backward", "on_after_backward", "on_before_optimizer_step"), _WITHIN),
    "on_before_zero_grad": _WITHIN,
    **dict.fromkeys(("on_sanity_check_start", "on_sanity_check_end"), _OTHER),
    **{f"on_{stage}_{at}": _OTHER for stage in ("test", "predict") for at in ("start", "end")},
    **{f"on_{stage}_epoch_{at}": _OTHER for stage in ("test", "predict") for at in ("start", "end")},
    **{f"on_{stage}_batch_{at}": _OTHER for stage in ("test", "predict") for at in ("start", "end")},
}


def refuse(config: Any, key: str, parts: Mapping[str, Part]) -> None:
    """Raise `UserError` where a config names a class of `parts`, or a subclass, that does not act in a run."""
    target = config.get("_target_") if isinstance(config, DictConfig) else None
    try:
        found = resolve_name(str(target))
    except Exception:  # whatever a wrong name makes of an import; instantiating it says what is wrong
        return
    part = _part_of(found, parts)
    if part is not None and not part.acts:
        raise UserError(f"{key}._target_={target} does not act here: {part.says}")


def _part_of(found: Any, parts: Mapping[str, Part]) -> Part | None:
    """Return what becomes of a class: the entry of the first of its bases that has one."""
    for kind in getattr(found, "__mro__", ()):
        of_theirs = f"{kind.__module__}.".startswith(("lightning.pytorch.callbacks.", "torch.optim."))
        if of_theirs and kind.__name__ in parts:
            return parts[kind.__name__]
    return None


def check_hooks(name: str, callback: L.Callback) -> None:
    """Raise `UserError` for a callback that waits for a hook within a step, or for none that a run calls."""
    own = _hooks_of(callback)
    where, kind = f"callbacks.{name}", type(callback).__name__
    if within := [hook for hook in own if HOOKS[hook] == _WITHIN]:
        mend = "use on_train_batch_end with steps_per_execution=1, or a watcher, as in conf/watch/default.yaml"
        raise UserError(f"{where}: {kind} has {', '.join(within)}, never called here; {mend}")
    if all(HOOKS[hook] == _OTHER for hook in own):
        raise UserError(f"{where}: {kind} has no hook that a run calls; docs/lightning.md has those; take it out")


def _hooks_of(callback: L.Callback) -> list[str]:
    return [
        hook
        for hook in HOOKS
        if hook in vars(callback) or getattr(type(callback), hook) is not getattr(L.Callback, hook)
    ]


def check_callback(callback: L.Callback) -> None:
    """Raise `UserError` for a callback that does not act with a Trainer of one's own either."""
    kind = type(callback).__name__
    part = _part_of(type(callback), CALLBACKS)
    if part is not None and not (part.acts or isinstance(callback, ACT_IN_A_SCRIPT)):
        raise UserError(f"the callback {kind} does not act here: {part.says}")
    if within := [hook for hook in _hooks_of(callback) if HOOKS[hook] == _WITHIN]:
        mend = "use on_train_batch_end with steps_per_execution=1"
        raise UserError(f"the callback {kind} has {', '.join(within)}, never called here; {mend}")
