"""Resume an interrupted run: in its directory, with its config, from its newest whole checkpoint."""

import logging
import os
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from makemore import checkpoints
from makemore.errors import UserError, as_text
from makemore.inference.trained_model import load
from makemore.runs.assemble import Parts
from makemore.runs.directory import SLURM_MARKER, slurm_job
from makemore.runs.planned_numbers import shares_of_steps
from makemore.runs.saved_config import load_saved_config, read_saved_config, refers_to, saved_config_of
from makemore.system.files import replacing
from makemore.training.optimizers import functional_update
from makemore.training.substitutes import CALLBACKS, refuse
from makemore.training.trainer_arguments import ARGUMENTS, ineffective

log = logging.getLogger(__name__)

# the one key that a resume may change: any other would make it another run
_MAY_CHANGE = "trainer.max_steps"


def take_over(config: DictConfig) -> None:
    """Replace the config of a command with `resume=RUN_DIR`, as Hydra composed it, by that of the run.

    No such run, a config that is not to be trusted, or other changes than more steps are a `UserError`.
    """
    run_dir = Path(os.path.expanduser(as_text("resume", config.resume)))
    overrides = [*config.hydra.overrides.task, *config.hydra.overrides.hydra]
    given = [(override.partition("=")[0], override) for override in overrides]
    if others := [override for key, override in given if key not in ("resume", "hydra.mode", _MAY_CHANGE)]:
        what = f"takes the run's own config, in which only {_MAY_CHANGE} may change"
        raise UserError(f"resume={run_dir} {what}; take out {' '.join(others)}")
    if not config.resume or not run_dir.is_dir():
        what = f"no such directory (from {Path.cwd()})"
        raise UserError(f"resume={config.resume}: {what}; training prints that of its run")
    refuse_links(run_dir)
    saved = read_saved_config(run_dir)
    if _MAY_CHANGE in dict(given):
        if following := [*refers_to(saved, _MAY_CHANGE), *shares_of_steps(saved)]:
            what = f"{', '.join(following)} follows {_MAY_CHANGE}"
            raise UserError(f"{run_dir}: {what}; more steps would be another run")
        if _has_stopped_early(run_dir):
            mend = "train a new run, with patience=null if it is to take all its steps"
            raise UserError(f"{run_dir}: stopped early, so that more steps would not be taken; {mend}")
        saved.trainer.max_steps = config.trainer.max_steps
    _replace(config, saved, run_dir)


def _has_stopped_early(run_dir: Path) -> bool:
    newest = checkpoints.find_newest(run_dir)
    if newest is None:
        return False
    with checkpoints.naming_damage(newest):
        return bool(checkpoints.read(newest)["callbacks"]["Checkpoints"]["stopped_early"])


def refuse_links(run_dir: Path) -> None:
    """Raise `UserError` where a file of a run is a symbolic link: a resume would write to wherever it leads."""
    # W&B makes links between its own files, and writes through none
    of_wandb = run_dir / "wandb"
    if links := [path for path in run_dir.rglob("*") if path.is_symlink() and of_wandb not in path.parents]:
        raise UserError(f"{links[0]}: is a symbolic link, through which resume does not write; put the file there")


def take_over_requeued(config: DictConfig) -> None:
    """Resume the run that this SLURM job had begun before it was requeued; leave other configs alone."""
    job = slurm_job()
    if job is None or os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        return
    for marker in sorted(Path(config.hydra.run.dir).parent.glob(f"*/{SLURM_MARKER}"), reverse=True):
        run_dir = marker.parent.parent
        # a damaged directory is not that of the run
        with suppress(Exception):
            overrides = OmegaConf.load(marker.with_name("overrides.yaml"))
            if marker.read_text() == job and overrides == config.hydra.overrides.task:
                _replace(config, read_saved_config(run_dir), run_dir)
                return


def _replace(config: DictConfig, saved: DictConfig, run_dir: Path) -> None:
    """Put a saved config in the place of a composed one, Hydra's part left as it is."""
    # a run that began before there were these keys
    saved.setdefault("mixture", False)
    saved.setdefault("name", None)
    saved.setdefault("result", checkpoints.LAST)
    saved.setdefault("patience", None)
    _leave_out_what_does_not_act(saved)
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
        # keeps the saved config of the run
        config.hydra.output_subdir = None


def _leave_out_what_does_not_act(saved: DictConfig) -> None:
    """Take out of a saved config what earlier versions accepted of the Trainer and its callbacks, with a warning."""
    for name in ineffective(saved.trainer):
        if not ARGUMENTS[name].acts:
            log.warning("trainer.%s of the saved config does not act: it is left out", name)
            del saved.trainer[name]
    for name in list(saved.callbacks or {}):
        try:
            refuse(saved.callbacks[name], f"callbacks.{name}", CALLBACKS)
        except UserError as error:
            log.warning("%s; it is left out", error)
            del saved.callbacks[name]


def checkpoint_to_resume(parts: Parts) -> Path | None:
    """Return the step-named checkpoint that a run resumes from; None where it has none and starts at step 0.

    Damaged newer ones are set aside, so that they are not taken for the newest again. A `UserError` says where the
    newest whole one is of another model or text, or has taken more steps than planned.
    """
    run_dir = parts.run_dir
    newest = checkpoints.find_newest(run_dir)
    if newest is not None:
        with checkpoints.naming_damage(newest):
            _check_same(newest, parts)
    step = -1 if newest is None else checkpoints.step_of(newest)
    for path in checkpoints.newest_first(run_dir):
        if checkpoints.step_of(path) > step:
            path.rename(path.with_name(f"{path.name}.damaged"))
    if newest is None:
        log.info("%s: has no checkpoint yet; training begins at step 0", run_dir)
        return None
    if (named := checkpoints.path_of(run_dir, step)) != newest:
        with newest.open("rb") as source, replacing(named) as target:
            shutil.copyfileobj(source, target)
    log.info("resuming from step %s: %s", f"{step:,}", named)
    return named


def keep_max_steps(run_dir: Path, max_steps: int | str) -> None:
    """Write a changed number of steps into the saved config, for the next resume."""
    saved = load_saved_config(run_dir)
    if saved.trainer.max_steps != max_steps:
        saved.trainer.max_steps = max_steps
        with replacing(saved_config_of(run_dir)) as file:
            file.write(OmegaConf.to_yaml(saved).encode())


def _check_same(path: Path, parts: Parts) -> None:
    """Raise `UserError` where a checkpoint is not of this run, or has more steps than planned."""
    checkpoint = checkpoints.read(path)
    own, model, corpus = checkpoint[checkpoints.RECORD_KEY], parts.model, parts.data.corpus
    if own["format_version"] < 2:
        raise UserError(f"{path}: an earlier version wrote it; it can be evaluated, but not resumed")
    if load(path).step != checkpoints.step_of(path):
        raise checkpoints.DamagedCheckpointError(path, f"it is of step {own['step']}")
    if own["data"]["sha256"] != corpus.sha256:
        raise UserError(f"{path}: its text has changed since; put {corpus.options.path} back as it was")
    same = {"architecture": model.architecture, "arguments": model.arguments}
    optimizers, _ = model.configure_optimizers()
    ours = [optimizer.state_dict() for optimizer in optimizers]
    alike = _options(checkpoint["optimizer_states"]) == _options(ours)
    if own["model"] != same or own["vocabulary"] != asdict(corpus.vocabulary) or not alike:
        raise UserError(f"{path}: is of another model or optimiser than {saved_config_of(path.parents[1])} says")
    for optimizer, state in zip(optimizers, checkpoint["optimizer_states"], strict=True):
        # torch.optim takes a state of any shape
        optimizer.load_state_dict(state)
        functional_update(optimizer)
    if own["step"] > (max_steps := parts.cfg.trainer.max_steps):
        raise UserError(f"{path}: has taken more steps than trainer.max_steps={max_steps}; ask for more")


def _options(states: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the options of all groups of optimisers but for the learning rate, which schedules change."""
    groups = [group for state in states for group in state["param_groups"]]
    return [{name: value for name, value in group.items() if name not in ("params", "lr")} for group in groups]
