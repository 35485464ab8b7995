"""Checks what is found out about the side effects of a network in training, and the draws of steps."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from makemore.models.network import Network, build, evaluating
from makemore.training.draws import CHANGES_BUFFERS, DRAWS, StepDraws, renewed_buffers, side_effects

CPU = torch.device("cpu")


class Scores(Network):
    """A row of logits a token, between which tests put what they like."""

    block_size, vocab_size = 2, 5

    def __init__(self, *between: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), *between, nn.Linear(8, 5))

    def forward(self, contexts: Tensor) -> Tensor:
        logits: Tensor = self.layers(contexts)
        return logits


class FunctionalDropout(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return F.dropout(values, 0.5, self.training)


class Counting(nn.Module):
    """Replaces its buffer by another tensor."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return values


@pytest.mark.parametrize(
    ("between", "found"),
    [
        ([], []),
        ([nn.Dropout(0.0), nn.LayerNorm(8), nn.BatchNorm1d(8, track_running_stats=False)], []),
        ([nn.Dropout(0.5)], [DRAWS]),
        ([FunctionalDropout()], [DRAWS]),
        ([nn.BatchNorm1d(8)], [CHANGES_BUFFERS]),
        # a functional call has its new buffer; see below
        ([Counting()], []),
        ([nn.BatchNorm1d(8), nn.Dropout(0.5)], [DRAWS, CHANGES_BUFFERS]),
    ],
)
def test_side_effects_are_found_and_none_is_left(between: list[nn.Module], found: list[str]) -> None:
    network = Scores(*between)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    generator = torch.get_rng_state()
    assert side_effects(network) == found
    assert torch.equal(torch.get_rng_state(), generator)
    torch.testing.assert_close(network.state_dict(), state, rtol=0, atol=0)


def test_buffers_that_become_other_tensors_are_renewed() -> None:
    network = Scores(Counting(), nn.BatchNorm1d(8))
    assert renewed_buffers(network) == ["layers.2.calls"]
    assert int(network.state_dict()["layers.2.calls"]) == 0


@pytest.mark.parametrize("architecture", ["bigram", "mlp"])
def test_the_shipped_networks_have_none(architecture: str) -> None:
    assert not side_effects(build(architecture, 2, {}, seed=0))


def test_what_a_step_draws_depends_on_seed_and_step_alone() -> None:
    def drawn(seed: int, step: int) -> list[float]:
        draws = StepDraws(seed, CPU)
        before = torch.get_rng_state()
        with draws.restored():
            draws.begin(step)
            values = torch.rand(3).tolist()
        assert torch.equal(torch.get_rng_state(), before)
        return values

    first = {(seed, step): drawn(seed, step) for seed in (0, 1, 2**40) for step in (0, 1, 2)}
    torch.manual_seed(1)
    assert {key: drawn(*key) for key in first} == first
    assert len(set(map(tuple, first.values()))) == len(first)


def test_evaluation_mode_ends_with_the_modes_that_were() -> None:
    network = Scores(nn.Dropout(0.5), nn.BatchNorm1d(8))
    network.layers[2].eval()
    before = [module.training for module in network.modules()]
    with evaluating(network):
        assert not any(module.training for module in network.modules())
    assert [module.training for module in network.modules()] == before
