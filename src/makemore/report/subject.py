"""What a report on a run or a checkpoint is about: the model, and what the run's directory and the text tell of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from makemore.checkpoints import RECORD_KEY, checkpoints_of, directory_of, find, read
from makemore.data.corpus import Corpus, read_corpus
from makemore.errors import UserError, first_line
from makemore.inference.evaluation import counted_splits, split_nlls
from makemore.inference.likelihood import NLL
from makemore.inference.trained_model import TrainedModel, load
from makemore.pictures.gallery import Curves, read_curves
from makemore.runs.saved_config import flat, load_saved_config


@dataclass(frozen=True)
class Subject:
    """A trained model with what there is beside it.

    Args:
        name: by which it is told from others.
        model: it.
        made_of: the registered architecture and its arguments, with what else the checkpoint records of them.
        run_dir: of its run; None for a checkpoint alone.
        config: the run's, under dotted keys.
        overrides: that the run was started with; None where they are not known.
        curves: of its `metrics.csv`.
        seconds: in training; None where it is not known.
        corpus: its text; None where that cannot be read.
        nlls: of each split, by the name of the weights: the model's, and the best by validation where that is another.
        problems: what is missing, a sentence each.
    """

    name: str
    model: TrainedModel
    made_of: dict[str, Any]
    run_dir: Path | None
    config: dict[str, Any]
    overrides: list[str] | None
    curves: Curves
    seconds: float | None
    corpus: Corpus | None
    nlls: dict[str, dict[str, NLL]]
    problems: list[str]

    @property
    def objective(self) -> float | None:
        """The NLL that runs are compared by: validation, or training where there is no such split."""
        nlls = next(iter(self.nlls.values()), {})
        found = nlls.get("val", nlls.get("train"))
        return None if found is None else found.nats


def read_subject(path: Path) -> Subject:
    """Return what there is to report of a checkpoint, or of a run's directory for its newest one.

    What is missing beside the model is said in `problems`.

    Raises:
        UserError: there is no checkpoint, or none that is whole.
    """
    path = find(path)
    model = load(path)
    run_dir = path.parent.parent if path.parent.name == directory_of("").name else None
    problems: list[str] = []
    config, overrides, curves, seconds = {}, None, Curves(), None
    if run_dir is not None:
        config = _or(problems, {}, _config, run_dir)
        overrides = _or(problems, None, _overrides, run_dir)
        curves = _or(problems, {}, _curves, run_dir)
        seconds = _or(problems, None, _seconds, run_dir)
    corpus = _or(problems, None, _corpus, model)
    made_of = dict(read(path)[RECORD_KEY]["model"])
    nlls = {} if corpus is None else _or(problems, {}, _nlls, model, corpus, run_dir)
    name = path.stem if run_dir is None else run_dir.resolve().name
    return Subject(name, model, made_of, run_dir, config, overrides, curves, seconds, corpus, nlls, problems)


def _or(problems: list[str], otherwise: Any, read_it: Any, *arguments: Any) -> Any:
    """Return what a function reads; where it cannot, note why."""
    try:
        return read_it(*arguments)
    except UserError as error:
        problems.append(str(error))
        return otherwise


def _config(run_dir: Path) -> dict[str, Any]:
    # as it is written: what it refers to is not looked up
    return flat(OmegaConf.to_container(load_saved_config(run_dir), resolve=False))


def _overrides(run_dir: Path) -> list[str]:
    path = run_dir / ".hydra" / "overrides.yaml"
    try:
        found = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except Exception as error:  # whatever a damaged file makes the parser raise
        raise UserError(f"{path}: cannot be read, so the command is not known") from error
    if not isinstance(found, list):
        raise UserError(f"{path}: has no list of overrides, so the command is not known")
    return [str(override) for override in found]


def _curves(run_dir: Path) -> Curves:
    path = run_dir / "metrics.csv"
    try:
        return read_curves(path)
    except Exception as error:  # whatever a damaged file makes of a number
        raise UserError(f"{path}: cannot be read, so there are no curves ({first_line(error)})") from error


def _seconds(run_dir: Path) -> float:
    path = run_dir / "metrics.json"
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read; the run has not ended, or was killed") from error


def _corpus(model: TrainedModel) -> Corpus:
    try:
        return read_corpus(model.options, model.vocabulary)
    except UserError as error:
        what = "so there are no NLLs, no pictures of the model, and no telling which names are new"
        raise UserError(f"Its text cannot be used ({error}), {what}") from error


def _nlls(model: TrainedModel, corpus: Corpus, run_dir: Path | None) -> dict[str, dict[str, NLL]]:
    windows = counted_splits(corpus, model.network.block_size)
    nlls = {f"step {model.step:,}": split_nlls(model.network, windows)}
    for path in checkpoints_of(run_dir, best=True)[-1:] if run_dir is not None else []:
        best = load(path)
        if best.step != model.step:
            nlls[f"best by validation, step {best.step:,}"] = split_nlls(best.network, windows)
    return nlls
