"""Checks `load_from_checkpoint`: of a Trainer's checkpoints, and of those of runs of this version and earlier ones."""

from functools import partial
from pathlib import Path
from typing import Any

import fitting
import pytest
import torch

from makemore.checkpoints import path_of
from makemore.data.datamodule import TextDataModule
from makemore.errors import UserError
from makemore.inference.trained_model import load
from makemore.models.network import Counted
from makemore.runs.saving import Checkpoints
from makemore.training.language_model import LanguageModel
from makemore.training.module import CountingLanguageModel, NeuralLanguageModel
from makemore.training.own_trainer import SealedCheckpointIO

FIXTURES = Path(__file__).parents[1] / "fixtures" / "checkpoints"
SMALL = {"block_size": 3, "embedding_dim": 4, "hidden_dim": 8}


@pytest.fixture(scope="module")
def fitted(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, Path, Path]:
    """A model with an average, its run's checkpoint, and one as a Trainer of one's own writes it."""
    directory = tmp_path_factory.mktemp("run")
    data = TextDataModule(str(text), batch_size=8, val_every=10, seed=3)
    optimizer = partial(torch.optim.AdamW, lr=0.01)
    arguments = SMALL | {"ema_decay": 0.9, "l2": 0.1, "clip_norm": 1.0}
    model = NeuralLanguageModel("mlp", data.corpus.vocabulary, optimizer, **arguments)
    trainer = fitting.fit(model, data, 20, Checkpoints(every=20), directory=directory)
    trainer.strategy.checkpoint_io = SealedCheckpointIO()
    trainer.save_checkpoint(directory / "own.ckpt")
    return model, path_of(directory, 20), directory / "own.ckpt"


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_trainers_checkpoint_makes_the_model_and_the_data_again(fitted: tuple[LanguageModel, Path, Path]) -> None:
    model, _, path = fitted
    again = NeuralLanguageModel.load_from_checkpoint(path)
    assert dict(again.hparams) == dict(model.hparams)
    assert same(again.state_dict(), model.state_dict())
    data = TextDataModule.load_from_checkpoint(path, batch_size=16)
    assert (data.batch_size, data.seed, data.val_every) == (16, 3, 10)


def test_a_runs_checkpoint_gives_what_is_evaluated_and_the_same_splits(
    fitted: tuple[LanguageModel, Path, Path],
) -> None:
    model, path, _ = fitted
    again = NeuralLanguageModel.load_from_checkpoint(path.parents[1])
    assert same(again.network.state_dict(), model.evaluated.state_dict())
    assert again.hparams["hidden_dim"] == 8
    both = NeuralLanguageModel.load_from_checkpoint(path, ema_decay=0.9)
    assert same(both.state_dict(), model.state_dict())
    data = TextDataModule.load_from_checkpoint(path)
    trained = load(path)
    assert data.options.as_plain() == trained.options.as_plain()
    assert data.vocabulary == trained.vocabulary


def test_the_device_may_be_chosen(fitted: tuple[LanguageModel, Path, Path]) -> None:
    assert NeuralLanguageModel.load_from_checkpoint(fitted[1], map_location="meta").device.type == "meta"


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("**/*.ckpt")), ids=lambda path: path.stem)
def test_checkpoints_of_earlier_versions_are_loaded(path: Path) -> None:
    trained = load(path)
    kind = CountingLanguageModel if isinstance(trained.network, Counted) else NeuralLanguageModel
    again = kind.load_from_checkpoint(path)
    assert same(again.network.state_dict(), trained.network.state_dict())
    other: Any = NeuralLanguageModel if kind is CountingLanguageModel else CountingLanguageModel
    with pytest.raises(UserError, match=f"use {kind.__name__}"):
        other.load_from_checkpoint(path)


def test_errors_are_one_line(fitted: tuple[LanguageModel, Path, Path], tmp_path: Path) -> None:
    _, path, _ = fitted
    (broken := tmp_path / "broken.ckpt").write_bytes(path.read_bytes()[:-100])
    for name, wrong in {"missing": tmp_path / "missing.ckpt", "broken": broken}.items():
        for cls in (NeuralLanguageModel, TextDataModule):
            with pytest.raises(UserError, match=name):
                cls.load_from_checkpoint(wrong)
    with pytest.raises(UserError, match="weights of another shape"):
        NeuralLanguageModel.load_from_checkpoint(path, hidden_dim=9)
    with pytest.raises(UserError, match="takes no depth"):
        NeuralLanguageModel.load_from_checkpoint(path, depth=9)
