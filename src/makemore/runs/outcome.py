"""Evaluate a run at its end: NLLs and samples, in files, for its loggers and as a value."""

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from makemore.checkpoints import BEST, LAST, step_of
from makemore.data.corpus import Corpus
from makemore.data.datamodule import TextDataModule
from makemore.data.options import SPLITS
from makemore.errors import DivergedError, UserError
from makemore.inference.evaluation import metrics_dict, split_nlls
from makemore.inference.likelihood import NLL
from makemore.inference.reference import ReferenceRow, reference_row
from makemore.inference.trained_model import load
from makemore.models.network import Counted
from makemore.runs.log_media import hyperparameters_of, log_outcome
from makemore.runs.saving import Checkpoints
from makemore.runs.watching.watcher import SampledNames
from makemore.system.files import replacing, writing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptWeights:
    """Weights that a run has kept: its last, or the best by validation NLL."""

    which: str
    checkpoint: Path
    nlls: dict[str, NLL]  # by split

    def __str__(self) -> str:
        """Describe them for a table's title."""
        if self.which == LAST:
            return "the final weights"
        return f"the best weights by validation, of step {step_of(self.checkpoint):,}"


@dataclass(frozen=True)
class TrainingResult:
    """The result of a run."""

    run_dir: Path
    weights: KeptWeights  # that it hands on
    other: KeptWeights | None  # the last or the best, if those are others than it hands on and whole
    names: list[str]  # sampled items
    seconds: float  # in training
    reference: ReferenceRow  # of the same splits
    corpus: Corpus

    @property
    def nlls(self) -> dict[str, NLL]:
        """The NLLs of the weights that it hands on, by split."""
        return self.weights.nlls

    @property
    def objective(self) -> float:
        """The NLL that a sweep minimises: validation, or training where there is no validation split."""
        return self.nlls["val" if "val" in self.nlls else "train"].nats


class Outcome(L.Callback):
    """Evaluates the weights of a run, while loggers are still open, and writes `metrics.json` and `samples.txt`."""

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

    @cached_property
    def hyperparameters(self) -> dict[str, float | str]:
        """The values of the config that make the run what it is, under dotted keys."""
        return hyperparameters_of(self.cfg)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()
        self.restored = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock."""
        self.stop_clock()

    def stop_clock(self) -> None:
        """Keep the time in training as it is now."""
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

    def write(self, data: TextDataModule, loggers: Sequence[Logger], pruned: bool = False) -> None:
        """Evaluate the last and the best weights and write the results; raise `UserError` where the last diverged.

        Of a pruned run, of which a sweep has many, validation alone is evaluated, and nothing is sampled.
        """
        assert self.checkpoints.newest is not None
        # the results are those that evaluating the checkpoint gives later
        model = load(self.checkpoints.newest)
        steps = model.step
        splits = ("val",) if pruned else SPLITS
        windows = {split: data.counted(split) for split in splits if data.corpus.size(split)}
        weights, other = KeptWeights(LAST, self.checkpoints.newest, split_nlls(model.network, windows)), None
        final = weights.nlls["val" if pruned else "train"].nats
        if not isinstance(model.network, Counted) and not math.isfinite(final):
            raise DivergedError(f"the NLL of the final weights is {final}; lower optimizer.lr")
        path = self.checkpoints.best
        if path is not None and step_of(path) != steps:
            try:
                best = load(path)
                other = KeptWeights(BEST, path, split_nlls(best.network, windows))
            except UserError as error:
                log.warning("the best checkpoint is left out: %s", error)
        if other is not None:
            if not pruned:
                _log_overfitting(weights, other)
            if self.checkpoints.result == BEST:
                model, weights, other = best, other, weights
        names = [] if pruned else self.names.at(model.step, model.network, model.vocabulary)
        if not pruned:
            with replacing(self.run_dir / "samples.txt") as file:
                file.write("".join(f"{name}\n" for name in names).encode())
        reference = reference_row(data.corpus, None if pruned else windows)
        metrics = metrics_dict(weights.nlls) | {"step": model.step, "steps": steps, "seconds": self.seconds}
        _write_metrics(self.run_dir, metrics | reference.as_dict())
        finals = {split: nll.nats for split, nll in weights.nlls.items()}
        log_outcome(loggers, self.hyperparameters, finals, steps, "pruned" if pruned else None)
        self.result = TrainingResult(self.run_dir, weights, other, names, self.seconds, reference, data.corpus)


# nats a character by which the validation NLL rises before a run is said to learn its text by heart
_OVERFITTED = 0.01


def _log_overfitting(last: KeptWeights, best: KeptWeights) -> None:
    """Say so where training has gone on from the best weights to fit the training split alone."""
    train, val = (f"from {best.nlls[split].nats:.4f} to {last.nlls[split].nats:.4f}" for split in ("train", "val"))
    risen = last.nlls["val"].nats - best.nlls["val"].nats
    if risen > _OVERFITTED and last.nlls["train"].nats < best.nlls["train"].nats:
        what = f"the training NLL fell {train}, and the validation NLL rose {val}"
        log.info("the model began to learn its text by heart: after step %s %s", f"{step_of(best.checkpoint):,}", what)


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
