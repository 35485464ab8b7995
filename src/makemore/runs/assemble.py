"""Assemble the parts of a training run from its composed config, and check them before anything is written.

The check before a run, the run itself and the vectorised launcher all begin with `assemble`, which writes nothing.
"""

import copy
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig, OmegaConf

from makemore.checkpoints import BEST, LAST, newest_first
from makemore.data.datamodule import TextDataModule
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError, first_line, one_of, real_number, true_or_false, whole_number
from makemore.overrides import set_threads
from makemore.runs.directory import check_writable
from makemore.runs.instantiating import instantiate
from makemore.runs.opening_loggers import LoggerMaker, makers_of
from makemore.runs.outcome import Outcome
from makemore.runs.planned_numbers import planned
from makemore.runs.saved_config import is_shipped
from makemore.runs.saving import AtomicCheckpointIO, Checkpoints
from makemore.runs.watching.watcher import SampledNames, Watchers
from makemore.training.devices import check_accelerator
from makemore.training.language_model import LanguageModel
from makemore.training.module import CountingLanguageModel
from makemore.training.optimizers import parameters_of
from makemore.training.substitutes import CALLBACKS, OPTIMIZERS, SCHEDULERS, Part, check_hooks, refuse
from makemore.training.trainer_arguments import check_arguments

# Lightning advises srun wherever it is installed; a run has one process (see `Parts.trainer`)
warnings.filterwarnings("ignore", "The `srun` command is available")
# Lightning sets itself to INFO on import and logs which devices are missing
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
# what those say that a user has asked for
logging.getLogger("lightning.pytorch.callbacks").setLevel(logging.INFO)


@dataclass(frozen=True)
class Parts:
    """The parts of a training run; nothing of it is written yet."""

    composed: DictConfig  # conf/train.yaml, composed
    cfg: DictConfig  # the same, with the numbers of steps that it leaves to the text
    run_dir: Path
    data: TextDataModule
    model: LanguageModel  # with initial weights
    groups: dict[str, Any]  # of the config, `watch` and `logger`, with references resolved
    watchers: Watchers
    callbacks: list[L.Callback]  # those of cfg.callbacks
    loggers: list[LoggerMaker]
    checkpoints: Checkpoints
    outcome: Outcome

    def trainer(self, callbacks: Sequence[L.Callback] = (), loggers: Sequence[Logger] = ()) -> L.Trainer:
        """Build a Trainer for this run with open loggers; raise `UserError` for a value out of range or no Trainer."""
        cfg = self.cfg.trainer
        max_steps = whole_number("trainer.max_steps", cfg.max_steps, at_least=1)
        trainer = instantiate(
            cfg,
            "trainer",
            max_steps=1 if isinstance(self.model, CountingLanguageModel) else max_steps,
            # one run is one device; scaling is by many runs
            devices=1,
            num_nodes=1,
            # an epoch is the steps up to the next validation, so their number is open
            max_epochs=-1,
            check_val_every_n_epoch=1,
            num_sanity_val_steps=0,
            limit_val_batches=None if self.data.corpus.size("val") else 0,
            callbacks=list(callbacks),
            logger=list(loggers),
            # signals and requeueing are ours (see makemore.system.signals), under SLURM too
            plugins=[AtomicCheckpointIO(), LightningEnvironment()],
            default_root_dir=str(self.run_dir),
            enable_progress_bar=False,
            # a run logs its config (see `Outcome`)
            enable_autolog_hparams=False,
            enable_model_summary=bool(cfg.get("enable_model_summary")),
        )
        if not isinstance(trainer, L.Trainer):
            raise UserError("trainer._target_ must be lightning.pytorch.Trainer; see conf/trainer/default.yaml")
        if cfg.get("profiler") is not None:
            # else it writes to Lightning's log, which is not shown
            profiler = trainer.profiler  # type: ignore[attr-defined]
            profiler.dirpath, profiler.filename = self.run_dir, "profile"
        return trainer


def check(cfg: DictConfig, run_dir: Path, is_compared: bool = False) -> list[str]:
    """Raise the `UserError` that would stop a run from starting in `run_dir`, which need not exist yet.

    One that `is_compared` with others at its validations needs a validation split.
    Returns what the user of a sweep should know of its text, see `Corpus.table_notes`; a run logs it.
    """
    if cfg.resume is None and newest_first(run_dir):
        mend = "choose another name= or hydra.run.dir=, or resume it by resume="
        raise UserError(f"{run_dir}: holds the checkpoints of a run already; {mend}")
    parts = assemble(cfg, run_dir)
    optimizers, _ = parts.model.configure_optimizers()
    _check_early_stopping(parts)
    if is_compared and not parts.data.corpus.size("val"):
        raise UserError("hydra.launcher.halving needs a validation split; give data.splits a second ratio above 0")
    check_writable(run_dir, sum(tensor.nbytes for tensor in parts.model.state_dict().values()))
    if parts.trainer(parts.callbacks).strategy.root_device.type == "cpu":
        # some optimisers refuse their options only in a step; this one has gradients of zero
        for optimizer in optimizers:
            for parameter in parameters_of(optimizer):
                parameter.grad = torch.zeros_like(parameter)
            try:
                optimizer.step()
            except (ValueError, TypeError, RuntimeError, AssertionError) as error:
                raise UserError(f"optimizer: {first_line(error)}") from error
    return parts.data.corpus.table_notes


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


def assemble(cfg: DictConfig, run_dir: Path, like: Parts | None = None) -> Parts:
    """Build and check the parts of a run, and set its number of threads; nothing is written.

    `cfg` is conf/train.yaml, composed; `like` another run on the same text, not trained in this process yet, whose
    data, watchers and loggers serve this one too where their configs are the same. A `UserError` says which value is
    out of range, which part has the wrong type, or why the text cannot be used.
    """
    set_threads(cfg.threads)
    check_arguments(cfg.trainer)
    check_accelerator(cfg.trainer.get("accelerator"))
    if cfg.trainer.get("detect_anomaly") and cfg.compile:
        raise UserError("trainer.detect_anomaly=true watches steps that are not compiled; use compile=false")
    composed, data = cfg, _data(cfg) if like is None else like.data
    corpus = data.corpus
    cfg = planned(composed, tokens=corpus.size("train"))
    data.val_every = whole_number("val_every", cfg.val_every, at_least=1)
    model = make_model(cfg, corpus.vocabulary)
    callbacks = _named(cfg.callbacks, "callbacks", CALLBACKS)
    for name, callback in callbacks.items():
        if not isinstance(callback, L.Callback):
            raise UserError("callbacks: each must be a callback of Lightning; see conf/callbacks/early_stopping.yaml")
        check_hooks(name, callback)
    # sampled at validations, while signals wait; sample.py makes more
    names = SampledNames(whole_number("num_samples", cfg.num_samples, at_most=1000), cfg.seed)
    # configs saved by earlier versions have neither `mixture` nor `watch`
    true_or_false("mixture", cfg.get("mixture", False))
    # now, as references may be to the run
    groups = {key: _resolved(cfg, key) for key in ("watch", "logger")}
    watchers = Watchers(_watchers(cfg, groups["watch"], like), names)
    loggers = _loggers(cfg, groups["logger"], like)
    # which earlier versions did not have
    result = one_of("result", cfg.get("result", LAST), (BEST, LAST))
    patience = cfg.get("patience")
    if patience is not None:
        whole_number("patience", patience, at_least=1)
    checkpoints = Checkpoints(cfg.checkpoint_every, result, patience)
    outcome = Outcome(cfg, checkpoints, names, run_dir)
    of_run = watchers, list(callbacks.values()), loggers, checkpoints, outcome
    return Parts(composed, cfg, run_dir, data, model, groups, *of_run)


def _resolved(cfg: DictConfig, key: str) -> Any:
    group = cfg.get(key)
    return OmegaConf.to_container(group, resolve=True) if OmegaConf.is_config(group) else group


def _watchers(cfg: DictConfig, group: Any, like: Parts | None) -> Sequence[Any]:
    """Return the watchers of a config; copies of another run's, had sooner, where these are equal and ours."""
    if like is not None and group == like.groups["watch"]:
        watchers = like.watchers.watchers
        # one of the user's own may hold what cannot be copied
        if all(is_shipped(type(watcher).__module__) for watcher in watchers):
            return copy.deepcopy(watchers)
    return list(_named(cfg.get("watch") or {}, "watch").values())


def _loggers(cfg: DictConfig, group: Any, like: Parts | None) -> list[LoggerMaker]:
    """Return the loggers of a config; those of another run where these are equal and ours, of plain arguments."""
    if like is not None and group == like.groups["logger"] and all(maker.is_own for maker in like.loggers):
        return like.loggers
    return makers_of(cfg.logger)


# keys of the optimizer group that are not the optimiser's own
_OF_THE_STEP = ("clip_norm", "decay_vectors", "ema_decay")


def _data(cfg: DictConfig) -> TextDataModule:
    shared = {key: cfg[key] for key in ("seed", "steps_per_execution", "checkpoint_every")}
    data = instantiate(cfg.data, "data", **shared)
    if not isinstance(data, TextDataModule):
        raise UserError("data._target_ must be makemore.data.datamodule.TextDataModule; see conf/data/base.yaml")
    data.prepare_data()
    return data


def make_model(cfg: DictConfig, vocabulary: Vocabulary) -> LanguageModel:
    """Build the language model of a config, with initial weights; raise `UserError` for a bad value."""
    make = instantiate(cfg.model, "model")
    arguments = {"vocabulary": vocabulary, "seed": cfg.seed, "log_every": cfg.log_every}
    target = getattr(make, "func", None)
    if not isinstance(target, type) or not issubclass(target, LanguageModel):
        raise UserError("model._target_ must be a language model of this project with _partial_: true; see conf/model")
    if not issubclass(target, CountingLanguageModel):
        real_number("optimizer.lr", cfg.optimizer.lr, at_least=0)
        refuse(cfg.scheduler, "scheduler", SCHEDULERS)
        refuse(cfg.optimizer, "optimizer", OPTIMIZERS)
        schedule = instantiate(cfg.scheduler, "scheduler")
        try:
            real_number("the factor of scheduler at step 0", schedule(0))
        except TypeError as error:
            raise UserError("scheduler._target_ must make a function of the step; see conf/scheduler") from error
        # values, as they may refer to keys elsewhere
        given = {str(key): value for key, value in cfg.optimizer.items()}
        own = {key: value for key, value in given.items() if key in _OF_THE_STEP}
        others = {key: value for key, value in given.items() if key not in own}
        optimizer = instantiate(OmegaConf.create(others), "optimizer")
        arguments |= {"optimizer": optimizer, "schedule": schedule, "compile": cfg.compile, **own}
    try:
        model: LanguageModel = make(**arguments)
        return model
    except UserError as error:
        if " takes no " not in str(error):
            raise
        # as where an experiment sets keys of a model that another has replaced
        raise UserError(f"{error}; a key is taken out by ~model.KEY") from error
    except (TypeError, RuntimeError, MemoryError, OverflowError) as error:
        raise UserError(f"model: {first_line(error)}") from error


def _named(config: Any, key: str, known: Mapping[str, Part] | None = None) -> dict[str, Any]:
    """Instantiate a group of named objects, none of those `known` not to act; `null` under a name switches it off."""
    if known and isinstance(config, DictConfig):
        for name in config:
            refuse(config[name], f"{key}.{name!s}", known)
    group = instantiate(config, key)
    if not isinstance(group, dict):
        raise UserError(f"{key} must be things by name, not {group!r}; see conf/{key}/default.yaml")
    return {name: made for name, made in group.items() if made is not None}
