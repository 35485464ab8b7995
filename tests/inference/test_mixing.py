"""Checks the mixing of trained models: weights of the greatest likelihood, checkpoints, and what is refused."""

import gc
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from makemore.data.corpus import Corpus, read_corpus
from makemore.data.options import CorpusOptions
from makemore.errors import UserError
from makemore.inference import mixing
from makemore.inference.evaluation import counted_splits, split_nlls
from makemore.inference.mixing import em_weights, mix, mix_with_counts
from makemore.inference.trained_model import TrainedModel, load
from makemore.models.mixture import Mixture
from makemore.models.network import Counted, build

GRU = ("gru", {"block_size": 12, "embedding_dim": 3, "hidden_dim": 4})
SHORT_GRU = ("gru", {"block_size": 5, "embedding_dim": 3, "hidden_dim": 4})
MLP = ("mlp", {"block_size": 3, "embedding_dim": 2, "hidden_dim": 4})
KNESER_NEY = ("kneser_ney", {"order": 4})
TRIGRAM = ("ngram", {"order": 3})


def trained_on(options: CorpusOptions, named: tuple[str, dict[str, Any]], seed: int = 0) -> TrainedModel:
    """A model of a text as its checkpoint has it, a network with its initial weights."""
    corpus = read_corpus(options)
    network = build(named[0], corpus.vocabulary.size, named[1], seed).eval()
    if isinstance(network, Counted):
        network.count(counted_splits(corpus, network)["train"])
    path = Path(f"{named[0]}-{seed}")
    return TrainedModel(path, *named, network, corpus.vocabulary, options, corpus.sha256, 7)


def likelihood(weights: Tensor, log_probs: Tensor, counts: Tensor) -> Tensor:
    return (counts * (log_probs + weights.log().unsqueeze(-1)).logsumexp(0)).sum()


PROBABILITIES = st.lists(
    st.tuples(st.floats(0.001, 0.999), st.floats(0.001, 0.999), st.integers(1, 5)), min_size=1, max_size=6
)


@settings(max_examples=20)
@given(examples=PROBABILITIES)
def test_weights_have_the_greatest_likelihood(examples: list[tuple[float, float, int]]) -> None:
    log_probs = torch.tensor([example[:2] for example in examples], dtype=torch.float64).T.log()
    counts = torch.tensor([example[2] for example in examples], dtype=torch.float64)
    found = em_weights(log_probs, counts)
    assert float(found.sum()) == pytest.approx(1)
    share = torch.linspace(0, 1, 1001, dtype=torch.float64)
    mixed = torch.outer(share, log_probs[0].exp()) + torch.outer(1 - share, log_probs[1].exp())
    best = float((mixed.log() @ counts).max())
    # EM is slow where the likelihood is flat
    assert float(likelihood(found, log_probs, counts)) >= best - 1e-4 * float(counts.sum())


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), parts=st.integers(1, 4))
def test_no_iteration_lowers_the_likelihood(seed: int, parts: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_probs = torch.randn(parts, 20, dtype=torch.float64, generator=generator).log_softmax(1)
    counts = torch.randint(1, 9, (20,), generator=generator).double()
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for iterations in range(8):
            patch.setattr("makemore.inference.mixing._MOST_ITERATIONS", iterations)
            found.append(float(likelihood(em_weights(log_probs, counts), log_probs, counts)))
    assert all(after >= before - 1e-9 for before, after in pairwise(found))


def test_weights_of_parts_to_which_something_is_impossible() -> None:
    half, never = torch.tensor(0.5).log().item(), -torch.inf
    counts = torch.ones(4, dtype=torch.float64)

    def weights(*log_probs: list[float]) -> list[float]:
        return em_weights(torch.tensor(log_probs, dtype=torch.float64), counts).tolist()

    # each alone gives two of the four a chance
    assert weights([half, half, never, never], [never, never, half, half]) == pytest.approx([0.5, 0.5])
    assert weights([half, half, half, never], [never, never, never, half]) == pytest.approx([0.75, 0.25])
    # what is impossible to all decides nothing
    assert weights([half, half, never, never], [never, half, never, never]) == pytest.approx([1, 0], abs=1e-4)
    assert weights([never] * 4, [never] * 4) == [0.5, 0.5]


@pytest.mark.parametrize(
    ("by", "parts"),
    [
        ("line", (GRU, KNESER_NEY, MLP)),
        # the longer lines are beyond what the second sees
        ("line", (GRU, SHORT_GRU)),
        ("example", (SHORT_GRU, KNESER_NEY)),
        ("line", (MLP, TRIGRAM)),
        ("example", (("ngram", {"order": 1}), ("bigram", {}))),
        # longer contexts than the longest line
        ("line", (("mlp", MLP[1] | {"block_size": 16}), ("gru", GRU[1] | {"block_size": 20}))),
    ],
)
def test_its_nlls_are_those_of_its_checkpoint(parts: Any, by: str, text: Path, tmp_path: Path) -> None:
    options = CorpusOptions(str(text), by=by)
    models = [trained_on(options, named, seed) for seed, named in enumerate(parts)]
    mixed = mix(models)
    path = mixed.write(tmp_path)
    assert path == tmp_path / "checkpoints" / "step-00000007.ckpt"
    loaded = load(tmp_path)
    assert (loaded.architecture, loaded.step, loaded.vocabulary) == ("mixture", 7, models[0].vocabulary)
    nlls = split_nlls(loaded.network, counted_splits(read_corpus(options), loaded.network))
    assert list(nlls) == list(mixed.nlls) == ["train", "val", "test"]
    for split, nll in nlls.items():
        assert (nll.nats, nll.characters) == (
            pytest.approx(mixed.nlls[split].nats, abs=1e-5),
            mixed.nlls[split].characters,
        )
    # no worse than its best part, on the split of its weights
    assert mixed.nlls["val"].nats <= min(nll.nats for nll in mixed.nlls_of_parts) + 1e-6
    assert len(loaded.sample(3)) == 3
    assert loaded.nll(["anna"])[0] < 20


def test_a_mixture_of_mixtures_is_a_mixture(text: Path, tmp_path: Path) -> None:
    options = CorpusOptions(str(text))
    gru, mlp, counts = (trained_on(options, named) for named in (GRU, MLP, KNESER_NEY))
    first = load(mix([gru, mlp]).write(tmp_path / "first"))
    both = mix([first, counts])
    loaded = load(both.write(tmp_path / "both"))
    nlls = split_nlls(loaded.network, counted_splits(read_corpus(options), loaded.network))
    assert nlls["val"].nats == pytest.approx(both.nlls["val"].nats, abs=1e-5)
    assert loaded.sample(3) == loaded.sample(5)[:3]


def test_what_is_mixed_at_once_changes_nothing(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [trained_on(CorpusOptions(str(text)), named) for named in (GRU, KNESER_NEY, MLP)]
    whole = mix(models)
    monkeypatch.setattr(mixing, "_CHUNK", 7)
    parts = mix(models)
    assert torch.equal(parts.network.weights, whole.network.weights)
    for split, nll in whole.nlls.items():
        assert parts.nlls[split].total == pytest.approx(nll.total, rel=1e-15)


def test_a_run_that_has_ended_leaves_no_windows_in_memory_while_it_is_mixed(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = CorpusOptions(str(text))
    path = mix([trained_on(options, GRU), trained_on(options, MLP)]).write(tmp_path)
    # so that it does not go by chance
    gc.disable()
    # as the Trainer, the model and the data of a run do, it refers to itself
    data = torch.nn.Module()
    data.__dict__["trainer"] = [data]
    gone = weakref.ref(data)
    del data
    found, splits = mixing.target_log_probs, []

    def target_log_probs(mixture: Mixture, corpus: Corpus, split: str) -> tuple[Tensor, Tensor]:
        assert gone() is None
        splits.append(split)
        return found(mixture, corpus, split)

    monkeypatch.setattr(mixing, "target_log_probs", target_log_probs)
    try:
        assert mix_with_counts(path, read_corpus(options)) is not None
    finally:
        gc.enable()
    assert sorted(splits) == ["test", "train", "val"]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"split_seed": 1}, "have different data.split_seed: 0 and 1"),
        ({"by": "example"}, "have different data.by: line and example"),
        ({"splits": (0.6, 0.2, 0.2)}, "have different data.splits: (0.8, 0.1, 0.1) and (0.6, 0.2, 0.2)"),
        ({"boundary": "separate"}, "have different vocabularies"),
        ({"path": "other.txt"}, "have different vocabularies"),
        ({"path": "shuffled.txt"}, "were trained on different texts"),
    ],
)
def test_models_of_other_texts_or_splits_are_refused(
    changed: dict[str, Any], what: str, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.txt").write_text(
        "zoë\nñandú\nánna\nbób\n" * 3 + "".join(f"ñ{a}{b}\n" for a in "abcde" for b in "fghij")
    )
    Path("shuffled.txt").write_text("\n".join(sorted(text.read_text().split())) + "\n")
    options = CorpusOptions(str(text))
    first, other = trained_on(options, GRU), trained_on(replace(options, **changed), MLP, seed=1)
    with pytest.raises(UserError) as error:
        mix([first, other])
    assert str(error.value) == f"gru-0 and mlp-1 {what}; mix models of the same text and splits"


def test_a_text_elsewhere_is_the_same_text(text: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.txt").write_bytes(text.read_bytes())
    first = trained_on(CorpusOptions(str(text)), KNESER_NEY)
    other = trained_on(CorpusOptions(str(tmp_path / "copy.txt")), TRIGRAM)
    assert mix([first, other]).nlls["val"].nats < 4


def test_a_text_that_has_changed_or_has_no_validation_split_is_refused(text: Path, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(text.read_bytes())
    model = trained_on(CorpusOptions(str(path)), KNESER_NEY)
    path.write_text(text.read_text() + "anna\n")
    with pytest.raises(UserError, match="has changed since training"):
        mix([model, model])
    path.unlink()
    with pytest.raises(UserError, match="is gone"):
        mix([model, model])
    without = trained_on(CorpusOptions(str(text), splits=(0.9, 0, 0.1)), KNESER_NEY)
    with pytest.raises(UserError, match=r"fitted on the validation split, which is empty; see data\.splits"):
        mix([without, without])
