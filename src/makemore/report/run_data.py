"""The data of a report on a run or a checkpoint: the model, its text, and the files in the run's directory."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from makemore.checkpoints import EXPORTED_WEIGHTS, checkpoints_of, directory_of, find, newest_first, step_of
from makemore.data.corpus import Corpus, read_corpus
from makemore.errors import UserError, first_line
from makemore.inference.evaluation import counted_splits, nll_rows, split_nlls
from makemore.inference.likelihood import NLL
from makemore.inference.reference import ReferenceRow, reference_row
from makemore.inference.trained_model import TrainedModel, load
from makemore.models.mixture import Mixture
from makemore.pictures.curves import Curves, read_curves
from makemore.runs.saved_config import flat, load_saved_config, saved_config_of
from makemore.sweeps.records import read_job


@dataclass
class RunData:
    """A trained model with what there is beside it.

    Args:
        architecture, arguments: the registered name and the arguments of its network.
        run_dir: the directory of its run; None for a checkpoint outside a run.
        config: of the run, under dotted keys.
        overrides: with which the run was started; None where they are unknown.
        seconds: spent in training; None where unknown.
        taken: the optimiser steps of the run; None outside a run.
        has_ended: whether these are all that it was to take, or stopped early after.
        was_pruned: whether a sweep has ended it before.
        corpus: the text; None where it cannot be read.
        nlls: of each split, by the name of the weights: the model's, and the best by validation where they differ.
        reference: the reference row of the text; None where that cannot be read.
        problems: a sentence for each of these that is missing or damaged.
    """

    model: TrainedModel
    architecture: str
    arguments: dict[str, Any]
    run_dir: Path | None
    config: dict[str, Any] = field(default_factory=dict)
    overrides: list[str] | None = None
    curves: Curves = field(default_factory=dict)
    seconds: float | None = None
    taken: int | None = None
    has_ended: bool = False
    was_pruned: bool = False
    corpus: Corpus | None = None
    nlls: dict[str, dict[str, NLL]] = field(default_factory=dict)
    reference: ReferenceRow | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the run's or the export's directory, or of the checkpoint outside a run."""
        path = self.model.path
        directory = path.parent if path.name == EXPORTED_WEIGHTS else self.run_dir
        return path.stem if directory is None else directory.resolve().name

    @property
    def objective(self) -> float:
        """The NLL by which runs are ordered: of validation, or of training without such a split; inf if unknown."""
        nlls = next(iter(self.nlls.values()), {})
        found = nlls.get("val", nlls.get("train"))
        return math.inf if found is None else found.nats

    @property
    def nll_rows(self) -> list[list[str]]:
        """The weights, and the cells below `NLL_HEADINGS`, of each weights and split."""
        return [[weights, *cells] for weights, nlls in self.nlls.items() for cells in nll_rows(nlls)]


def read_run_data(path: Path) -> RunData:
    """Read a checkpoint or the one that a run hands on, and what is beside it; `UserError` if none is undamaged."""
    path = find(path)
    model = load(path)
    run_dir = path.parent.parent if path.parent.name == directory_of("").name else None
    data = RunData(model, model.architecture, model.arguments, run_dir)
    if run_dir is not None and not isinstance(model.network, Mixture):
        _read_run_dir(data, run_dir)
    try:
        data.corpus = read_corpus(model.options, model.vocabulary)
    except UserError as error:
        missing = "NLLs and pictures of the model are missing, and new names are not marked"
        data.problems.append(f"The text cannot be used ({error}): {missing}")
        return data
    windows = counted_splits(data.corpus, model.network)
    data.reference = reference_row(data.corpus, windows)
    try:
        data.nlls[_weights(model)] = split_nlls(model.network, windows)
        for other_path in _best_and_last(run_dir) if run_dir is not None else []:
            other = load(other_path)
            if other.step != model.step:
                data.nlls[_weights(other)] = split_nlls(other.network, windows)
    except UserError as error:
        data.problems.append(str(error))
    return data


def _best_and_last(run_dir: Path) -> list[Path]:
    return [*checkpoints_of(run_dir, best=True)[-1:], *checkpoints_of(run_dir)[-1:]]


def _weights(model: TrainedModel) -> str:
    """Describe the weights of a checkpoint."""
    step = f"step {model.step:,}"
    return f"best by validation, {step}" if model.path.name.startswith("best-") else step


def _read_run_dir(data: RunData, run_dir: Path) -> None:
    """Read the files of a run, as far as they are there and undamaged."""
    with _noting_problems(data, saved_config_of(run_dir), "the config is unknown"):
        # references to other keys and to the environment stay as they are written
        data.config = flat(OmegaConf.to_container(load_saved_config(run_dir), resolve=False))
    with _noting_problems(data, path := run_dir / ".hydra" / "overrides.yaml", "the command is unknown"):
        overrides = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        if not isinstance(overrides, list):
            raise ValueError("not a list")
        data.overrides = list(map(str, overrides))
    with _noting_problems(data, path := run_dir / "metrics.csv", "there are no curves"):
        data.curves = read_curves(path)
    data.taken = max(map(step_of, newest_first(run_dir)), default=None)
    with _noting_problems(data, path := run_dir / "metrics.json", "the run is not complete"):
        metrics = json.loads(path.read_text(encoding="utf-8"))
        data.seconds = float(metrics["seconds"])
        job = read_job(run_dir)
        data.was_pruned = job is not None and job.status == "pruned"
        # a resumed run has those of its end before
        data.has_ended = int(metrics["steps"]) == data.taken and not data.was_pruned


@contextmanager
def _noting_problems(data: RunData, path: Path, consequence: str) -> Iterator[None]:
    """Note what cannot be read in the block, whatever error a damaged file makes a parser raise."""
    try:
        yield
    except UserError as error:
        data.problems.append(str(error))
    except Exception as error:
        data.problems.append(f"{path}: cannot be read ({first_line(error)}): {consequence}")
