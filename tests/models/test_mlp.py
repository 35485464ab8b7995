"""Checks the MLP: the lesson's draw and formula (L2), its 3,481 parameters, its start near log V, and bad sizes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from makemore.errors import UserError
from makemore.models.mlp import MLP
from makemore.models.network import build, tanh_activations

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


@pytest.mark.parametrize("name", ["block_size", "embedding_dim", "hidden_dim"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "3", True, None])
def test_a_size_must_be_a_whole_number_of_at_least_one(name: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"model\.{name} must be .*, not "):
        MLP(27, torch.Generator(), **{name: value})  # type: ignore[arg-type]


def test_an_unknown_init_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"model\.init must be one of scaled, normal, not 'kaiming'"):
        MLP(27, torch.Generator(), init="kaiming")


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
