"""Going on with a run that was interrupted: in its directory, with its config, from its newest whole checkpoint."""

import logging
import os
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from makemore.checkpoints import (
    RECORD_KEY,
    DamagedCheckpointError,
    find_newest,
    naming_damage,
    newest_first,
    path_of,
    read,
    step_of,
)
from makemore.data.corpus import Corpus
from makemore.errors import UserError, as_text
from makemore.files import replacing
from makemore.inference.trained_model import load
from makemore.runs.directory import SLURM_MARKER, slurm_job
from makemore.runs.saved_config import load_saved_config, read_saved_config, refers_to, saved_config_of
from makemore.training.module import LanguageModel

log = logging.getLogger(__name__)

# What may differ from the config that a run began with: all else would make it another run.
_MAY_CHANGE = "trainer.max_steps"


def take_over(config: DictConfig) -> None:
    """Turn the config of a command with `resume=RUN_DIR` into the one that the run was started with.

    Args:
        config: as Hydra composed it, its own part included; it is changed.

    Raises:
        UserError: no such run, a config that is not to be trusted, or other changes than more steps.
    """
    run_dir = Path(os.path.expanduser(as_text("resume", config.resume)))
    overrides = [*config.hydra.overrides.task, *config.hydra.overrides.hydra]
    given = [(override.partition("=")[0], override) for override in overrides]
    if others := [override for key, override in given if key not in ("resume", "hydra.mode", _MAY_CHANGE)]:
        raise UserError(
            f"resume={run_dir} goes on with the run's own config, in which only {_MAY_CHANGE} may change; "
            f"take out {' '.join(others)}"
        )
    if not config.resume or not run_dir.is_dir():
        raise UserError(
            f"resume={config.resume}: no such directory (from {Path.cwd()}); training prints that of its run"
        )
    refuse_links(run_dir)
    saved = read_saved_config(run_dir)
    if _MAY_CHANGE in dict(given):
        if following := refers_to(saved, _MAY_CHANGE):
            raise UserError(
                f"{run_dir}: {', '.join(following)} follows {_MAY_CHANGE}; more steps would be another run"
            )
        saved.trainer.max_steps = config.trainer.max_steps
    _replace(config, saved, run_dir)


def refuse_links(run_dir: Path) -> None:
    """Raise `UserError` where a file of a run that is to go on is a symbolic link: to where, somebody else may say."""
    if links := [path for path in run_dir.rglob("*") if path.is_symlink()]:
        raise UserError(f"{links[0]}: is a symbolic link, through which resume does not write; put the file there")


def take_over_requeued(config: DictConfig) -> None:
    """Do the same for a job that SLURM has queued again and that had begun this very run; leave others alone."""
    job = slurm_job()
    if job is None or os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        return
    for marker in sorted(Path(config.hydra.run.dir).parent.glob(f"*/{SLURM_MARKER}"), reverse=True):
        run_dir = marker.parent.parent
        # one that is damaged is not the one
        with suppress(Exception):
            overrides = OmegaConf.load(marker.with_name("overrides.yaml"))
            if marker.read_text() == job and overrides == config.hydra.overrides.task:
                _replace(config, read_saved_config(run_dir), run_dir)
                return


def _replace(config: DictConfig, saved: DictConfig, run_dir: Path) -> None:
    if missing := [str(key) for key in config if key != "hydra" and key not in saved]:
        raise UserError(f"{saved_config_of(run_dir)}: is not whole, it has no {missing[0]}; start the run anew")
    # the text was there when the run began, so nothing that the file names is downloaded or looked up
    saved.data.update({"url": None, "copy_variable": "MAKEMORE_NAMES" if saved.data.get("copy_variable") else None})
    with read_write(config), read_write(config.hydra), open_dict(config):
        for key in [key for key in config if key != "hydra"]:
            del config[key]
        config.update(saved)
        config.resume = str(run_dir)
        config.hydra.run.dir = str(run_dir)
        # the config of the run stays as it is
        config.hydra.output_subdir = None


def check(run_dir: Path, model: LanguageModel, corpus: Corpus, max_steps: int) -> None:
    """Raise `UserError` where the newest checkpoint is of another model or text, or has more steps than asked for."""
    newest = find_newest(run_dir, level=logging.DEBUG)
    if newest is not None:
        with naming_damage(newest):
            _check_same(newest, model, corpus, max_steps)


def checkpoint_to_resume(run_dir: Path) -> Path | None:
    """Return the step-named checkpoint to go on from; None where the run has to begin anew, as it had none yet.

    Damaged newer ones are set aside, so that they are not taken for the newest again.
    """
    newest = find_newest(run_dir)
    if newest is None:
        log.info("%s: has no checkpoint yet; training begins at step 0", run_dir)
    step = -1 if newest is None else step_of(newest)
    for path in newest_first(run_dir):
        if step_of(path) > step or (step_of(path) == step and not _is_whole(path)):
            path.rename(path.with_name(f"{path.name}.damaged"))
    if newest is None:
        return None
    if (named := path_of(run_dir, step)) != newest:
        with newest.open("rb") as source, replacing(named) as target:
            shutil.copyfileobj(source, target)
    log.info("going on from step %s: %s", f"{step:,}", named)
    return named


def logs_of(checkpoint: Path | None) -> dict[str, Any]:
    """Return how much the loggers had written at a checkpoint: nothing where there is none."""
    return {} if checkpoint is None else dict(read(checkpoint)[RECORD_KEY]["logs"])


def keep_max_steps(run_dir: Path, max_steps: int) -> None:
    """Let the saved config have the number of steps that is asked for now, for the next time it is resumed."""
    saved = load_saved_config(run_dir)
    if saved.trainer.max_steps != max_steps:
        saved.trainer.max_steps = max_steps
        with replacing(saved_config_of(run_dir)) as file:
            file.write(OmegaConf.to_yaml(saved).encode())


def _check_same(path: Path, model: LanguageModel, corpus: Corpus, max_steps: int) -> None:
    checkpoint = read(path)
    own = checkpoint[RECORD_KEY]
    if own["format_version"] < 2:
        raise UserError(f"{path}: an earlier version wrote it; it can be evaluated, but no run can go on from it")
    if load(path).step != step_of(path):
        raise DamagedCheckpointError(path, f"it is of step {own['step']}")
    if own["data"]["sha256"] != corpus.sha256:
        raise UserError(f"{path}: its text has changed since; put {corpus.options.path} back as it was")
    same = {"architecture": model.architecture, "arguments": model.arguments}
    ours = [optimizer.state_dict() for optimizer in model.configure_optimizers()[0]]
    alike = _options(checkpoint["optimizer_states"]) == _options(ours)
    if own["model"] != same or own["vocabulary"] != asdict(corpus.vocabulary) or not alike:
        raise UserError(f"{path}: is of another model or optimiser than {saved_config_of(path.parents[1])} says")
    if own["step"] > max_steps:
        raise UserError(f"{path}: has taken more steps than trainer.max_steps={max_steps}; ask for more")


def _options(states: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the groups of optimisers were made with; the rate has moved since."""
    groups = [group for state in states for group in state["param_groups"]]
    return [{name: value for name, value in group.items() if name not in ("params", "lr")} for group in groups]


def _is_whole(path: Path) -> bool:
    try:
        read(path)
    except UserError:
        return False
    return True
