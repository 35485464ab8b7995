"""Checks steps of networks with batch norm, clipped and averaged: in any blocks, and mapped over members."""

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from makemore.data.batches import Minibatches
from makemore.data.vocabulary import Vocabulary
from makemore.sweeps.vectorized.layout import Layout
from makemore.sweeps.vectorized.stack import Stack
from makemore.training.module import NeuralLanguageModel
from makemore.training.steps import Objective, eager_steps

NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"embedding_dim": 3, "hidden_dim": 8, "num_layers": 2, "batch_norm": True, "output_norm": True},
    "wavenet": {"embedding_dim": 3, "hidden_dim": 8},
}
VOCABULARY, BLOCK_SIZE, BATCH, LR = Vocabulary("abcdefg", "shared"), 4, 16, 0.003
ALL = pytest.mark.parametrize("architecture", NETWORKS)


def model_of(architecture: str, seed: int = 0) -> NeuralLanguageModel:
    options = {"l2": 0.01, "clip_norm": 0.5, "decay_vectors": False, "ema_decay": 0.9, "block_size": BLOCK_SIZE}
    make = partial(torch.optim.AdamW, lr=LR)
    return NeuralLanguageModel(architecture, VOCABULARY, make, seed=seed, **NETWORKS[architecture] | options)


def block_of(seeds: list[int], steps: int) -> Minibatches:
    """Return a block in which each member has rows of its own, those of its seed."""
    shape = (steps, BATCH, BLOCK_SIZE + 1)
    drawn = [torch.randint(VOCABULARY.size, shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    tokens = torch.stack(drawn, dim=1)
    return Minibatches(0, tokens[..., :-1], tokens[..., -1])


def trained_alone(architecture: str, seed: int, ends: list[int]) -> tuple[Tensor, list[Tensor]]:
    """Return the NLLs of the steps, in blocks that end there, and the weights, averages and running statistics."""
    model, block = model_of(architecture, seed), block_of([seed], ends[-1])
    block = Minibatches(0, block.contexts[:, 0], block.targets[:, 0])
    (optimizer,), _ = model.configure_optimizers()
    take = eager_steps(Objective(model.network, model.l2), optimizer, seed, model.step_options())
    nlls = [take(block.steps(first, end), [LR] * (end - first))[0] for first, end in pairwise([0, *ends])]
    return torch.cat(nlls), list(model.state_dict().values())


@ALL
def test_any_blocks_give_the_same_bits(architecture: str) -> None:
    found = [trained_alone(architecture, 0, ends) for ends in ([24], [1, 2, 9, 24])]
    assert all(torch.equal(*pair) for pair in zip(*([nlls, *state] for nlls, state in found), strict=True))


@pytest.mark.parametrize("steps", [20, pytest.param(500, marks=pytest.mark.slow)])
@ALL
def test_members_are_what_each_is_alone(architecture: str, steps: int) -> None:
    seeds = [0, 3]
    members = [model_of(architecture, seed) for seed in seeds]
    optimizers = [model.configure_optimizers()[0][0] for model in members]
    options, l2 = [model.step_options() for model in members], [model.l2 for model in members]
    networks = [model.network for model in members]
    stack = Stack(networks, optimizers, options, l2, Minibatches.members_dim, Layout([0, 1], 2))
    nlls, _ = stack.eager_steps()(block_of(seeds, steps), [[LR, LR]] * steps)
    for row, (seed, member) in enumerate(zip(seeds, members, strict=True)):
        of_alone, state = trained_alone(architecture, seed, [steps])
        torch.testing.assert_close(nlls[:, row], of_alone, rtol=0, atol=1e-4)
        for ours, theirs in zip(member.state_dict().values(), state, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)
