"""Checks the NLL by hand and against a plain loop over examples: exact, token weighted, whatever the chunk size."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.windows import CountedWindows
from makemore.inference import likelihood
from makemore.inference.evaluation import metrics_dict
from makemore.inference.likelihood import NLL, exact_nll
from makemore.models.network import Counted, Network, build

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


class FixedProbabilities(Network):
    """Gives the probabilities (V, V) of what follows the one token of context."""

    block_size = 1

    def __init__(self, probabilities: list[list[float]]) -> None:
        super().__init__()
        self.table = torch.tensor(probabilities, dtype=torch.float64).log()
        self.vocab_size = len(probabilities)

    def forward(self, contexts: torch.Tensor) -> torch.Tensor:
        return self.table[contexts[:, 0]]


def counted(counts: dict[tuple[tuple[int, ...], int], int]) -> CountedWindows:
    pairs = sorted(counts)
    contexts = sorted({context for context, _ in pairs})
    return CountedWindows(
        contexts=torch.tensor(contexts),
        pair_context=torch.tensor([contexts.index(context) for context, _ in pairs]),
        pair_target=torch.tensor([target for _, target in pairs]),
        pair_count=torch.tensor([counts[pair] for pair in pairs]),
    )


def test_bits_and_perplexity_of_a_coin() -> None:
    coin = NLL(total=10 * math.log(2), characters=10)
    assert coin.nats == pytest.approx(math.log(2))
    assert coin.bits_per_char == pytest.approx(1)
    assert coin.perplexity == pytest.approx(2)


@given(total=st.floats(0, 500), characters=st.integers(1, 10_000))
def test_the_three_measures_agree(total: float, characters: int) -> None:
    nll = NLL(total, characters)
    assert nll.nats * characters == pytest.approx(total)
    assert 2**nll.bits_per_char == pytest.approx(nll.perplexity)
    assert math.log(nll.perplexity) == pytest.approx(nll.nats, abs=1e-9)


def test_an_infinite_nll_is_infinite_in_every_measure() -> None:
    nll = NLL(math.inf, 3)
    assert (nll.nats, nll.bits_per_char, nll.perplexity) == (math.inf, math.inf, math.inf)


def test_a_finite_nll_as_a_dict() -> None:
    assert metrics_dict({"val": NLL(8 * math.log(2), 4)}) == pytest.approx(
        {"val/nll": 2 * math.log(2), "val/bits_per_char": 2, "val/perplexity": 4}
    )


def test_an_infinite_nll_is_null_with_a_flag() -> None:
    assert metrics_dict({"test": NLL(math.inf, 4)}) == {
        "test/nll": None,
        "test/bits_per_char": None,
        "test/perplexity": None,
        "test/infinite": True,
    }


# a network that diverged may give 800 nats a character, whose exponential is beyond a float
@pytest.mark.parametrize("nats", [0.0, 2.5, 699.0, 701.0, 800.0, 1e300, math.inf])
def test_a_dict_is_valid_json(nats: float) -> None:
    values = json.loads(json.dumps(metrics_dict({"val": NLL(nats, 1)}), allow_nan=False))
    assert values["val/nll"] == (nats if math.isfinite(nats) else None)


def test_nll_that_is_not_a_number_is_not_called_infinite() -> None:
    values = metrics_dict({"val": NLL(math.nan, 1)})
    assert values["val/nll"] is None
    assert not values.get("val/infinite")


def test_exact_nll_by_hand() -> None:
    network = FixedProbabilities([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [1 / 3, 1 / 3, 1 / 3]])
    nll = exact_nll(network, counted({((0,), 1): 2, ((0,), 0): 1, ((1,), 1): 3, ((2,), 0): 1}))
    assert nll.characters == 7
    assert nll.total == pytest.approx(2 * math.log(4) + math.log(2) - 3 * math.log(0.8) + math.log(3))


def test_every_character_weighs_the_same_and_every_context_does_not() -> None:
    # one context seen 99 times and one seen once: the mean of their means would be (log 2 + log 4) / 2
    network = FixedProbabilities([[0.5, 0.5, 0], [0.75, 0.25, 0], [0, 0, 1]])
    nll = exact_nll(network, counted({((0,), 1): 99, ((1,), 1): 1}))
    assert nll.nats == pytest.approx((99 * math.log(2) + math.log(4)) / 100)


def test_an_impossible_character_makes_the_nll_infinite_and_an_absent_one_does_not() -> None:
    network = FixedProbabilities([[1, 0], [0.5, 0.5]])
    assert exact_nll(network, counted({((0,), 0): 5, ((1,), 0): 2})).total == pytest.approx(2 * math.log(2))
    assert exact_nll(network, counted({((0,), 0): 5, ((0,), 1): 1})).nats == math.inf


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("architecture", ["bigram", "mlp", "ngram", "kneser_ney"])
@settings(max_examples=25)
@given(
    examples=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40),
    rows=st.integers(1, 12),
    seed=st.integers(0, 100),
)
def test_nll_is_that_of_a_plain_loop_whatever_the_chunk_size(
    architecture: str, device: str, examples: list[tuple[int, ...]], rows: int, seed: int
) -> None:
    arguments = {"mlp": {"block_size": 2, "init": "normal"}, "bigram": {"init": "normal"}}
    network = build(architecture, 5, arguments.get(architecture, {"order": 3}), seed).to(device)
    pairs = [(example[2 - network.block_size : 2], example[2]) for example in examples]
    windows = counted({pair: pairs.count(pair) for pair in pairs}).to(torch.device(device))
    if isinstance(network, Counted):
        network.count(windows)
    total = 0.0
    with torch.no_grad():
        for context, target in pairs:
            logits = network(torch.tensor([context], device=device)).double()
            total -= logits.log_softmax(1)[0, target].item()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihood, "_ROWS", rows)
        nll = exact_nll(network, windows)
    assert nll.characters == len(examples)
    assert nll.total == pytest.approx(total, rel=1e-5, abs=1e-5)
