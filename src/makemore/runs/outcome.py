"""Evaluate a run at its end: NLLs, samples and hyperparameters, in files, in TensorBoard and as a value."""

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

from makemore.checkpoints import step_of
from makemore.data.corpus import Corpus
from makemore.data.datamodule import TextDataModule
from makemore.data.options import SPLITS
from makemore.errors import DivergedError, UserError
from makemore.files import replacing, writing
from makemore.inference.evaluation import metrics_dict, split_nlls
from makemore.inference.likelihood import NLL
from makemore.inference.reference import ReferenceRow, reference_row
from makemore.inference.trained_model import load
from makemore.models.network import Counted
from makemore.runs.saved_config import flat
from makemore.runs.saving import Checkpoints
from makemore.runs.watching.watcher import SampledNames
from makemore.training.loggers import hyperparameters

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """The result of a run."""

    run_dir: Path
    checkpoint: Path  # of the final weights
    nlls: dict[str, NLL]  # of the final weights, by split
    best: tuple[Path, dict[str, NLL]] | None  # by validation NLL; None where it is the final one, or no longer whole
    names: list[str]  # sampled items
    seconds: float  # in training
    reference: ReferenceRow  # of the same splits
    corpus: Corpus

    @property
    def objective(self) -> float:
        """The NLL that a sweep minimises: validation, or training where there is no validation split."""
        return self.nlls.get("val", self.nlls["train"]).nats


class Outcome(L.Callback):
    """Evaluates the final weights, while the loggers are still open, and writes `metrics.json` and `samples.txt`."""

    def __init__(self, cfg: DictConfig, checkpoints: Checkpoints, names: SampledNames, run_dir: Path) -> None:
        self.cfg = cfg
        self.checkpoints = checkpoints
        self.names = names
        self.run_dir = run_dir
        self.seconds = 0.0
        self.started: float | None = None
        # all of a checkpoint is restored: an error from here on is not its damage
        self.restored = False
        self.result: TrainingResult | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()
        self.restored = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock."""
        self.seconds = self._seconds_in_training()
        self.started = None

    def state_dict(self) -> dict[str, float]:
        """Return the time in training, which a resumed run adds to."""
        return {"seconds": self._seconds_in_training()}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Restore the time of the resumed run."""
        self.seconds = state_dict["seconds"]

    def _seconds_in_training(self) -> float:
        return self.seconds + (0.0 if self.started is None else time.perf_counter() - self.started)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluate, sample, and write; raise `UserError` where fewer steps than planned were taken."""
        self.restored = True
        check_steps(trainer)
        self.write(trainer.datamodule, trainer.loggers)  # type: ignore[attr-defined]

    def write(self, data: TextDataModule, loggers: Sequence[Logger]) -> None:
        """Evaluate the newest checkpoint and write the results; raise `UserError` where its NLL is not finite."""
        assert self.checkpoints.newest is not None
        # it has the final weights; so the results are those that evaluating the checkpoint gives later
        model = load(self.checkpoints.newest)
        windows = {split: data.counted(split) for split in SPLITS if data.corpus.size(split)}
        nlls = split_nlls(model.network, windows)
        if not isinstance(model.network, Counted) and not math.isfinite(nlls["train"].nats):
            raise DivergedError(f"the NLL of the final weights is {nlls['train'].nats}; lower optimizer.lr")
        names = self.names.at(model.step, model.network, model.vocabulary)
        with replacing(self.run_dir / "samples.txt") as file:
            file.write("".join(f"{name}\n" for name in names).encode())
        reference = reference_row(data.corpus, windows)
        metrics = metrics_dict(nlls) | {"steps": model.step, "seconds": self.seconds} | reference.as_dict()
        _write_metrics(self.run_dir, metrics)
        self._log_hyperparameters(loggers, nlls)
        best, path = None, self.checkpoints.best
        if path is not None and step_of(path) != model.step:
            try:
                best = path, split_nlls(load(path).network, windows)
            except UserError as error:
                log.warning("the best checkpoint is left out: %s", error)
        newest = self.checkpoints.newest
        self.result = TrainingResult(self.run_dir, newest, nlls, best, names, self.seconds, reference, data.corpus)

    def _log_hyperparameters(self, loggers: Sequence[Logger], nlls: dict[str, NLL]) -> None:
        """Fill TensorBoard's HPARAMS tab: the config beside the final NLLs."""
        keys = ("seed", "threads", "compile", "data", "model", "optimizer", "scheduler", "trainer")
        config: Any = OmegaConf.to_container(self.cfg, resolve=True)
        values = flat({key: config[key] for key in keys})
        # without Hydra's own
        parameters = hyperparameters(
            {key: value for key, value in values.items() if not key.endswith(("_partial_", "_target_"))}
        )
        # a name of its own: as `val/nll` it would add a point at step 0 to that curve
        metrics = {f"hparam/{split}_nll": nll.nats for split, nll in nlls.items()}
        for logger in loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(parameters, metrics)


def add_metrics(run_dir: Path, metrics: Mapping[str, float]) -> None:
    """Add metrics to the `metrics.json` of a run that has ended; raise `UserError` if it cannot be written."""
    path = run_dir / "metrics.json"
    with writing(path):
        _write_metrics(run_dir, json.loads(path.read_text()) | metrics)


def _write_metrics(run_dir: Path, metrics: Mapping[str, float | bool | None]) -> None:
    with replacing(run_dir / "metrics.json") as file:
        file.write((json.dumps(metrics, indent=2) + "\n").encode())


def check_steps(trainer: L.Trainer) -> None:
    """Raise `UserError` where training ended before its last step without early stopping."""
    if trainer.global_step < trainer.max_steps and not trainer.should_stop:
        taken = f"training ended after {trainer.global_step:,} of {trainer.max_steps:,} steps"
        raise UserError(f"{taken}; take out the callback that shortens it")
