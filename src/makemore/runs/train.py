"""Train one run: from its composed config to its result."""

import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig

from makemore.checkpoints import RECORD_KEY, find_newest, naming_damage, read
from makemore.errors import DivergedError, UserError, first_line
from makemore.inference.reference import nll_of_pairs, reference_row
from makemore.overrides import command, hydra_override, override
from makemore.runs import resuming
from makemore.runs.assemble import Parts, assemble
from makemore.runs.callbacks import ProgressBar
from makemore.runs.directory import mark_slurm_job, sole_writer
from makemore.runs.given import read_given
from makemore.runs.opening_loggers import open_loggers
from makemore.runs.outcome import TrainingResult
from makemore.runs.saved_config import untrusted
from makemore.system import signals
from makemore.training.loggers import TensorBoard, rewind
from makemore.training.module import CountingLanguageModel
from makemore.training.nll_curves import Baselines, NllCurves

log = logging.getLogger(__name__)


def train(cfg: DictConfig, run_dir: Path) -> TrainingResult:
    """Train one run in an existing directory of which this process becomes the only writer.

    `cfg` is conf/train.yaml, composed; with `resume`, the run in `run_dir` is resumed. A bad value or text, a loss
    that is no longer finite, and files that cannot be written are a `UserError`; a signal, `Stopped`, leaves it saved.
    """
    with signals.answering(), sole_writer(run_dir):
        mark_slurm_job(run_dir)
        try:
            # null is Lightning's word for the default
            shown = [] if cfg.trainer.get("enable_progress_bar") is False else [ProgressBar()]
            return train_locked(cfg, run_dir, shown)
        except signals.Stopped as stopped:
            if stopped.signum == signals.REQUEUE:
                signals.requeue()
            raise


def train_locked(cfg: DictConfig, run_dir: Path, shown: Sequence[Callback] = ()) -> TrainingResult:
    """Train one run as `train` does, its directory locked and signals answered; `shown` are additional callbacks."""
    try:
        parts = assemble(cfg, run_dir)
        loggers, checkpoint = open_run(parts)
        callbacks = [*shown, parts.watchers, *parts.callbacks, parts.outcome, parts.checkpoints]
        trainer = parts.trainer(callbacks, loggers)
        try:
            trainer.fit(parts.model, datamodule=parts.data, ckpt_path=checkpoint, weights_only=True)
        except MisconfigurationException as error:
            raise UserError(f"trainer: {first_line(error)}") from error
        except Exception:
            if checkpoint is None or parts.outcome.restored:
                raise
            with naming_damage(checkpoint):
                raise
        assert parts.outcome.result is not None
        return parts.outcome.result
    except signals.Stopped as stopped:
        log_stopped(stopped, run_dir)
        raise
    except (DivergedError, OSError) as error:
        raise naming_last_checkpoint(error, run_dir) from error


def open_run(parts: Parts) -> tuple[list[Logger], Path | None]:
    """Log what is worth knowing of a run; return its loggers, rewound to the checkpoint to resume from, and that.

    The checkpoint is None for a start at step 0. A logger that cannot be opened, or a checkpoint of another model or
    text, is a `UserError`.
    """
    checkpoint = None if parts.cfg.resume is None else resuming.checkpoint_to_resume(parts)
    _log_facts(parts)
    loggers = open_loggers(parts.loggers, parts.run_dir, parts.outcome.hyperparameters, parts.cfg.resume is not None)
    for logger in loggers:
        if isinstance(logger, TensorBoard):
            _prepare(logger, parts)
    if parts.cfg.resume is not None:
        resuming.keep_max_steps(parts.run_dir, parts.composed.trainer.max_steps)
        with nullcontext() if checkpoint is None else naming_damage(checkpoint):
            rewind(loggers, {} if checkpoint is None else dict(read(checkpoint)[RECORD_KEY]["logs"]))
    return loggers, checkpoint


def _prepare(board: TensorBoard, parts: Parts) -> None:
    """Let TensorBoard show a run beside counting alone, and by what it was given."""
    given, corpus = read_given(parts.run_dir), parts.data.corpus
    if given is not None:
        board.given = given.hyperparameters(parts.cfg)
        # in a sweep a colour is a job
        board.two_colors = not given.is_job
    pairs = None
    # takes long on a large text
    with signals.at_once():
        counting = {split: nll.nats for split, nll in reference_row(corpus).nlls.items()}
        if given is not None and given.is_job and "val" in counting:
            pairs = nll_of_pairs(corpus)
    nothing = math.log(corpus.vocabulary.size)
    max_steps, val_every = parts.cfg.trainer.max_steps, parts.cfg.val_every
    board.curves = NllCurves(Baselines(counting.get("val"), counting["train"], nothing, max_steps, val_every, pairs))


def _log_facts(parts: Parts) -> None:
    """Log the facts of the text, and warn of what the user may not have meant."""
    corpus, model = parts.data.corpus, parts.model
    for line in corpus.report():
        log.info(line)
    # the end of the longest line is predicted from its start and all its characters: as many tokens as the line has
    longest = int(corpus.lengths.max())
    if model.network.reads == "lines":
        if longest > model.block_size:
            more = np.count_nonzero(corpus.lengths > model.block_size)
            what = f"{more:,} lines are longer than model.block_size={model.block_size} with their ends"
            log.warning("%s: training cuts them into pieces; a token is predicted from as many before it", what)
    elif model.block_size > longest:
        counting = isinstance(model, CountingLanguageModel)
        lower = f"model.order to {longest + 1}" if counting else f"model.block_size to {longest}"
        what = f"{model.block_size} tokens are longer than the longest line with the start before it, {longest}"
        log.warning("contexts of %s; the rest is padding; lower %s", what, lower)
    if parts.cfg.resume is None and (reason := untrusted(parts.cfg)) is not None:
        log.warning("this run cannot be resumed as it is: %s", reason)


def log_stopped(stopped: signals.Stopped, run_dir: Path) -> None:
    """Log the last checkpoint of a run that a signal has stopped, and the command that resumes it."""
    log.warning("stopped by %s; %s", stopped, _last_checkpoint(run_dir))
    log.warning("  %s # resumes it", command("train", hydra_override("resume", run_dir)))


def naming_last_checkpoint(error: DivergedError | OSError, run_dir: Path) -> UserError:
    """Return the error that has ended a run as one that names the run's last good checkpoint."""
    if isinstance(error, DivergedError):
        return UserError(f"{error}; {_last_checkpoint(run_dir)}")
    what = f"{error.filename or run_dir}: cannot be written: {error.strerror or error}"
    return UserError(f"{what}; mend that and resume with {override('resume', run_dir)}; {_last_checkpoint(run_dir)}")


def _last_checkpoint(run_dir: Path) -> str:
    newest = find_newest(run_dir)
    return "there is no checkpoint yet" if newest is None else f"the last good checkpoint is {newest}"
