"""Checks mixtures: the weighted mean of probabilities by hand, of parts over windows and over lines."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from makemore.errors import UserError
from makemore.models.mixture import Mixture
from makemore.models.network import build, restore

V = 5
PARTS: dict[str, dict[str, Any]] = {
    "gru": {"architecture": "gru", "arguments": {"block_size": 9, "embedding_dim": 3, "hidden_dim": 4}},
    "lstm": {"architecture": "lstm", "arguments": {"block_size": 9, "embedding_dim": 3, "hidden_dim": 4}},
    "transformer": {
        "architecture": "transformer",
        "arguments": {"block_size": 9, "embedding_dim": 4, "num_layers": 1, "num_heads": 2},
    },
    "mlp": {"architecture": "mlp", "arguments": {"block_size": 3, "embedding_dim": 2, "hidden_dim": 4}},
    "bigram": {"architecture": "bigram", "arguments": {}},
    "unigram": {"architecture": "ngram", "arguments": {"order": 1}},
}


def mixture_of(*names: str, weights: list[float] | None = None, seed: int = 1) -> Mixture:
    network = build("mixture", V, {"parts": [PARTS[name] for name in names]}, 0)
    assert isinstance(network, Mixture)
    for number, (part, name) in enumerate(zip(network.parts, names, strict=True)):
        other = build(PARTS[name]["architecture"], V, PARTS[name]["arguments"], seed + number)
        part.load_state_dict(other.state_dict())
    if weights is not None:
        network.weights = torch.tensor(weights, dtype=torch.float64)
    return network.double().eval()


def random_tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_probabilities_are_the_weighted_mean_of_those_of_the_parts() -> None:
    network, tokens = mixture_of("gru", "mlp", "bigram", weights=[0.5, 0.3, 0.2]), random_tokens(2, 6)
    gru, mlp, bigram = network.parts
    found = network(tokens).exp()
    assert found.shape == (2, 6, V)
    for row, line in enumerate(tokens):
        for place in range(6):
            # before the first token there is nothing but that token, the start
            padded = torch.cat((line[:1].expand(3), line[: place + 1]))[-3:]
            expected = 0.5 * gru(line[None, : place + 1])[0, -1].softmax(-1)
            expected += 0.3 * mlp(padded[None])[0].softmax(-1) + 0.2 * bigram(line[None, place, None])[0].softmax(-1)
            torch.testing.assert_close(found[row, place], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 6, dtype=torch.float64))


@pytest.mark.parametrize(
    "names",
    [
        ("gru", "mlp"),
        ("mlp", "lstm", "unigram", "transformer"),
        ("bigram", "mlp"),
        ("unigram",),
        ("transformer", "transformer"),
    ],
)
@torch.no_grad()
def test_steps_give_what_the_whole_line_gives(names: tuple[str, ...]) -> None:
    network, tokens = mixture_of(*names), random_tokens(3, 7)
    state, found = None, []
    for column in tokens.T:
        kept = None if state is None else [part.clone() for part in state]
        log_probs, after = network.step(column, state)
        assert state is None or kept is None or all(map(torch.equal, state, kept)), "the state was changed in place"
        state = after
        assert all(len(part) == 3 for part in state)
        found.append(log_probs)
    torch.testing.assert_close(torch.stack(found, 1), network(tokens), rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_a_mixture_may_be_a_part() -> None:
    inner = {"architecture": "mixture", "arguments": {"parts": [PARTS["gru"], PARTS["mlp"]]}}
    network = build("mixture", V, {"parts": [PARTS["bigram"], inner]}, 0).double()
    assert isinstance(network, Mixture)
    tokens, state, found = random_tokens(2, 5), None, []
    for column in tokens.T:
        log_probs, state = network.step(column, state)
        found.append(log_probs)
    torch.testing.assert_close(torch.stack(found, 1), network(tokens), rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_what_one_part_has_never_seen_has_the_share_of_the_others() -> None:
    network = mixture_of("unigram", "bigram", weights=[0.75, 0.25])
    log_weights = torch.full((V,), -math.inf, dtype=torch.float64)
    log_weights[1] = 0.0
    network.parts[0].forward = lambda contexts: log_weights.expand(len(contexts), V)  # type: ignore[method-assign]
    token = torch.tensor([[2]])
    probs, of_bigram = network(token)[0, 0].exp(), network.parts[1](token)[0].softmax(-1)
    torch.testing.assert_close(probs, 0.25 * of_bigram + 0.75 * log_weights.exp())
    # nothing is impossible to a mixture that is not impossible to all its parts
    assert network(token).isfinite().all()
    network.weights = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert network(token)[0, 0].tolist() == log_weights.tolist()


@pytest.mark.parametrize("names", [("gru", "mlp"), ("mlp", "unigram")])
def test_it_is_restored_from_its_state(names: tuple[str, ...]) -> None:
    network = mixture_of(*names, weights=[0.9, 0.1])
    # as trained
    network.parts.float()
    arguments = {"parts": [PARTS[name] for name in names]}
    other = restore("mixture", V, arguments, copy.deepcopy(network.state_dict()))
    tokens = random_tokens(2, 6)
    assert torch.equal(other(tokens), network(tokens))
    assert network.weights.dtype == torch.float64


def test_it_sees_what_all_its_parts_over_lines_see() -> None:
    shorter = {"architecture": "gru", "arguments": {"block_size": 6}}
    assert build("mixture", V, {"parts": [PARTS["gru"], shorter]}, 0).block_size == 6
    assert build("mixture", V, {"parts": [PARTS["mlp"], PARTS["bigram"]]}, 0).block_size == 3
    assert build("mixture", V, {"parts": [PARTS["unigram"]]}, 0).block_size == 1


def test_what_does_not_mix_is_refused() -> None:
    with pytest.raises(UserError, match="a mixture needs parts"):
        build("mixture", V, {"parts": []}, 0)
    long = {"architecture": "ngram", "arguments": {"order": 12}}
    with pytest.raises(UserError) as error:
        build("mixture", V, {"parts": [PARTS["gru"], long]}, 0)
    what = "contexts of 11 tokens do not mix with model.block_size=9, the most that another part sees"
    assert str(error.value) == f"{what}; leave one of them out"
    with pytest.raises(UserError, match="model mixture takes no block_size; it takes parts"):
        build("mixture", V, {"parts": [PARTS["gru"]], "block_size": 3}, 0)
