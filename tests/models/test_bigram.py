"""Checks the neural bigram: the lessons' draw, the one-hot product that its look-up stands for, and emma's loss."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from makemore.errors import UserError
from makemore.models.bigram import Bigram

LESSON_SEED = 2147483647
# the bigrams of "emma": a is 1 ... z is 26, the boundary is 0
EMMA = torch.tensor([0, 5, 13, 13, 1])
EMMA_NEXT = torch.tensor([5, 13, 13, 1, 0])


def lesson_weights() -> Tensor:
    return torch.randn((27, 27), generator=torch.Generator().manual_seed(LESSON_SEED))


@pytest.fixture
def lesson_bigram() -> Bigram:
    return Bigram(27, torch.Generator().manual_seed(LESSON_SEED), init="normal")


def test_init_normal_is_the_lessons_draw_to_the_bit(lesson_bigram: Bigram) -> None:
    assert torch.equal(lesson_bigram.W, lesson_weights())
    # printed in L1
    assert lesson_bigram.W[0, :3].tolist() == pytest.approx([1.5674, -0.23729, -0.027385], abs=5e-5)


def test_a_row_of_the_matrix_is_the_only_parameter(lesson_bigram: Bigram) -> None:
    assert sum(parameter.numel() for parameter in lesson_bigram.parameters()) == 27 * 27
    assert lesson_bigram.block_size == 1


def test_logits_are_the_lessons_one_hot_product(lesson_bigram: Bigram) -> None:
    tokens = torch.arange(27)
    product = F.one_hot(tokens, num_classes=27).float() @ lesson_weights()
    assert torch.equal(lesson_bigram(tokens.unsqueeze(1)), product)


def test_loss_of_the_first_word_emma(lesson_bigram: Bigram) -> None:
    logits = lesson_bigram(EMMA.unsqueeze(1))
    chosen = logits.softmax(1)[torch.arange(5), EMMA_NEXT]
    # printed in L1
    assert chosen.tolist() == pytest.approx([0.0123, 0.0181, 0.0267, 0.0737, 0.0150], abs=5e-5)
    assert F.cross_entropy(logits, EMMA_NEXT).item() == pytest.approx(3.7693049907684326, abs=1e-6)


@pytest.mark.parametrize("vocab_size", [2, 27, 500])
@pytest.mark.parametrize("seed", [0, 1, LESSON_SEED])
def test_init_scaled_starts_near_log_v(vocab_size: int, seed: int) -> None:
    network = Bigram(vocab_size, torch.Generator().manual_seed(seed))
    every_pair = torch.cartesian_prod(torch.arange(vocab_size), torch.arange(vocab_size))
    nll = F.cross_entropy(network(every_pair[:, :1]), every_pair[:, 1])
    assert nll.item() == pytest.approx(math.log(vocab_size), abs=0.05)
    assert network.W.abs().max() > 0


def test_only_the_row_of_the_context_has_a_gradient(lesson_bigram: Bigram) -> None:
    F.cross_entropy(lesson_bigram(torch.tensor([[5]])), torch.tensor([13])).backward()
    assert lesson_bigram.W.grad is not None
    assert lesson_bigram.W.grad.abs().sum(1).nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize("init", ["zeros", "Normal", None, 1])
def test_an_unknown_init_is_a_user_error(init: str) -> None:
    with pytest.raises(UserError, match=r"model\.init must be one of scaled, normal"):
        Bigram(27, torch.Generator(), init=init)
