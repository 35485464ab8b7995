"""Checks evaluation: a checkpoint's NLLs are those of its training, and a text that is not what it was is noticed."""

import json
import math
import os
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from makemore.data.datamodule import TextDataModule
from makemore.errors import UserError
from makemore.inference.evaluation import Evaluation, counted_splits, evaluate, metrics_dict, split_nlls
from makemore.inference.likelihood import NLL
from makemore.inference.scoring import score
from makemore.inference.trained_model import load
from makemore.runs.saving import AtomicCheckpointIO
from makemore.training.language_model import LanguageModel
from makemore.training.module import CountingLanguageModel, NeuralLanguageModel

WORDS = ["anna", "hanna", "ann", "hal", "lana", "nala", "alan", "anna", "noah", "noa", "al", "lo"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS) + "\n")
    return path


def train(directory: Path, text: Path, fake_count: float | None = None, **options: Any) -> dict[str, NLL]:
    """Leave a checkpoint in `directory`, and return the NLLs of the model in memory."""
    data = TextDataModule(str(text), **({"batch_size": 4 if fake_count is None else None} | options))
    model: LanguageModel
    if fake_count is None:
        optimizer = partial(torch.optim.SGD, lr=0.1)
        model = NeuralLanguageModel("mlp", data.corpus.vocabulary, optimizer, l2=0.1, init="normal")
    else:
        model = CountingLanguageModel("ngram", data.corpus.vocabulary, order=3, fake_count=fake_count)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=5 if fake_count is None else 1,
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(directory / "checkpoints" / "step-00000005.ckpt")
    return split_nlls(model.network, counted_splits(data.corpus, model.network))


@pytest.mark.parametrize("fake_count", [None, 0, 0.5])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"split_seed": 4, "splits": (0.5, 0.25, 0.25)},
        {"by": "example"},
        {"splits": (1, 0, 0)},
        {"splits": (0.5, 0.5, 0), "max_lines": 6},
        {"boundary": "separate", "boundary_at": "last"},
    ],
    ids=lambda options: "-".join(options) or "default",
)
def test_a_checkpoint_gives_the_nlls_of_its_training(
    text: Path, tmp_path: Path, options: dict[str, Any], fake_count: float | None
) -> None:
    expected = train(tmp_path, text, fake_count, **options)
    asked = zip(("train", "val", "test"), options.get("splits", (1, 1, 1)), strict=True)
    assert list(expected) == [split for split, ratio in asked if ratio]
    evaluation = evaluate(load(tmp_path))
    assert evaluation.nlls == expected
    assert evaluation.changes == []


def test_separate_files_are_separate_splits(text: Path, tmp_path: Path) -> None:
    for name, line in (("val", "lala"), ("test", "noo")):
        (tmp_path / name).write_text(f"{line}\n")
    expected = train(tmp_path, text, 1.0, val_path=str(tmp_path / "val"), test_path=str(tmp_path / "test"))
    evaluation = evaluate(load(tmp_path))
    assert evaluation.nlls == expected
    assert [nll.characters for nll in evaluation.nlls.values()] == [sum(len(word) + 1 for word in WORDS), 5, 4]


def test_another_working_directory_changes_nothing(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = train(tmp_path, Path(text.name))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert evaluate(load("..")).nlls == expected


def test_a_file_that_was_touched_has_not_changed(text: Path, tmp_path: Path) -> None:
    expected = train(tmp_path, text)
    os.utime(text, (1, 1))
    assert evaluate(load(tmp_path)) == Evaluation(expected, [])


def test_a_text_that_has_changed_is_named(text: Path, tmp_path: Path) -> None:
    train(tmp_path, text, 0.5)
    text.write_text("\n".join([*WORDS, "nano"]) + "\n")
    evaluation = evaluate(load(tmp_path))
    (change,) = evaluation.changes
    assert f"{text} has changed since training" in change
    assert "\n" not in change
    assert evaluation.as_dict()["text_changed"] is True
    assert sum(nll.characters for nll in evaluation.nlls.values()) == sum(len(word) + 1 for word in [*WORDS, "nano"])


def test_a_text_that_has_changed_is_evaluated_in_the_models_vocabulary(text: Path, tmp_path: Path) -> None:
    train(tmp_path, text, 0.5)
    # without some of the characters that there were
    words = ["nana", "lala", "lan", "nal", "naan", "laan", "ala", "ana", "aln"]
    text.write_text("\n".join(words) + "\n")
    model = load(tmp_path)
    log_likelihood = sum(word.log_likelihood for word in score(model.network, model.vocabulary, words))
    assert sum(nll.total for nll in evaluate(model).nlls.values()) == pytest.approx(-log_likelihood)


def test_of_several_files_only_the_one_that_has_changed_is_named(text: Path, tmp_path: Path) -> None:
    val = tmp_path / "val.txt"
    val.write_text("lala\n")
    train(tmp_path, text, 0.5, val_path=str(val))
    val.write_text("lala\nnano\n")
    (change,) = evaluate(load(tmp_path)).changes
    assert str(val) in change
    assert str(text) not in change


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"the text of .*\.ckpt is gone: .*words\.txt; put it back"),
        (b"", r"words\.txt has changed since .*words\.txt: has no text"),
        (
            b"anna\nquinn\n",
            r"words\.txt has changed since .*the character 'q' in .*words\.txt is not in the vocabulary",
        ),
        (b"anna\n\xff\n", r"words\.txt has changed since .*words\.txt: line 2, byte 1 is not UTF-8"),
        (b"anna\n", r"words\.txt has changed since .*the training split would be empty"),
    ],
    ids=["gone", "emptied", "unknown character", "binary", "too short"],
)
def test_a_text_that_cannot_be_used_any_more(text: Path, tmp_path: Path, content: bytes | None, message: str) -> None:
    train(tmp_path, text)
    text.unlink()
    if content is not None:
        text.write_bytes(content)
    model = load(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        evaluate(model)
    assert "\n" not in str(caught.value)


# --- another text


@pytest.mark.parametrize("fake_count", [None, 0.5])
@pytest.mark.parametrize("boundary", ["shared", "separate"])
def test_another_text_is_evaluated_as_a_whole_in_the_models_vocabulary(
    text: Path, tmp_path: Path, fake_count: float | None, boundary: str
) -> None:
    train(tmp_path, text, fake_count, boundary=boundary)
    other = tmp_path / "other.txt"
    other.write_text("noa\n\nhal\r\n")
    model = load(tmp_path)
    evaluation = evaluate(model, other)
    assert list(evaluation.nlls) == ["text"]
    assert evaluation.nlls["text"].characters == 8
    log_likelihood = sum(word.log_likelihood for word in score(model.network, model.vocabulary, ["noa", "hal"]))
    assert evaluation.nlls["text"].total == pytest.approx(-log_likelihood, rel=1e-6)
    assert evaluation.changes == []


def test_another_text_does_not_need_the_models_own(text: Path, tmp_path: Path) -> None:
    train(tmp_path, text, 0.5)
    other = text.rename(tmp_path / "other.txt")
    assert evaluate(load(tmp_path), str(other)).nlls["text"].characters == sum(len(word) + 1 for word in WORDS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("anna\nann\nquinn\n", r"the character 'q' in .*other\.txt is not in the vocabulary; it has ahlno"),
        ("\n \n", "has no text"),
    ],
)
def test_another_text_that_cannot_be_used(text: Path, tmp_path: Path, content: str | None, message: str) -> None:
    train(tmp_path, text)
    other = tmp_path / "other.txt"
    if content is not None:
        other.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        evaluate(load(tmp_path), other)
    assert "\n" not in str(caught.value)


# --- as JSON


def test_metrics_of_every_split_are_in_one_dict() -> None:
    metrics = metrics_dict({"train": NLL(math.log(2), 1), "val": NLL(math.inf, 1)})
    assert metrics == {
        "train/nll": pytest.approx(math.log(2)),
        "train/bits_per_char": pytest.approx(1),
        "train/perplexity": pytest.approx(2),
        "val/nll": None,
        "val/bits_per_char": None,
        "val/perplexity": None,
        "val/infinite": True,
    }


def test_an_infinite_nll_is_evaluated_and_written(text: Path, tmp_path: Path) -> None:
    # no fake counts: what validation has and training has not is impossible
    train(tmp_path, text, 0, splits=(0.5, 0.5, 0))
    evaluation = evaluate(load(tmp_path))
    assert evaluation.nlls["val"].nats == math.inf
    evaluation.write(tmp_path / "metrics.json")
    written = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert written == evaluation.as_dict()
    assert written["val/nll"] is None
    assert written["val/infinite"] is True
    assert written["text_changed"] is False


def test_a_place_that_cannot_be_written_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/metrics\.json: cannot be written: No such file or directory"):
        Evaluation({"train": NLL(1.0, 1)}, []).write(tmp_path / "nowhere" / "metrics.json")
