"""A training run: builds its parts from a composed config, trains, and leaves the files of a run behind."""

import json
import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import lightning as L
from hydra.errors import InstantiationException
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig, OmegaConf

from makemore.callbacks import ProgressBar, SampledNames
from makemore.checkpoint import checkpoints_of, load
from makemore.checkpointing import AtomicCheckpointIO, Checkpoints
from makemore.command import set_threads
from makemore.data.datamodule import TextDataModule
from makemore.errors import UserError, real_number, whole_number
from makemore.evaluation import metrics_dict, split_nlls
from makemore.language_model import LanguageModel
from makemore.metrics import NLL
from makemore.sampling import sample

log = logging.getLogger(__name__)
# Lightning calls what torch has deprecated
warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning)
# Lightning sets itself to INFO on import and says which devices there are not
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


@dataclass(frozen=True)
class TrainingResult:
    """What a run ended with.

    Args:
        run_dir: where its files are.
        checkpoint: of the weights that it ended with.
        nlls: of those weights, by split.
        best: the best checkpoint by validation NLL, where it is another one, with its NLLs.
        names: made-up items.
        seconds: in training.
    """

    run_dir: Path
    checkpoint: Path
    nlls: dict[str, NLL]
    best: tuple[Path, dict[str, NLL]] | None
    names: list[str]
    seconds: float

    @property
    def objective(self) -> float:
        """The NLL that a sweep minimises: validation, or training where there is no validation split."""
        return self.nlls.get("val", self.nlls["train"]).nats


def build(cfg: DictConfig) -> tuple[TextDataModule, LanguageModel]:
    """Build the data and the model of a composed config.

    Raises:
        UserError: a value out of range, or a text that cannot be used.
    """
    seed = whole_number("seed", cfg.seed)
    datamodule: TextDataModule = _instantiate(
        cfg.data,
        "data",
        seed=seed,
        steps_per_execution=cfg.steps_per_execution,
        val_every=cfg.val_every,
        checkpoint_every=cfg.checkpoint_every,
    )
    datamodule.prepare_data()
    make_model = _instantiate(cfg.model, "model")
    arguments = {"vocabulary": datamodule.corpus.vocabulary, "seed": seed, "log_every": cfg.log_every}
    kind = getattr(make_model, "func", None)
    if not isinstance(kind, type) or not issubclass(kind, LanguageModel):
        raise UserError("model._target_ must be a language model of this project with _partial_: true; see conf/model")
    if not kind.counts:
        real_number("optimizer.lr", cfg.optimizer.lr, at_least=0)
        arguments |= {
            "optimizer": _instantiate(cfg.optimizer, "optimizer"),
            "schedule": _instantiate(cfg.scheduler, "scheduler"),
        }
    try:
        return datamodule, make_model(**arguments)
    except (RuntimeError, MemoryError) as error:
        raise UserError(f"model: {_first_line(error)}") from error


def check(cfg: DictConfig, run_dir: Path) -> None:
    """Find what is wrong with a composed config before anything is written.

    Args:
        cfg: conf/train.yaml, composed.
        run_dir: where the run's files are to go.

    Raises:
        UserError: whatever would stop the run from starting.
    """
    if checkpoints_of(run_dir):
        raise UserError(f"{run_dir}: holds the checkpoints of a run already; choose another hydra.run.dir")
    set_threads(cfg.threads)
    datamodule, model = build(cfg)
    model.configure_optimizers()
    callbacks = _named(cfg.callbacks, "callbacks")
    if not all(callable(make) for make in _named(cfg.logger, "logger")):
        raise UserError("logger: each must have _partial_: true, and takes save_dir; see conf/logger/default.yaml")
    if any(isinstance(callback, EarlyStopping) for callback in callbacks) and not datamodule.corpus.size("val"):
        raise UserError("callbacks=early_stopping needs a validation split; give data.splits a second ratio above 0")
    whole_number("num_samples", cfg.num_samples)
    _trainer(cfg, model, datamodule, run_dir, callbacks=[], loggers=[])


def train(cfg: DictConfig, run_dir: Path) -> TrainingResult:
    """Train as a composed config says, and write the files of the run.

    Args:
        cfg: conf/train.yaml, composed.
        run_dir: where the run's files go; it exists.

    Raises:
        UserError: a bad value or text, or a loss that is no longer finite.
    """
    set_threads(cfg.threads)
    datamodule, model = build(cfg)
    for line in datamodule.corpus.report():
        log.info(line)
    checkpoints = Checkpoints(every=cfg.checkpoint_every)
    outcome = _Outcome(cfg, checkpoints, run_dir)
    loggers = [make(save_dir=str(run_dir)) for make in _named(cfg.logger, "logger")]
    callbacks = [
        ProgressBar(),
        SampledNames(cfg.num_samples, model.seed),
        *_named(cfg.callbacks, "callbacks"),
        outcome,
        checkpoints,
    ]
    trainer = _trainer(cfg, model, datamodule, run_dir, callbacks, loggers)
    try:
        trainer.fit(model, datamodule=datamodule)
    except MisconfigurationException as error:
        raise UserError(f"trainer: {_first_line(error)}") from error
    assert outcome.result is not None
    return outcome.result


class _Outcome(Callback):
    """Evaluates the weights that training ended with, while the loggers are still open."""

    def __init__(self, cfg: DictConfig, checkpoints: Checkpoints, run_dir: Path) -> None:
        self.cfg = cfg
        self.checkpoints = checkpoints
        self.run_dir = run_dir
        self.started = 0.0
        self.result: TrainingResult | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        seconds = time.perf_counter() - self.started
        assert self.checkpoints.newest is not None
        # what is reported is what the checkpoint gives when it is evaluated later
        model = load(self.checkpoints.newest)
        corpus = trainer.datamodule.corpus  # type: ignore[attr-defined]
        nlls = split_nlls(model.network, corpus)
        best = None
        if self.checkpoints.best is not None and (best_model := load(self.checkpoints.best)).step != model.step:
            best = (self.checkpoints.best, split_nlls(best_model.network, corpus))
        names = sample(model.network, model.vocabulary, self.cfg.num_samples, self.cfg.seed)
        (self.run_dir / "samples.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        metrics = metrics_dict(nlls) | {"steps": model.step, "seconds": seconds}
        (self.run_dir / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
        self._log_hyperparameters(trainer.loggers, nlls)
        self.result = TrainingResult(self.run_dir, self.checkpoints.newest, nlls, best, names, seconds)

    def _log_hyperparameters(self, loggers: Sequence[Logger], nlls: dict[str, NLL]) -> None:
        """Fill TensorBoard's HPARAMS tab: what was configured, beside the final NLLs."""
        groups = ("seed", "threads", "data", "model", "optimizer", "scheduler", "trainer")
        plain = OmegaConf.to_container(OmegaConf.masked_copy(self.cfg, list(groups)), resolve=True)
        assert isinstance(plain, dict)
        parameters = _flat(plain)
        # a name of its own: as `val/nll` it would add a point at step 0 to that curve
        metrics = {f"hparam/{split}_nll": nll.nats for split, nll in nlls.items()}
        for logger in loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(parameters, metrics)


def _flat(config: dict[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values under dotted keys, without those that only say how they are built."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif key not in ("_partial_", "_target_"):
            flat[f"{prefix}{key}"] = value
    return flat


def _trainer(
    cfg: DictConfig,
    model: LanguageModel,
    datamodule: TextDataModule,
    run_dir: Path,
    callbacks: list[Callback],
    loggers: list[Logger],
) -> L.Trainer:
    max_steps = whole_number("trainer.max_steps", cfg.trainer.max_steps, at_least=1)
    trainer: L.Trainer = _instantiate(
        cfg.trainer,
        "trainer",
        max_steps=1 if model.counts else max_steps,
        # one run is one device; many runs are how one scales
        devices=1,
        # an epoch is the steps up to the next validation, so there is no telling how many
        max_epochs=-1,
        check_val_every_n_epoch=1,
        num_sanity_val_steps=0,
        limit_val_batches=None if datamodule.corpus.size("val") else 0,
        callbacks=callbacks,
        logger=loggers,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=str(run_dir),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return trainer


def _named(config: Any, key: str) -> list[Any]:
    """Instantiate a group of named things; `null` under a name switches it off."""
    return [made for made in _instantiate(config, key).values() if made is not None]


def _instantiate(config: Any, key: str, **arguments: Any) -> Any:
    """Instantiate a config group; what its target finds wrong becomes a `UserError`."""
    try:
        return hydra.utils.instantiate(config, **arguments, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        raise UserError(f"{key}: {_first_line(cause)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
