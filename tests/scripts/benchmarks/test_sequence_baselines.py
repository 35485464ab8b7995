"""Checks that makemore's loops compute what our models over lines do, so that only the time differs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.sequence_baselines import BATCH, LR, RecurrentNetwork, Transformer, generate, training_loop, whole_nll
from benchmarks.sequence_cases import baseline_of, padded_split, stepper
from makemore.data.corpus import Corpus, read_corpus
from makemore.data.options import CorpusOptions
from makemore.inference.likelihood import exact_nll
from makemore.training.module import NeuralLanguageModel

ARGUMENTS = {
    "gru": {"embedding_dim": 6, "hidden_dim": 8},
    "lstm": {"embedding_dim": 6, "hidden_dim": 8},
    "transformer": {"embedding_dim": 8, "num_layers": 2, "num_heads": 2},
}


@pytest.fixture(scope="module")
def corpus(text: Path) -> Corpus:
    return read_corpus(CorpusOptions(str(text)))


def adamw(groups: object) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=LR, fused=True)  # type: ignore[arg-type]


def pair_of(architecture: str, corpus: Corpus) -> tuple[NeuralLanguageModel, RecurrentNetwork | Transformer]:
    """Return ours and makemore's, with our weights where both have the same; the GRU's reset gates differ."""
    arguments = ARGUMENTS[architecture] | {"block_size": int(corpus.lengths.max())}
    ours = NeuralLanguageModel(architecture, corpus.vocabulary, adamw, **arguments)
    torch.manual_seed(0)
    theirs = baseline_of(architecture, corpus.vocabulary.size, arguments)
    if architecture != "gru":
        # the start that makemore learns is zeros at first, as ours always is
        parameters = [parameter for name, parameter in theirs.named_parameters() if name != "start"]
        with torch.no_grad():
            for parameter, own in zip(parameters, ours.network.parameters(), strict=True):
                assert parameter.shape == own.shape
                parameter.copy_(own)
    return ours, theirs


@pytest.mark.parametrize(("architecture", "apart"), [("gru", 0.3), ("lstm", 1e-6), ("transformer", 1e-6)])
def test_the_nll_is_ours(architecture: str, apart: float, corpus: Corpus) -> None:
    ours, theirs = pair_of(architecture, corpus)
    windows = corpus.windows("val", ours.block_size).counted()
    expected = exact_nll(ours.network, windows).nats
    assert whole_nll(theirs, *padded_split(corpus, "val")) == pytest.approx(expected, abs=apart, rel=0)


@pytest.mark.parametrize(("architecture", "apart"), [("gru", 0.2), ("lstm", 0.02), ("transformer", 1e-4)])
def test_the_steps_are_ours(architecture: str, apart: float, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pair_of(architecture, corpus)
    lines = corpus.lines("train", ours.block_size)
    torch.manual_seed(1)
    found = training_loop(theirs, *padded_split(corpus, "train"), 20)
    torch.manual_seed(1)
    drawn = np.stack([torch.randint(0, len(lines), (BATCH,)).numpy() for _ in found])
    monkeypatch.setattr("benchmarks.sequence_cases.replacement_rows", lambda *_: drawn)
    assert found == pytest.approx(stepper(ours, lines)(20).tolist(), abs=apart, rel=0)
    assert found[-1] < found[0]


@pytest.mark.parametrize("architecture", ["gru", "transformer"])
def test_names_are_drawn_from_the_models_distribution(architecture: str) -> None:
    # a model that has learnt the one name
    network = baseline_of(architecture, 3, ARGUMENTS[architecture] | {"block_size": 3})
    torch.manual_seed(1)
    training_loop(network, torch.tensor([[0, 1, 2]]), torch.tensor([[1, 2, 0]]), 150)
    names = [*generate(network, "ab", 30), *(name for _ in range(10) for name in generate(network, "ab"))]
    assert len(names) == 40
    assert names.count("ab") > 30
