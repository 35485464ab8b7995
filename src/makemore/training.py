"""A training run: builds its parts from a composed config, checks them, and trains."""

import inspect
import logging
import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import hydra
import lightning as L
import torch
from hydra.errors import InstantiationException
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig

from makemore import resuming, signals
from makemore.callbacks import ProgressBar, SampledNames
from makemore.checkpoint_file import checkpoints_of, find_newest
from makemore.checkpointing import AtomicCheckpointIO, Checkpoints
from makemore.command import set_threads
from makemore.data.datamodule import TextDataModule
from makemore.errors import DivergedError, UserError, one_of, real_number, whole_number
from makemore.language_model import LanguageModel
from makemore.loggers import rewind
from makemore.outcome import Outcome, TrainingResult

log = logging.getLogger(__name__)
_PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
# Lightning calls what torch has deprecated
warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning)
# Lightning sets itself to INFO on import and says which devices there are not
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


def build(cfg: DictConfig) -> tuple[TextDataModule, LanguageModel]:
    """Build the data and the model of a composed config.

    Raises:
        UserError: a value out of range, or a text that cannot be used.
    """
    seed = whole_number("seed", cfg.seed)
    datamodule = _instantiate(
        cfg.data,
        "data",
        seed=seed,
        steps_per_execution=cfg.steps_per_execution,
        val_every=cfg.val_every,
        checkpoint_every=cfg.checkpoint_every,
    )
    if not isinstance(datamodule, TextDataModule):
        raise UserError("data._target_ must be makemore.data.datamodule.TextDataModule; see conf/data/base.yaml")
    datamodule.prepare_data()
    make_model = _instantiate(cfg.model, "model")
    arguments = {"vocabulary": datamodule.corpus.vocabulary, "seed": seed, "log_every": cfg.log_every}
    kind = getattr(make_model, "func", None)
    if not isinstance(kind, type) or not issubclass(kind, LanguageModel):
        raise UserError("model._target_ must be a language model of this project with _partial_: true; see conf/model")
    if not kind.counts:
        real_number("optimizer.lr", cfg.optimizer.lr, at_least=0)
        schedule = _instantiate(cfg.scheduler, "scheduler")
        if not callable(schedule):
            raise UserError("scheduler._target_ must make a function of the step; see conf/scheduler")
        optimizer = _instantiate(cfg.optimizer, "optimizer")
        arguments |= {"optimizer": optimizer, "schedule": schedule, "compile": cfg.compile}
    try:
        return datamodule, make_model(**arguments)
    except (TypeError, RuntimeError, MemoryError, OverflowError) as error:
        raise UserError(f"model: {_first_line(error)}") from error


def check(cfg: DictConfig, run_dir: Path) -> None:
    """Find what is wrong with a composed config before anything is written.

    Args:
        cfg: conf/train.yaml, composed.
        run_dir: where the run's files are to go.

    Raises:
        UserError: whatever would stop the run from starting.
    """
    if cfg.resume is None and (checkpoints_of(run_dir) or checkpoints_of(run_dir, best=True)):
        raise UserError(
            f"{run_dir}: holds the checkpoints of a run already; choose another hydra.run.dir, or go on with resume="
        )
    set_threads(cfg.threads)
    datamodule, model = build(cfg)
    if cfg.resume is not None:
        resuming.check(run_dir, model, datamodule.corpus, cfg.trainer.max_steps)
    model.configure_optimizers()
    if cfg.trainer.get("accelerator") == "cpu" and not model.counts:
        _try_step(model)
    callbacks = _named(cfg.callbacks, "callbacks")
    if not all(isinstance(callback, Callback) for callback in callbacks):
        raise UserError("callbacks: each must be a callback of Lightning; see conf/callbacks/early_stopping.yaml")
    for make in _named(cfg.logger, "logger"):
        try:
            inspect.signature(make).bind(save_dir=str(run_dir))
        except (TypeError, ValueError) as error:
            raise UserError(
                f"logger: {error}; each must have _partial_: true, and takes save_dir; see conf/logger/default.yaml"
            ) from error
    for callback in callbacks:
        if isinstance(callback, EarlyStopping):
            _check_early_stopping(callback, datamodule)
    whole_number("num_samples", cfg.num_samples)
    _probe(run_dir, sum(tensor.nbytes for tensor in model.state_dict().values()))
    _trainer(cfg, model, datamodule, run_dir, callbacks=[], loggers=[])


def _try_step(model: LanguageModel) -> None:
    """Take a step without a gradient, in which an optimiser finds wrong what its constructor takes."""
    configured: Any = model.configure_optimizers()
    (optimizer,), _ = configured
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    try:
        optimizer.step()
    except (ValueError, TypeError, RuntimeError, AssertionError) as error:
        raise UserError(f"optimizer: {_first_line(error)}") from error


def _check_early_stopping(callback: EarlyStopping, datamodule: TextDataModule) -> None:
    if not datamodule.corpus.size("val"):
        raise UserError("callbacks=early_stopping needs a validation split; give data.splits a second ratio above 0")
    one_of("callbacks.early_stopping.monitor", callback.monitor, ("val/nll",))
    whole_number("callbacks.early_stopping.patience", callback.patience)
    for name in ("min_delta", "stopping_threshold", "divergence_threshold"):
        if (value := getattr(callback, name)) is not None:
            real_number(f"callbacks.early_stopping.{name}", value)


def train(cfg: DictConfig, run_dir: Path) -> TrainingResult:
    """Train as a composed config says, and write the files of the run.

    Args:
        cfg: conf/train.yaml, composed; with `resume`, the run in `run_dir` goes on.
        run_dir: where the run's files go; it exists.

    Raises:
        UserError: a bad value or text, a loss that is no longer finite, or files that cannot be written.
        Stopped: a signal; what has been learnt is saved.
    """
    if cfg.resume is not None and Path(cfg.resume).resolve() != run_dir.resolve():
        raise UserError(f"resume={cfg.resume} goes on with one run, in its directory; take out -m")
    with signals.handling(), resuming.sole_writer(run_dir):
        try:
            return _train(cfg, run_dir)
        except signals.Stopped as stopped:
            log.warning("stopped by %s; %s", stopped, _last_good(run_dir))
            log.warning("  python scripts/train.py resume=%s # goes on", run_dir)
            if stopped.signum == signals.REQUEUE:
                signals.requeue()
            raise
        except DivergedError as error:
            raise UserError(f"{error}; {_last_good(run_dir)}") from error
        except OSError as error:
            what = f"{error.filename or run_dir}: cannot be written: {error.strerror}"
            raise UserError(f"{what}; make room and go on with resume={run_dir}; {_last_good(run_dir)}") from error


def _last_good(run_dir: Path) -> str:
    newest = find_newest(run_dir)
    return "there is no checkpoint yet" if newest is None else f"the last good checkpoint is {newest}"


def _train(cfg: DictConfig, run_dir: Path) -> TrainingResult:
    set_threads(cfg.threads)
    datamodule, model = build(cfg)
    for line in datamodule.corpus.report():
        log.info(line)
    if model.block_size > (longest := int(datamodule.corpus.lengths.max()) - 1):
        lower = f"model.order to {longest + 1}" if model.counts else f"model.block_size to {longest}"
        log.warning(
            "contexts of %d characters are longer than the longest line, of %d; lower %s",
            model.block_size,
            longest,
            lower,
        )
    checkpoints = Checkpoints(every=cfg.checkpoint_every)
    outcome = Outcome(cfg, checkpoints, run_dir)
    loggers = [make(save_dir=str(run_dir)) for make in _named(cfg.logger, "logger")]
    callbacks = [
        ProgressBar(),
        SampledNames(cfg.num_samples, model.seed),
        *_named(cfg.callbacks, "callbacks"),
        outcome,
        checkpoints,
    ]
    checkpoint = None
    if cfg.resume is not None:
        resuming.check(run_dir, model, datamodule.corpus, cfg.trainer.max_steps)
        checkpoint = resuming.checkpoint_to_resume(run_dir)
        resuming.keep_max_steps(run_dir, cfg.trainer.max_steps)
        rewind(loggers, resuming.logs_of(checkpoint))
    trainer = _trainer(cfg, model, datamodule, run_dir, callbacks, loggers)
    try:
        trainer.fit(model, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    except MisconfigurationException as error:
        raise UserError(f"trainer: {_first_line(error)}") from error
    assert outcome.result is not None
    return outcome.result


def _trainer(
    cfg: DictConfig,
    model: LanguageModel,
    datamodule: TextDataModule,
    run_dir: Path,
    callbacks: list[Callback],
    loggers: list[Logger],
) -> L.Trainer:
    max_steps = whole_number("trainer.max_steps", cfg.trainer.max_steps, at_least=1)
    trainer = _instantiate(
        cfg.trainer,
        "trainer",
        max_steps=1 if model.counts else max_steps,
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


def _probe(run_dir: Path, model_bytes: int) -> None:
    """Raise `UserError` where a run's directory could not be written to, or has no room for its checkpoints."""
    existing = next(path for path in (run_dir, *run_dir.absolute().parents) if path.exists())
    try:
        with TemporaryFile(dir=existing) as file:
            file.write(bytes(4096))
            file.flush()
        free = shutil.disk_usage(existing).free
    except OSError as error:
        raise UserError(f"{run_dir}: cannot be written: {error.strerror}; choose another hydra.run.dir") from error
    # the last two, the best and the one that is being written, each with two moments a weight
    needed = 4 * 3 * model_bytes
    if free < needed:
        raise UserError(
            f"{run_dir}: {free / 1e6:,.1f} MB are free, its checkpoints may take {needed / 1e6:,.1f}; "
            "make room or choose another hydra.run.dir"
        )


def _named(config: Any, key: str) -> list[Any]:
    """Instantiate a group of named things; `null` under a name switches it off."""
    named = _instantiate(config, key)
    if not isinstance(named, dict):
        raise UserError(f"{key} must be things by name, not {named!r}; see conf/{key}/default.yaml")
    return [made for made in named.values() if made is not None]


def _instantiate(config: Any, key: str, **arguments: Any) -> Any:
    """Instantiate a config group; what its target finds wrong becomes a `UserError`."""
    try:
        return hydra.utils.instantiate(config, **arguments, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        raise UserError(f"{key}: {_first_line(cause)}") from error
    except TypeError as error:  # a `_partial_` or `_recursive_` that is neither true nor false
        raise UserError(f"{key}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
