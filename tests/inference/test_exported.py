"""Checks exported models: each comes back as it was, to the bit, and what is not whole or not ours is one line."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

import every_model
import makemore
from makemore.checkpoints import EXPORTED_WEIGHTS, RECORD_KEY, read
from makemore.errors import UserError
from makemore.inference.evaluation import evaluate
from makemore.inference.exported import CONFIG, exported_files
from makemore.inference.trained_model import load

WORDS = ["anna", "x", "zyzzyva"]


def export(checkpoint: Path, directory: Path) -> Path:
    directory.mkdir()
    for name, content in exported_files(load(checkpoint).network.state_dict(), read(checkpoint)[RECORD_KEY]).items():
        (directory / name).write_bytes(content)
    return directory


@pytest.fixture
def exported(text: Path, tmp_path: Path) -> Path:
    """The export of a trigram."""
    return export(every_model.checkpoint(tmp_path / "run", text, "ngram"), tmp_path / "exported")


_ALL = [(name, None) for name in every_model.SMALL] + [(name, more) for more, (name, _) in every_model.MORE.items()]


@pytest.mark.parametrize(
    ("architecture", "more"),
    # a mixture has three of them
    [pytest.param(*each, marks=[] if each[0] in ("mixture", "ngram") else pytest.mark.full) for each in _ALL],
)
def test_every_model_comes_back_to_the_bit(architecture: str, more: str | None, text: Path, tmp_path: Path) -> None:
    checkpoint = every_model.checkpoint(tmp_path / "run", text, architecture, more)
    model = load(checkpoint)
    for path in (export(checkpoint, tmp_path / "exported"), tmp_path / "exported" / EXPORTED_WEIGHTS):
        again = makemore.load(path)
        assert again.path == tmp_path / "exported" / EXPORTED_WEIGHTS
        assert (again.architecture, again.arguments, again.step) == (architecture, model.arguments, 7)
        assert (again.vocabulary, again.options, again.sha256) == (model.vocabulary, model.options, model.sha256)
        state = again.network.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in model.network.state_dict().items())
    assert again.nll(WORDS) == model.nll(WORDS)
    assert again.sample(5, seed=3) == model.sample(5, seed=3)
    assert evaluate(again).as_dict() == evaluate(model).as_dict()


def test_no_pickle_and_no_path_of_a_file_but_the_text(exported: Path, text: Path) -> None:
    config = json.loads((exported / CONFIG).read_text())
    assert config["schema_version"] == 1
    assert config[RECORD_KEY]["model"] == {"architecture": "ngram", "arguments": {"order": 3}}
    assert config[RECORD_KEY]["data"]["options"]["path"] == str(text)
    weights = (exported / EXPORTED_WEIGHTS).read_bytes()
    assert weights[8:9] == b"{"
    assert b"torch" not in weights


def refusal(path: Path) -> str:
    """Return the message of the `UserError` that loading raises: one line that names the directory."""
    with pytest.raises(UserError) as caught:
        makemore.load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, -1])
def test_a_truncated_file_is_noticed(exported: Path, length: int) -> None:
    path = exported / EXPORTED_WEIGHTS
    path.write_bytes(path.read_bytes()[:length])
    assert "is damaged (its sha256 is not that of config.json); export the run again" in refusal(exported)


Edit = Callable[[dict[str, Any]], object]


def edit(exported: Path, change: Edit, weights: bytes | None = None) -> Path:
    """Change the JSON, and the tensors, with their digests, as somebody would who knows of them."""
    config = json.loads((exported / CONFIG).read_text())
    # the first exports had none
    del config["record_sha256"]
    if weights is not None:
        (exported / EXPORTED_WEIGHTS).write_bytes(weights)
        config["sha256"] = hashlib.sha256(weights).hexdigest()
    change(config)
    (exported / CONFIG).write_text(json.dumps(config))
    return exported


def unchanged(_: dict[str, Any]) -> None:
    """Change nothing."""


ORDERLY = {"base": torch.tensor([27, 3]), "codes": torch.arange(3), "counts": torch.ones(3, dtype=torch.int64)}


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (b"", "is damaged"),
        (b"\xff" * 8, "is damaged"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "is damaged"),
        (b"\x02\0\0\0\0\0\0\0{}", "is damaged"),
        (b'\x40\0\0\0\0\0\0\0{"base":{"dtype":"I64","shape":[9000000],"data_offsets":[0,72]}}' + bytes(72), "damaged"),
        (save(ORDERLY | {"base": torch.tensor([28, 3])}), "the counts are of another vocabulary or order"),
        (save(ORDERLY | {"counts": torch.ones(2, dtype=torch.int64)}), "codes and counts are not of the same length"),
        (save(ORDERLY | {"counts": torch.ones(3)}), "counts is not a plain tensor of torch.int64"),
        (save(ORDERLY | {"../../evil": torch.ones(3)}), "is damaged"),
        (save({"base": ORDERLY["base"]}), "is damaged"),
    ],
)
def test_hostile_tensors_are_one_line(exported: Path, weights: bytes, says: str) -> None:
    assert says in refusal(edit(exported, unchanged, weights))


def test_orderly_tensors_are_taken(exported: Path) -> None:
    assert load(edit(exported, unchanged, save(ORDERLY))).nll(["b"])


def at(*keys: str, value: Any) -> Edit:
    """Return the edit that sets a value of the record."""

    def change(config: dict[str, Any]) -> None:
        place = config[RECORD_KEY]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda config: config.update(schema_version=2), "has schema version 2, this program reads 1; update it"),
        (lambda config: config.update(schema_version=True), "has schema version True"),
        (lambda config: config.clear(), "is not of an export of this project"),
        (lambda config: config.pop("sha256"), "is damaged"),
        (lambda config: config.pop(RECORD_KEY), "is damaged"),
        (lambda config: config.update({RECORD_KEY: [1]}), "is damaged"),
        (at("model", "architecture", value="os.system"), "model.architecture must be one of bigram"),
        (at("model", "architecture", value="../../mlp"), "model.architecture must be one of bigram"),
        (at("model", "architecture", value=None), "model.architecture must be one of bigram"),
        (at("model", "architecture", value="mlp"), "model mlp takes no order"),
        (at("model", "arguments", value={"order": 4}), "of another vocabulary or order"),
        (at("model", "arguments", value={"order": 1e99}), "model.order must be a whole number"),
        (at("model", "arguments", value={"_target_": "os.system"}), "takes no _target_"),
        (at("vocabulary", "characters", value="abc"), "of another vocabulary or order"),
        (at("vocabulary", "characters", value="aa"), "has a character twice"),
        (at("vocabulary", "characters", value=["a"]), "are not text"),
        (at("data", "options", "path", value=None), "is not text"),
        (at("data", "options", "splits", value=[1]), "data.splits must be three ratios"),
        (at("data", "sha256", value={}), "is damaged"),
        (at("step", value=-1), "step must be at least 0"),
    ],
)
def test_a_hostile_json_is_one_line(exported: Path, change: Edit, says: str) -> None:
    assert says in refusal(edit(exported, change))


def test_a_letter_in_the_place_of_another_is_noticed(exported: Path) -> None:
    config = json.loads((exported / CONFIG).read_text())
    letters = config[RECORD_KEY]["vocabulary"]["characters"]
    config[RECORD_KEY]["vocabulary"]["characters"] = letters[::-1]
    (exported / CONFIG).write_text(json.dumps(config))
    assert f"{exported / CONFIG}: is damaged (its sha256 is not that of its" in refusal(exported)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'"config"'])
def test_what_is_no_json_of_an_export_is_one_line(exported: Path, content: bytes) -> None:
    (exported / CONFIG).write_bytes(content)
    message = refusal(exported)
    assert "is damaged (no JSON" in message or "is not of an export of this project" in message


def test_what_is_missing_is_one_line(exported: Path) -> None:
    (exported / CONFIG).unlink()
    assert f"{exported / CONFIG}: cannot be read: No such file or directory; it stands beside" in refusal(exported)
    (exported / EXPORTED_WEIGHTS).unlink()
    assert "has no checkpoints" in refusal(exported)


def test_a_text_that_is_a_trick_is_read_as_a_text(exported: Path) -> None:
    model = load(edit(exported, at("data", "options", "path", value="../../../../etc/no such file")))
    with pytest.raises(UserError, match=r"the text of .* is gone: ../../../../etc/no such file"):
        evaluate(model)


def test_without_the_package_it_says_how_to_install_it(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    assert "needs the package safetensors: pip install" in refusal(exported)
