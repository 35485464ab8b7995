"""Checks the MLP: draws, formula and sizes of the lesson (L2) and the lectures (part 3), its start, and bad sizes."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from makemore.errors import UserError
from makemore.models.mlp import MLP
from makemore.models.network import build, restore, tanh_activations
from makemore.training.draws import renewed_buffers, side_effects

LESSON_SEED = 2147483647


def lesson_draws() -> list[Tensor]:
    """Return C, W1, b1, W2, b2 as L2 draws them."""
    g = torch.Generator().manual_seed(LESSON_SEED)
    return [torch.randn(shape, generator=g) for shape in [(27, 2), (6, 100), (100,), (100, 27), (27,)]]


def first_five_words() -> tuple[Tensor, Tensor]:
    """Return the 32 examples of three characters, by the lesson's loop."""
    xs, ys = [], []
    for word in ["emma", "olivia", "ava", "isabella", "sophia"]:
        context = [0] * 3
        for character in word + ".":
            token = ".abcdefghijklmnopqrstuvwxyz".index(character)
            xs.append(context)
            ys.append(token)
            context = [*context[1:], token]
    return torch.tensor(xs), torch.tensor(ys)


@pytest.fixture
def lesson_mlp() -> MLP:
    return MLP(27, torch.Generator().manual_seed(LESSON_SEED), block_size=3, init="normal")


def test_init_normal_is_the_lessons_draws_to_the_bit(lesson_mlp: MLP) -> None:
    drawn = [lesson_mlp.C, lesson_mlp.W1, lesson_mlp.b1, lesson_mlp.W2, lesson_mlp.b2]
    assert all(torch.equal(ours, lessons) for ours, lessons in zip(drawn, lesson_draws(), strict=True))


@pytest.mark.parametrize("init", ["normal", "scaled"])
def test_the_lessons_sizes_make_3481_parameters(init: str) -> None:
    network = MLP(27, torch.Generator(), init=init)
    assert sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad) == 3481


def test_logits_are_the_lessons_formula(lesson_mlp: MLP) -> None:
    c, w1, b1, w2, b2 = lesson_draws()
    contexts, _ = first_five_words()
    hidden = torch.tanh(c[contexts].view(-1, 6) @ w1 + b1)
    torch.testing.assert_close(lesson_mlp(contexts), hidden @ w2 + b2)


def test_loss_of_the_first_five_words_before_training(lesson_mlp: MLP) -> None:
    contexts, targets = first_five_words()
    assert contexts.shape == (32, 3)
    assert F.cross_entropy(lesson_mlp(contexts), targets).item() == pytest.approx(17.769712448120117, abs=1e-5)


def test_the_order_of_the_context_matters(lesson_mlp: MLP) -> None:
    forward, backward = lesson_mlp(torch.tensor([[1, 2, 3], [3, 2, 1]]))
    assert not torch.allclose(forward, backward)


@pytest.mark.parametrize("seed", [0, 1, LESSON_SEED])
@pytest.mark.parametrize(
    ("vocab_size", "block_size", "embedding_dim", "hidden_dim"),
    [(27, 3, 2, 100), (27, 4, 16, 200), (100, 8, 32, 512), (2, 1, 1, 1)],
)
def test_init_scaled_starts_near_log_v(
    vocab_size: int, block_size: int, embedding_dim: int, hidden_dim: int, seed: int
) -> None:
    network = MLP(vocab_size, torch.Generator().manual_seed(seed), block_size, embedding_dim, hidden_dim)
    g = torch.Generator().manual_seed(7)
    contexts = torch.randint(0, vocab_size, (2000, block_size), generator=g)
    targets = torch.randint(0, vocab_size, (2000,), generator=g)
    nll = F.cross_entropy(network(contexts), targets).item()
    assert nll == pytest.approx(math.log(vocab_size), abs=0.05)


def test_init_scaled_keeps_the_hidden_units_alive() -> None:
    network = MLP(27, torch.Generator().manual_seed(0), block_size=8, embedding_dim=16, hidden_dim=200)
    contexts = torch.randint(0, 27, (1000, 8), generator=torch.Generator().manual_seed(7))
    hidden = torch.tanh(network.C[contexts].flatten(1) @ network.W1 + network.b1)
    assert (hidden.abs() > 0.99).float().mean() < 0.25
    assert hidden.std() > 0.3


@pytest.mark.parametrize("name", ["block_size", "embedding_dim", "hidden_dim", "num_layers"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "3", True, None])
def test_a_size_must_be_a_whole_number_of_at_least_one(name: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"model\.{name} must be .*, not "):
        MLP(27, torch.Generator(), **{name: value})  # type: ignore[arg-type]


def test_an_unknown_init_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"model\.init must be one of scaled, normal, small_output, .*, not 'xavier'"):
        MLP(27, torch.Generator(), init="xavier")


@pytest.mark.parametrize("name", ["batch_norm", "output_norm"])
@pytest.mark.parametrize("value", ["no", 1, None])
def test_a_switch_must_be_true_or_false(name: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"model\.{name} must be true or false, not "):
        MLP(27, torch.Generator(), **{name: value})  # type: ignore[arg-type]


PART3 = {"block_size": 3, "embedding_dim": 10, "hidden_dim": 200}
DEEP = {"hidden_dim": 100, "num_layers": 5, "batch_norm": True, "output_norm": True}


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({}, 11_897),
        ({"batch_norm": True}, 12_097),
        (DEEP, 47_024),
        ({"batch_norm": True, "block_size": 8}, 22_097),  # part 5: 22K
    ],
)
def test_the_lectures_sizes(arguments: dict[str, Any], parameters: int) -> None:
    network = build("mlp", 27, PART3 | arguments, seed=0)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("init", "w1", "b1", "w2", "b2"),
    [
        ("small_output", 1, 1, 0.01, 0),
        ("small_hidden", 0.2, 0.01, 0.01, 0),
        ("kaiming", 5 / 3 / 6**0.5, 0.01, 0.01, 0),
    ],
)
def test_the_inits_of_part_3_scale_the_lessons_draws(init: str, w1: float, b1: float, w2: float, b2: float) -> None:
    network = MLP(27, torch.Generator().manual_seed(LESSON_SEED), block_size=3, init=init)
    parameters = dict(network.named_parameters())
    assert list(parameters) == ["C", "W1", "b1", "W2", "b2"]
    for ours, lessons, scale in zip(parameters.values(), lesson_draws(), (1, w1, b1, w2, b2), strict=True):
        torch.testing.assert_close(ours, lessons * scale)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_deep_one_is_linear_layers_with_tanh_between(batch_norm: bool) -> None:
    arguments = {"block_size": 2, "embedding_dim": 3, "hidden_dim": 4, "num_layers": 3, "batch_norm": batch_norm}
    network = build("mlp", 5, arguments, seed=0)
    weights = dict(network.named_parameters())
    assert [tuple(weights[f"W{layer}"].shape) for layer in range(1, 5)] == [(6, 4), (4, 4), (4, 4), (4, 5)]
    contexts = torch.tensor([[0, 1], [4, 4], [2, 0], [3, 1]])
    values, found = weights["C"][contexts].flatten(1), tanh_activations(network, contexts)
    for layer, name in enumerate(("hidden1", "hidden2", "hidden3"), 1):
        values = values @ weights[f"W{layer}"]
        if batch_norm:
            values = (values - values.mean(0)) / (values.var(0, correction=0) + 1e-5).sqrt()
        values = torch.tanh(values)
        torch.testing.assert_close(found[name], values)
    assert ("b1" in weights) == (not batch_norm)
    torch.testing.assert_close(network(contexts), values @ weights["W4"] + weights["b4"])


def test_normalised_logits_start_with_a_tenth_of_the_spread() -> None:
    network = build("mlp", 27, PART3 | DEEP, seed=0)
    logits = network(torch.randint(0, 27, (500, 3), generator=torch.Generator().manual_seed(7)))
    torch.testing.assert_close(logits.std(0, correction=0), torch.full((27,), 0.1), atol=1e-3, rtol=0)
    assert "b6" not in dict(network.named_parameters())


def test_one_with_batch_norm_is_restored_with_its_running_statistics() -> None:
    arguments = {"hidden_dim": 8, "batch_norm": True}
    network = build("mlp", 7, arguments, seed=0)
    assert renewed_buffers(network)
    assert side_effects(network) == []
    contexts = torch.randint(0, 7, (9, 3))
    network(contexts)
    again = restore("mlp", 7, arguments, network.state_dict())
    assert torch.equal(again.eval()(contexts), network.eval()(contexts))


def test_the_embedding_and_the_activations_are_those_of_the_forward_pass() -> None:
    network = build("mlp", 5, {"block_size": 2, "embedding_dim": 3, "hidden_dim": 4}, 0)
    contexts = torch.tensor([[0, 1], [4, 4], [2, 0]])
    assert network.embedding is not None
    assert network.embedding.shape == (5, 3)
    (hidden,) = tanh_activations(network, contexts).values()
    embedded = network.embedding[contexts].reshape(3, 6)
    weights = dict(network.named_parameters())
    torch.testing.assert_close(hidden, torch.tanh(embedded @ weights["W1"] + weights["b1"]))
    torch.testing.assert_close(network(contexts), hidden @ weights["W2"] + weights["b2"])


def test_a_network_without_them_has_none() -> None:
    network = build("bigram", 5, {}, 0)
    assert network.embedding is None
    assert tanh_activations(network, torch.tensor([[1]])) == {}
