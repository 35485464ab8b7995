"""What a run ends with: its final NLLs, names and hyperparameters, in files, in TensorBoard and as a value."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig, OmegaConf

from makemore.checkpoint import load
from makemore.checkpointing import Checkpoints
from makemore.data.options import SPLITS
from makemore.evaluation import metrics_dict, split_nlls
from makemore.metrics import NLL
from makemore.sampling import sample


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


class Outcome(Callback):
    """Evaluates the weights that training ended with, while the loggers are still open, and writes what came of it.

    Args:
        cfg: the composed config, for the HPARAMS tab.
        checkpoints: the callback that has written them.
        run_dir: where `metrics.json` and `samples.txt` go.
    """

    def __init__(self, cfg: DictConfig, checkpoints: Checkpoints, run_dir: Path) -> None:
        self.cfg = cfg
        self.checkpoints = checkpoints
        self.run_dir = run_dir
        self.started = 0.0
        self.result: TrainingResult | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluate, sample, and write."""
        seconds = time.perf_counter() - self.started
        assert self.checkpoints.newest is not None
        # what is reported is what the checkpoint gives when it is evaluated later
        model = load(self.checkpoints.newest)
        data = trainer.datamodule  # type: ignore[attr-defined]
        windows = {split: data.counted(split) for split in SPLITS if data.corpus.size(split)}
        nlls = split_nlls(model.network, windows)
        best = None
        if self.checkpoints.best is not None and (best_model := load(self.checkpoints.best)).step != model.step:
            best = (self.checkpoints.best, split_nlls(best_model.network, windows))
        names = sample(model.network, model.vocabulary, self.cfg.num_samples, self.cfg.seed)
        (self.run_dir / "samples.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        metrics = metrics_dict(nlls) | {"steps": model.step, "seconds": seconds}
        (self.run_dir / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
        self._log_hyperparameters(trainer.loggers, nlls)
        self.result = TrainingResult(self.run_dir, self.checkpoints.newest, nlls, best, names, seconds)

    def _log_hyperparameters(self, loggers: Sequence[Logger], nlls: dict[str, NLL]) -> None:
        """Fill TensorBoard's HPARAMS tab: what was configured, beside the final NLLs."""
        groups = ("seed", "threads", "compile", "data", "model", "optimizer", "scheduler", "trainer")
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
            # TensorBoard makes floats of numbers; what is beyond them was not used
            too_large = isinstance(value, int) and abs(value) > sys.float_info.max
            flat[f"{prefix}{key}"] = str(value) if too_large else value
    return flat
