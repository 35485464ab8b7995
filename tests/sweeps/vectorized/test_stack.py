"""Steps mapped over members: those of each member alone, whoever else is in the group."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from makemore.data.batches import Block, FullBatches, Minibatches
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows, padded, positions_of
from makemore.models.network import Network, build
from makemore.sweeps.vectorized.layout import Layout, layout_of
from makemore.sweeps.vectorized.stack import Stack
from makemore.system import signals
from makemore.training import inductor
from makemore.training.optimizers import StepOptions
from makemore.training.steps import Objective, eager_steps

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda values: torch.optim.SGD(values, lr=1.0),
    "momentum": lambda values: torch.optim.SGD(values, lr=1.0, momentum=0.9),
    "adamw": lambda values: torch.optim.AdamW(values, lr=1.0),
}
# rates at which a run alone does not diverge from itself: at 0.5, weights that differ by 1e-7 give losses 0.02 apart
RATES = {"sgd": (0.01, 0.2), "momentum": (0.001, 0.02), "adamw": (0.0001, 0.003)}
ARGUMENTS = {"mlp": {"block_size": 2, "embedding_dim": 3, "hidden_dim": 11}, "bigram": {}}
VOCABULARY = Vocabulary("abcdefg", "shared")


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def networks(architecture: str, seeds: list[int], device: str = "cpu") -> list[Network]:
    return [build(architecture, VOCABULARY.size, ARGUMENTS[architecture], seed).to(device) for seed in seeds]


def full_batches(block_size: int, steps: int) -> FullBatches:
    lines = "abc\nbag\ncafe\nface\ndeaf\ngab\nfad\nbeef\n"
    tokens = VOCABULARY.encode_lines(lines, "it")
    lengths = np.array([len(line) + 1 for line in lines.split()])
    windows = Windows(
        padded(tokens, lengths, block_size, VOCABULARY.start),
        positions_of(np.ones(len(tokens), dtype=bool), lengths, block_size),
        block_size,
        VOCABULARY.size,
    )
    return replace(FullBatches.of(windows.counted(), VOCABULARY.size), length=steps)


def minibatches(block_size: int, steps: int, seeds: list[int], batch_size: int = 8) -> Minibatches:
    """Return blocks in which each member has rows of its own, those of its seed."""
    drawn = [
        torch.randint(
            VOCABULARY.size, (steps, batch_size, block_size + 1), generator=torch.Generator().manual_seed(seed)
        )
        for seed in seeds
    ]
    tokens = torch.stack(drawn, dim=1)
    return Minibatches(0, tokens[..., :-1], tokens[..., -1])


def dense(members: int) -> Layout:
    return Layout(list(range(members)), members)


def alone(block: Block, member: int) -> Block:
    """Return the block as a member would have it by itself."""
    if isinstance(block, FullBatches):
        return block
    return Minibatches(0, block.contexts[:, member], block.targets[:, member])


def trained(
    architecture: str,
    optimizer: str,
    block: Block,
    seeds: list[int],
    rates: list[list[float]],
    l2: list[float],
    layout: Layout | None = None,
) -> tuple[Tensor, list[list[Tensor]]]:
    """Train members as a group; return the losses (K, N) and each member's parameters."""
    nets = networks(architecture, seeds, str(block.stacked()[0].device))
    optimizers = [OPTIMIZERS[optimizer](net.parameters()) for net in nets]
    layout = layout or dense(len(seeds))
    stack = Stack(nets, optimizers, [StepOptions()] * len(nets), l2, block.members_dim, layout)
    nlls, penalties = stack.eager_steps()(block, [layout.spread(each) for each in rates])
    return (nlls + penalties)[:, layout.own].cpu(), [[p.detach().clone() for p in net.parameters()] for net in nets]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "optimizer", ["adamw", *(pytest.param(name, marks=pytest.mark.full) for name in ("sgd", "momentum"))]
)
@pytest.mark.parametrize(
    "full", [pytest.param(False, id="minibatch"), pytest.param(True, id="full", marks=pytest.mark.full)]
)
@given(data=st.data())
@settings(max_examples=3)
def test_any_member_of_any_group_has_the_losses_that_it_has_alone(
    device: str, optimizer: str, full: bool, data: st.DataObject
) -> None:
    architecture = data.draw(st.sampled_from(["mlp", "bigram"]))
    seeds = data.draw(st.lists(st.integers(0, 2**32), min_size=1, max_size=5))
    base = data.draw(st.lists(st.floats(*RATES[optimizer]), min_size=len(seeds), max_size=len(seeds)))
    l2 = data.draw(st.lists(st.sampled_from([0.0, 0.01, 1.0]), min_size=len(seeds), max_size=len(seeds)))
    member = data.draw(st.integers(0, len(seeds) - 1))
    steps = 500
    block_size = networks(architecture, [0])[0].block_size
    block = full_batches(block_size, steps) if full else minibatches(block_size, steps, seeds)
    rates = [[rate * (1.0 if step < 300 else 0.1) for rate in base] for step in range(steps)]
    block = block.to(torch.device(device))
    losses, _ = trained(architecture, optimizer, block, seeds, rates, l2)
    (net,) = networks(architecture, [seeds[member]], device)
    take = eager_steps(Objective(net, l2[member]), OPTIMIZERS[optimizer](net.parameters()))
    nlls, penalties = take(alone(block, member), [each[member] for each in rates])
    assert losses.isfinite().all()
    torch.testing.assert_close(losses[:, member], (nlls + penalties).cpu(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("threads_now", [*(pytest.param(number, marks=pytest.mark.full) for number in (1, 2)), 3])
@pytest.mark.parametrize("full", [False, True], ids=["minibatch", "full"])
@pytest.mark.usefixtures("threads")
def test_a_member_is_the_same_to_the_bit_whoever_else_is_there(full: bool, threads_now: int) -> None:
    seeds, rates, l2 = [5, 6, 7, 8, 9, 10, 11], [0.1 * number for number in range(1, 8)], [0.0, 0.1, 0, 0.5, 0, 1, 0]
    steps = 40
    found = []
    for number_of_threads, places in ((1, range(7)), (threads_now, [0, 1, 2, 4]), (threads_now, [4])):
        torch.set_num_threads(number_of_threads)
        layout = layout_of(places, number_of_threads)
        own = [seeds[place] for place in places]
        # large enough for threads to share
        block = full_batches(2, steps) if full else minibatches(2, steps, layout.spread(own), 700)
        each = [[rates[place] for place in places]] * steps
        losses, weights = trained("mlp", "adamw", block, own, each, [l2[place] for place in places], layout)
        found.append((losses[:, list(places).index(4)], weights[list(places).index(4)]))
    for losses, weights in found[1:]:
        assert torch.equal(losses, found[0][0])
        assert all(torch.equal(mine, first) for mine, first in zip(weights, found[0][1], strict=True))


def test_a_member_that_explodes_changes_no_other() -> None:
    seeds, steps = [1, 2, 3], 60
    block = minibatches(2, steps, seeds)
    calm = [[0.1, 0.2, 0.1]] * steps
    wild = [[0.1, float("inf"), 0.1]] * steps
    (losses, weights), (again, others) = (
        trained("mlp", "momentum", block, seeds, rates, [0.1, 0.1, 0.1]) for rates in (calm, wild)
    )
    assert not again[:, 1].isfinite().all()
    assert torch.equal(losses[:, [0, 2]], again[:, [0, 2]])
    for member in (0, 2):
        assert all(torch.equal(*pair) for pair in zip(weights[member], others[member], strict=True))


def test_a_snapshot_brings_everything_back() -> None:
    seeds = [1, 2]
    nets = networks("mlp", seeds)
    optimizers = [OPTIMIZERS["adamw"](net.parameters()) for net in nets]
    stack = Stack(nets, optimizers, [StepOptions()] * 2, [0.1, 0.0], 0, dense(2))
    take, block = stack.eager_steps(), minibatches(2, 20, seeds)
    rates = [[0.01, 0.02]] * 10
    take(block.steps(0, 10), rates)
    take_back = stack.snapshot()
    first = take(block.steps(10, 20), rates)
    take_back()
    assert optimizers[1].state[next(nets[1].parameters())]["step"] == 10
    second = take(block.steps(10, 20), rates)
    assert torch.equal(first[0], second[0])


def test_a_signal_ends_a_block_after_a_whole_step(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = networks("bigram", [0, 1])
    optimizers = [OPTIMIZERS["sgd"](net.parameters()) for net in nets]
    stack = Stack(nets, optimizers, [StepOptions()] * 2, [0.0, 0.0], 0, dense(2))
    answers = iter([False, False, False, True])
    monkeypatch.setattr(signals, "requested", lambda: next(answers))
    nlls, penalties = stack.eager_steps()(minibatches(1, 10, [0, 1]), [[0.1, 0.1]] * 10)
    assert nlls.shape == penalties.shape == (3, 2)


# half a minute; tests/integration/test_vectorized.py compiles a group too
@pytest.mark.slow
def test_compiled_steps_are_close_to_eager_ones_and_the_same_in_any_blocks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # ten unrolled take several times as long to compile
    monkeypatch.setattr(inductor, "_UNROLLED", 2)
    seeds, steps = [3, 4, 5], 24
    block, rates, found = minibatches(1, steps, seeds), [[0.5, 0.1, 1.0]] * steps, []
    for cuts in ([], [4, 17]):
        nets = networks("bigram", seeds)
        optimizers = [OPTIMIZERS["momentum"](net.parameters()) for net in nets]
        stack = Stack(nets, optimizers, [StepOptions()] * 3, [0.0, 0.1, 0.2], 0, dense(3))
        take = stack.compiled_steps(True)
        bounds = [0, *cuts, steps]
        parts = [take(block.steps(a, b), rates[a:b])[0] for a, b in pairwise(bounds)]
        found.append(torch.cat(parts))
    assert not [record for record in caplog.records if record.name == "makemore.training.inductor"]
    assert torch.equal(*found)
    nets = networks("bigram", seeds)
    optimizers = [OPTIMIZERS["momentum"](net.parameters()) for net in nets]
    stack = Stack(nets, optimizers, [StepOptions()] * 3, [0.0, 0.1, 0.2], 0, dense(3))
    eager = stack.eager_steps()(block, rates)[0]
    torch.testing.assert_close(found[0], eager, atol=1e-4, rtol=0)
