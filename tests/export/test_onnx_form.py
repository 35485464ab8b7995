"""Checks that the ONNX form of every model gives what the model gives, and what the check makes of others."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

import every_model
from makemore.data.corpus import read_corpus
from makemore.errors import UserError
from makemore.export.onnx_check import NUM_CONTEXTS, TOLERANCE, greatest_difference, trial_lines
from makemore.export.onnx_form import OnnxForm, StateInput, onnx_form
from makemore.models.network import _REGISTRY, architectures

# elsewhere: here, and in the tests of a whole export
TRIED = {"mixture", "ngram", "rnn", "bigram", "transformer"}


def checked(text: Path, architecture: str, boundary: str = "shared", more: str | None = None) -> OnnxForm:
    """Return the form of a small network after its check."""
    vocabulary = read_corpus(every_model.options(text, boundary)).vocabulary
    network = every_model.network(architecture, text, boundary, more)
    form = onnx_form(network, vocabulary)
    assert greatest_difference(form, network, vocabulary) <= TOLERANCE
    onnx.checker.check_model(form.content)
    # nor where the code is
    assert b".py" not in form.content
    return form


def test_the_small_models_are_all_there_are() -> None:
    architectures()
    # tests register networks of their own
    shipped = {name for name, network in _REGISTRY.items() if network.__module__.startswith("makemore.models.")}
    assert shipped == set(every_model.SMALL)


@pytest.mark.slow
def test_a_mixture_takes_the_states_of_its_parts(text: Path) -> None:
    form = checked(text, "mixture", "separate")
    start = read_corpus(every_model.options(text, "separate")).vocabulary.start
    # tokens before those of a line are start tokens, all else is zero, and the cache grows from nothing
    assert start > 0
    assert form.states == [
        StateInput((2,), "int64", start),
        StateInput((4,), "float32", 0),
        StateInput((), "int64", 0),
        *[StateInput((2, 0, 4), "float32", 0)] * 2,
    ]


def test_a_step_takes_a_state(text: Path) -> None:
    form = checked(text, "rnn")
    assert form.states == [StateInput((6,), "float32", 0)]


def test_contexts_of_any_number_are_taken(text: Path) -> None:
    form = checked(text, "ngram")
    assert form.states == []
    shapes = [
        [dimension.dim_param or dimension.dim_value for dimension in each.type.tensor_type.shape.dim]
        for each in (
            *onnx.load_from_string(form.content).graph.input,
            *onnx.load_from_string(form.content).graph.output,
        )
    ]
    assert shapes == [["N", 2], ["N", 27]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture", [name for name in every_model.SMALL if name not in ("mixture", "kneser_ney", "lstm")]
)
def test_every_model_gives_what_it_gives(architecture: str, text: Path) -> None:
    form = checked(text, architecture)
    assert bool(form.states) == (every_model.network(architecture, text).reads == "lines")


@pytest.mark.slow
@pytest.mark.parametrize("more", ["learned positions", "zerogram", "unigram of Kneser-Ney"])
def test_so_do_others(more: str, text: Path) -> None:
    checked(text, every_model.MORE[more][0], more=more)


def test_trial_lines_have_the_contexts_of_items_and_of_noise(text: Path) -> None:
    vocabulary = read_corpus(every_model.options(text)).vocabulary
    for architecture in ("kneser_ney", "gru"):
        lines = trial_lines(every_model.network(architecture, text), vocabulary)
        assert lines.numel() >= NUM_CONTEXTS
        assert (lines[:, 0] == vocabulary.start).all()
        assert lines[:, 1:].unique().tolist() == list(range(vocabulary.size))
        assert torch.equal(lines, trial_lines(every_model.network(architecture, text), vocabulary))


def test_a_form_of_other_weights_is_noticed(text: Path) -> None:
    vocabulary = read_corpus(every_model.options(text)).vocabulary
    network = copy.deepcopy(every_model.network("bigram", text))
    form = onnx_form(network, vocabulary)
    with torch.no_grad():
        network.get_parameter("W")[3, 4] += 1e-3
    with pytest.raises(UserError, match=r"its ONNX form differs by .*e-04, more than 1e-05"):
        greatest_difference(form, network, vocabulary)
    with pytest.raises(UserError, match="onnxruntime cannot run its ONNX form"):
        greatest_difference(replace(form, content=form.content[:100]), network, vocabulary)


def test_a_network_without_a_form_is_one_line(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise torch.onnx.errors.OnnxExporterError("no function for aten.mode\nand a long story")

    monkeypatch.setattr("torch.onnx.export", refuse)
    vocabulary = read_corpus(every_model.options(text)).vocabulary
    with pytest.raises(UserError, match=r"torch.onnx cannot translate the network: no function for aten.mode$"):
        onnx_form(every_model.network("bigram", text), vocabulary)
