"""Checks steps over lines: in any blocks, compiled, and mapped over members; dropout, clipping, averages."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from makemore.data.batches import Minibatches, PackedBatches, dropout_keys, replacement_rows
from makemore.data.corpus import read_corpus
from makemore.data.lines import Lines
from makemore.data.options import CorpusOptions
from makemore.data.vocabulary import Vocabulary
from makemore.sweeps.vectorized.layout import Layout
from makemore.sweeps.vectorized.stack import Stack
from makemore.training.compiling import compiled_steps
from makemore.training.module import NeuralLanguageModel
from makemore.training.steps import Objective, eager_steps

NETWORKS: dict[str, dict[str, Any]] = {
    "rnn": {"embedding_dim": 5, "hidden_dim": 8},
    "gru": {"embedding_dim": 5, "hidden_dim": 8, "num_layers": 2},
    "lstm": {"embedding_dim": 5, "hidden_dim": 8},
    "bow": {"embedding_dim": 6, "hidden_dim": 8},
    "transformer": {"embedding_dim": 8, "num_layers": 1, "num_heads": 2, "positions": "rotary", "tied": True},
}
BATCH, BLOCK_SIZE, LR = 6, 7, 0.01
ALL = pytest.mark.parametrize("architecture", NETWORKS)


@pytest.fixture(scope="module")
def lines(text: Path) -> tuple[Lines, Vocabulary]:
    corpus = read_corpus(CorpusOptions(str(text)))
    # some lines are longer than the networks see
    assert corpus.lengths.max() > BLOCK_SIZE
    return corpus.lines("train", BLOCK_SIZE), corpus.vocabulary


def model_of(architecture: str, vocabulary: Vocabulary, seed: int = 0, **options: Any) -> NeuralLanguageModel:
    settings = {"l2": 0.01, "clip_norm": 0.5, "decay_vectors": False, "ema_decay": 0.9, "dropout": 0.3} | options
    arguments = NETWORKS[architecture] | {"block_size": BLOCK_SIZE} | settings
    return NeuralLanguageModel(architecture, vocabulary, partial(torch.optim.AdamW, lr=LR), seed=seed, **arguments)


def rows_of(lines: Lines, seed: int, steps: int) -> Any:
    return replacement_rows(seed, 0, steps, BATCH, len(lines))


def packed_block(lines: Lines, seed: int, steps: int) -> PackedBatches:
    return lines.packed(0, rows_of(lines, seed, steps), torch.from_numpy(dropout_keys(seed, 0, steps)))


def padded_block(lines: Lines, seeds: list[int], steps: int) -> Minibatches:
    rows = np.stack([rows_of(lines, seed, steps) for seed in seeds], axis=1)
    keys = np.stack([dropout_keys(seed, 0, steps) for seed in seeds], axis=1)
    return lines.padded(0, rows, torch.from_numpy(keys))


def taker(model: NeuralLanguageModel, make: Any = eager_steps) -> Any:
    (optimizer,), _ = model.configure_optimizers()
    return make(Objective(model.network, model.l2), optimizer, model.seed, model.step_options())


def weights(model: NeuralLanguageModel) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


@ALL
def test_any_blocks_give_the_same_bits(architecture: str, lines: tuple[Lines, Vocabulary]) -> None:
    found = []
    for ends in ([12], [1, 2, 7, 12]):
        model, block = model_of(architecture, lines[1]), packed_block(lines[0], 0, 12)
        take, first, nlls = taker(model), 0, []
        for end in ends:
            nlls.append(take(block.steps(first, end), [LR] * (end - first))[0])
            first = end
        found.append([torch.cat(nlls), *weights(model)])
    assert all(map(torch.equal, *found))


@ALL
def test_a_step_is_torchs_own_with_clipped_gradients(architecture: str, lines: tuple[Lines, Vocabulary]) -> None:
    model, block = model_of(architecture, lines[1]), packed_block(lines[0], 0, 5)
    take = taker(model)
    take(block, [LR] * 5)
    plain = model_of(architecture, lines[1])
    matrices = [parameter for parameter in plain.network.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in plain.network.parameters() if parameter.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": matrices}, {"params": vectors, "weight_decay": 0.0}], lr=LR)
    average = {name: parameter.detach().clone() for name, parameter in plain.network.named_parameters()}
    for batch in block.batches():
        optimizer.zero_grad()
        (block.nll(plain.network, *batch) + Objective(plain.network, plain.l2).penalty()).backward()
        torch.nn.utils.clip_grad_norm_(plain.network.parameters(), 0.5)
        optimizer.step()
        for name, parameter in plain.network.named_parameters():
            average[name] = 0.9 * average[name] + 0.1 * parameter.detach()
    for name, parameter in plain.network.named_parameters():
        torch.testing.assert_close(dict(model.network.named_parameters())[name], parameter, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(dict(model.evaluated.named_parameters())[name], average[name], rtol=1e-5, atol=1e-6)


def test_gradients_are_clipped_at_all(lines: tuple[Lines, Vocabulary]) -> None:
    block = packed_block(lines[0], 0, 5)
    with_clipping, without = (model_of("gru", lines[1], clip_norm=norm) for norm in (0.001, None))
    for model in (with_clipping, without):
        taker(model)(block, [LR] * 5)
    assert not all(map(torch.equal, weights(with_clipping), weights(without)))


def check_members(architecture: str, lines: tuple[Lines, Vocabulary], steps: int) -> None:
    """Check that members mapped together, on padded lines, end as each alone does, on packed ones."""
    seeds = [0, 3]
    members = [model_of(architecture, lines[1], seed) for seed in seeds]
    optimizers = [model.configure_optimizers()[0][0] for model in members]
    options = [model.step_options() for model in members]
    networks, l2 = [model.network for model in members], [model.l2 for model in members]
    stack = Stack(networks, optimizers, options, l2, Minibatches.members_dim, Layout([0, 1], 2))
    nlls, _ = stack.eager_steps()(padded_block(lines[0], seeds, steps), [[LR, LR]] * steps)
    for row, (seed, member) in enumerate(zip(seeds, members, strict=True)):
        alone = model_of(architecture, lines[1], seed)
        of_alone, _ = taker(alone)(packed_block(lines[0], seed, steps), [LR] * steps)
        torch.testing.assert_close(nlls[:, row], of_alone, rtol=0, atol=1e-4)
        for ours, theirs in zip(weights(member), weights(alone), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)


@ALL
def test_members_are_what_each_is_alone(architecture: str, lines: tuple[Lines, Vocabulary]) -> None:
    check_members(architecture, lines, 4)


@pytest.mark.slow
@ALL
def test_so_they_are_after_500_steps(architecture: str, lines: tuple[Lines, Vocabulary]) -> None:
    check_members(architecture, lines, 500)


# half a minute each; XLA's steps, which compile sooner, have a short form
@pytest.mark.slow
@ALL
def test_compiled_steps_are_close_to_eager_ones_and_the_same_in_any_blocks(
    architecture: str, lines: tuple[Lines, Vocabulary]
) -> None:
    found = []
    for ends in ([8], [2, 8]):
        model = model_of(architecture, lines[1])
        keys = torch.from_numpy(dropout_keys(0, 0, 8))
        block = lines[0].padded(0, rows_of(lines[0], 0, 8), keys)
        take, first, nlls = taker(model, compiled_steps), 0, []
        for end in ends:
            nlls.append(take(block.steps(first, end), [LR] * (end - first))[0])
            first = end
        found.append([torch.cat(nlls), *weights(model)])
    assert all(map(torch.equal, *found))
    eager = model_of(architecture, lines[1])
    nlls, _ = taker(eager)(packed_block(lines[0], 0, 8), [LR] * 8)
    torch.testing.assert_close(found[0][0], nlls, rtol=0, atol=1e-4)
