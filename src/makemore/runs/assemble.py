"""The parts of a training run, built from its composed config: data, model, Trainer, and what has a name."""

import logging
import warnings
from pathlib import Path
from typing import Any

import hydra
import lightning as L
from hydra.errors import InstantiationException
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig

from makemore.data.datamodule import TextDataModule
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError, first_line, real_number, whole_number
from makemore.runs.saving import AtomicCheckpointIO
from makemore.runs.watching.watcher import DrawnNames, Watching
from makemore.training.module import LanguageModel

_PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
# Lightning calls what torch has deprecated
warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning)
# Lightning advises srun wherever it is installed; a run has one process (see `build_trainer`)
warnings.filterwarnings("ignore", "The `srun` command is available")
# Lightning sets itself to INFO on import and says which devices there are not
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


def build(cfg: DictConfig) -> tuple[TextDataModule, LanguageModel]:
    """Build the data and the model of a composed config.

    Raises:
        UserError: a value out of range, or a text that cannot be used.
    """
    datamodule = build_data(cfg)
    return datamodule, build_model(cfg, datamodule.corpus.vocabulary)


def build_data(cfg: DictConfig) -> TextDataModule:
    """Build the data of a composed config.

    Raises:
        UserError: a value out of range, or a known text that is not found.
    """
    datamodule = instantiate(
        cfg.data,
        "data",
        seed=whole_number("seed", cfg.seed),
        steps_per_execution=cfg.steps_per_execution,
        val_every=cfg.val_every,
        checkpoint_every=cfg.checkpoint_every,
    )
    if not isinstance(datamodule, TextDataModule):
        raise UserError("data._target_ must be makemore.data.datamodule.TextDataModule; see conf/data/base.yaml")
    datamodule.prepare_data()
    return datamodule


def build_model(cfg: DictConfig, vocabulary: Vocabulary) -> LanguageModel:
    """Build the model of a composed config, with new weights.

    Raises:
        UserError: a value out of range.
    """
    make_model = instantiate(cfg.model, "model")
    arguments = {"vocabulary": vocabulary, "seed": whole_number("seed", cfg.seed), "log_every": cfg.log_every}
    kind = getattr(make_model, "func", None)
    if not isinstance(kind, type) or not issubclass(kind, LanguageModel):
        raise UserError("model._target_ must be a language model of this project with _partial_: true; see conf/model")
    if not kind.counts:
        real_number("optimizer.lr", cfg.optimizer.lr, at_least=0)
        schedule = instantiate(cfg.scheduler, "scheduler")
        if not callable(schedule):
            raise UserError("scheduler._target_ must make a function of the step; see conf/scheduler")
        optimizer = instantiate(cfg.optimizer, "optimizer")
        arguments |= {"optimizer": optimizer, "schedule": schedule, "compile": cfg.compile}
    try:
        model: LanguageModel = make_model(**arguments)
        return model
    except (TypeError, RuntimeError, MemoryError, OverflowError) as error:
        raise UserError(f"model: {first_line(error)}") from error


def build_trainer(
    cfg: DictConfig,
    counts: bool,
    datamodule: TextDataModule,
    run_dir: Path,
    callbacks: list[Callback],
    loggers: list[Logger],
) -> L.Trainer:
    """Build the Trainer of a run, of a model that `counts` in one step or learns by gradient descent.

    Raises:
        UserError: a value out of range, or no Trainer at all.
    """
    max_steps = whole_number("trainer.max_steps", cfg.trainer.max_steps, at_least=1)
    for key in ("fast_dev_run", "max_time"):
        if cfg.trainer.get(key):
            raise UserError(f"trainer.{key}: a run ends after trainer.max_steps, or by early stopping; take it out")
    trainer = instantiate(
        cfg.trainer,
        "trainer",
        max_steps=1 if counts else max_steps,
        # one run is one device; many runs are how one scales
        devices=1,
        num_nodes=1,
        # an epoch is the steps up to the next validation, so there is no telling how many
        max_epochs=-1,
        check_val_every_n_epoch=1,
        num_sanity_val_steps=0,
        limit_val_batches=None if datamodule.corpus.size("val") else 0,
        callbacks=callbacks,
        logger=loggers,
        # signals and requeueing are ours (see makemore.signals), under SLURM too
        plugins=[AtomicCheckpointIO(), LightningEnvironment()],
        default_root_dir=str(run_dir),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if not isinstance(trainer, L.Trainer):
        raise UserError("trainer._target_ must be lightning.pytorch.Trainer; see conf/trainer/default.yaml")
    # converting the inputs, as others do, is refused by Lightning for what a block is
    if trainer.precision not in _PRECISIONS:
        raise UserError(f"trainer.precision must be 32-true, 16-mixed or bf16-mixed, not {trainer.precision}")
    return trainer


def build_watching(cfg: DictConfig) -> Watching:
    """Build what looks at a run while it trains; runs that began before there was such a thing have none.

    Raises:
        UserError: something else than watchers.
    """
    return Watching(named(cfg.get("watch") or {}, "watch"), DrawnNames(cfg.num_samples, cfg.seed))


def named(config: Any, key: str) -> list[Any]:
    """Instantiate a group of named things; `null` under a name switches it off."""
    group = instantiate(config, key)
    if not isinstance(group, dict):
        raise UserError(f"{key} must be things by name, not {group!r}; see conf/{key}/default.yaml")
    return [made for made in group.values() if made is not None]


def instantiate(config: Any, key: str, **arguments: Any) -> Any:
    """Instantiate a config group; what its target finds wrong becomes a `UserError`."""
    try:
        return hydra.utils.instantiate(config, **arguments, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        raise UserError(f"{key}: {first_line(cause)}") from error
    except TypeError as error:  # a `_partial_` or `_recursive_` that is neither true nor false
        raise UserError(f"{key}: {first_line(error)}") from error
