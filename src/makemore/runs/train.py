"""A training run, from its config to what came of it."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig

from makemore import signals
from makemore.checkpoints import find_newest, naming_damage
from makemore.data.corpus import Corpus
from makemore.errors import DivergedError, UserError, first_line
from makemore.overrides import override, set_threads
from makemore.runs import resuming
from makemore.runs.assemble import build_data, build_model, build_trainer, build_watching, named
from makemore.runs.callbacks import ProgressBar
from makemore.runs.directory import sole_writer
from makemore.runs.outcome import Outcome, TrainingResult
from makemore.runs.saved_config import untrusted
from makemore.runs.saving import Checkpoints
from makemore.runs.watching.watcher import Watching
from makemore.training.loggers import rewind
from makemore.training.module import LanguageModel

log = logging.getLogger(__name__)


def train(cfg: DictConfig, run_dir: Path) -> TrainingResult:
    """Train as a composed config says, and write the files of the run, which no other process may write to.

    Args:
        cfg: conf/train.yaml, composed; with `resume`, the run in `run_dir` goes on.
        run_dir: where the run's files go; it exists.

    Raises:
        UserError: a bad value or text, a loss that is no longer finite, or files that cannot be written.
        Stopped: a signal; what has been learnt is saved.
    """
    with signals.answering(), sole_writer(run_dir):
        try:
            return train_alone(cfg, run_dir, [ProgressBar()])
        except signals.Stopped as stopped:
            if stopped.signum == signals.REQUEUE:
                signals.requeue()
            raise


def train_alone(cfg: DictConfig, run_dir: Path, shown: Sequence[Callback] = ()) -> TrainingResult:
    """Do what `train` does, where signals are answered and the run's directory is held already.

    Args:
        cfg: as there.
        run_dir: as there.
        shown: callbacks beside those of every run.
    """
    try:
        return _train(cfg, run_dir, shown)
    except signals.Stopped as stopped:
        log_stopped(stopped, run_dir)
        raise
    except (DivergedError, OSError) as error:
        raise with_last_good(error, run_dir) from error


def log_stopped(stopped: signals.Stopped, run_dir: Path) -> None:
    """Log what a run has saved that was asked to stop, and how to go on with it."""
    log.warning("stopped by %s; %s", stopped, _last_good(run_dir))
    log.warning("  python scripts/train.py %s # goes on", override("resume", run_dir))


def with_last_good(error: DivergedError | OSError, run_dir: Path) -> UserError:
    """Return what ended a run as an error that names its last good checkpoint."""
    if isinstance(error, DivergedError):
        return UserError(f"{error}; {_last_good(run_dir)}")
    what = f"{error.filename or run_dir}: cannot be written: {error.strerror or error}"
    return UserError(f"{what}; mend that and go on with {override('resume', run_dir)}; {_last_good(run_dir)}")


def _last_good(run_dir: Path) -> str:
    newest = find_newest(run_dir)
    return "there is no checkpoint yet" if newest is None else f"the last good checkpoint is {newest}"


@dataclass(frozen=True)
class Run:
    """What a run is made of beside its Trainer.

    Args:
        run_dir: where its files go.
        model: with new weights.
        loggers: open, taken back to what they had written at the checkpoint.
        checkpoints: which are kept.
        watching: what TensorBoard shows beside its metrics.
        outcome: what it ends with.
        checkpoint: to go on from; None is the beginning.
    """

    run_dir: Path
    model: LanguageModel
    loggers: list[Logger]
    checkpoints: Checkpoints
    watching: Watching
    outcome: Outcome
    checkpoint: Path | None


def prepare(cfg: DictConfig, run_dir: Path, corpus: Corpus) -> Run:
    """Build what a run on a text is made of, and say in its log what is to be known.

    Raises:
        UserError: a value out of range, or a checkpoint of another model or text.
        OSError: the files of a resumed run cannot be changed.
    """
    model = build_model(cfg, corpus.vocabulary)
    for line in corpus.report():
        log.info(line)
    # the end of the longest line is predicted from its start and all its characters: as many tokens as the line has
    if model.block_size > (longest := int(corpus.lengths.max())):
        lower = f"model.order to {longest + 1}" if model.counts else f"model.block_size to {longest}"
        log.warning(
            "contexts of %d tokens are longer than the longest line with the start before it, %d; "
            "the rest is padding; lower %s",
            model.block_size,
            longest,
            lower,
        )
    if cfg.resume is None and (reason := untrusted(cfg)) is not None:
        log.warning("resume= will not go on with this run as it is: %s", reason)
    try:
        loggers = [make(save_dir=str(run_dir)) for make in named(cfg.logger, "logger")]
    except (ImportError, TypeError, ValueError) as error:
        raise UserError(f"logger: {first_line(error)}") from error
    checkpoints = Checkpoints(every=cfg.checkpoint_every)
    watching = build_watching(cfg)
    outcome = Outcome(cfg, checkpoints, watching.names, run_dir)
    checkpoint = None
    if cfg.resume is not None:
        resuming.check(run_dir, model, corpus, cfg.trainer.max_steps)
        checkpoint = resuming.checkpoint_to_resume(run_dir)
        resuming.keep_max_steps(run_dir, cfg.trainer.max_steps)
        with nullcontext() if checkpoint is None else naming_damage(checkpoint):
            rewind(loggers, resuming.logs_of(checkpoint))
    return Run(run_dir, model, loggers, checkpoints, watching, outcome, checkpoint)


def _train(cfg: DictConfig, run_dir: Path, shown: Sequence[Callback]) -> TrainingResult:
    set_threads(cfg.threads)
    datamodule = build_data(cfg)
    run = prepare(cfg, run_dir, datamodule.corpus)
    model, checkpoint, outcome = run.model, run.checkpoint, run.outcome
    callbacks = [*shown, run.watching, *named(cfg.callbacks, "callbacks"), outcome, run.checkpoints]
    trainer = build_trainer(cfg, model.counts, datamodule, run_dir, callbacks, run.loggers)
    try:
        trainer.fit(model, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    except MisconfigurationException as error:
        raise UserError(f"trainer: {first_line(error)}") from error
    except Exception:
        if checkpoint is None or outcome.began:
            raise
        with naming_damage(checkpoint):
            raise
    assert outcome.result is not None
    return outcome.result
