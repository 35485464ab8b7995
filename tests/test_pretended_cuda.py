"""The pretended device finds what a card would: tensors left on the CPU, in every part of a step."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from makemore.data.batches import Minibatches
from makemore.models.network import Network
from makemore.training.steps import Objective, eager_steps
from pretended_cuda import CPU, CUDA, CudaTensor, pretended_cuda


class Planted(Network):
    """A bigram with a bug: what `add` gives is added to its logits."""

    block_size, vocab_size = 1, 5

    def __init__(self, add: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.add = add
        self.W = torch.nn.Parameter(torch.ones(5, 5))
        self.kept = torch.ones(5)
        self.register_buffer("moved", torch.ones(5))

    def forward(self, contexts: Tensor) -> Tensor:
        return self.W[contexts[:, 0]] + self.add(self)


BUGS: dict[str, Callable[..., Tensor]] = {
    "a tensor made anew": lambda _: torch.ones(5),
    "arange without a device": lambda _: torch.arange(5),
    "a tensor that is no buffer": lambda network: network.kept,
    "an embedding by tokens of the CPU": lambda network: torch.nn.functional.embedding(torch.arange(1), network.W),
    "a generator of the CPU": lambda network: torch.rand(5, generator=torch.Generator(), device=network.W.device),
    "numbers through numpy": lambda network: torch.from_numpy(network.W.detach().numpy()),
}


def step(network: Network, targets_on: torch.device = CUDA) -> tuple[Tensor, Tensor]:
    tokens = torch.zeros((1, 2, 1), dtype=torch.int64, device=CUDA)
    block = Minibatches(0, tokens, torch.zeros((1, 2), dtype=torch.int64, device=targets_on))
    return eager_steps(Objective(network, 0.1), torch.optim.SGD(network.parameters(), lr=0.1))(block, [0.1])


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    with pretended_cuda():
        network = Planted(BUGS[bug]).to(CUDA)
        with pytest.raises(
            RuntimeError, match=r"same device|numpy\(\) is not supported|Expected a 'cuda' device type"
        ):
            step(network)


@pytest.mark.parametrize("bug", ["a tensor made anew", "arange without a device"])
def test_it_is_found_when_mapped_over_members_too(bug: str) -> None:
    with pretended_cuda():
        network, weights = Planted(BUGS[bug]).to(CUDA), torch.ones((3, 5, 5), device=CUDA)
        tokens = torch.zeros((2, 1), dtype=torch.int64, device=CUDA)

        def loss(weight: Tensor) -> Tensor:
            return functional_call(network, {"W": weight}, (tokens,)).sum()  # type: ignore[no-any-return]

        with pytest.raises(RuntimeError, match="same device"):
            vmap(grad(loss))(weights)


def test_targets_left_behind_are_found() -> None:
    with pretended_cuda(), pytest.raises(RuntimeError, match="same device"):
        step(Planted(lambda network: network.moved).to(CUDA), targets_on=CPU)


def test_what_is_right_runs_and_has_the_numbers_of_the_cpu() -> None:
    with pretended_cuda():
        network = Planted(lambda network: network.moved).to(CUDA)
        nlls, penalties = step(network)
        assert isinstance(nlls, CudaTensor)
        assert nlls.device == penalties.device == network.W.device == CUDA
        assert nlls.tolist() == pytest.approx([np.log(5)])
        # a number of the CPU is taken by every operator, an index of the CPU by indexing
        assert (network.W * torch.tensor(2.0)).device == network.W[torch.tensor([0])].device == CUDA
        assert network.W[network.W > 2].device == CUDA
    assert network.W.device == CUDA
    with pytest.raises(AssertionError, match="which is gone"):
        network.W + 1
