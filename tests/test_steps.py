"""K steps at once: bit-identical for every K, eagerly and compiled, and the arithmetic of plain PyTorch."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from makemore.data.batches import Block, FullBatches, Minibatches
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import windows_of_lines
from makemore.models import Network, build
from makemore.steps import Objective, steps_of

STEPS = 24
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda values: torch.optim.SGD(values, lr=1.0),
    "momentum": lambda values: torch.optim.SGD(values, lr=1.0, momentum=0.9),
    "adamw": lambda values: torch.optim.AdamW(values, lr=1.0),
    "rmsprop": lambda values: torch.optim.RMSprop(values, lr=1.0),
}
RATES = [0.1 / (1 + step) for step in range(STEPS)]


def network_of(architecture: str, device: str = "cpu") -> Network:
    arguments = {"hidden_dim": 7} if architecture == "mlp" else {}
    return build(architecture, 5, arguments, seed=0).to(device)


def minibatches(network: Network, device: str = "cpu") -> Minibatches:
    generator = torch.Generator().manual_seed(1)
    contexts = torch.randint(5, (STEPS, 6, network.block_size), generator=generator)
    return Minibatches(0, contexts, torch.randint(5, (STEPS, 6), generator=generator)).to(torch.device(device))


def part_of(block: Block, first: int, last: int) -> Block:
    if isinstance(block, FullBatches):
        return replace(block, first_step=first, length=last - first)
    return Minibatches(first, block.contexts[first:last], block.targets[first:last])


def trained(
    architecture: str, optimizer: str, cuts: list[int], *, l2: float = 0.1, compiled: bool = False, device: str = "cpu"
) -> tuple[list[Tensor], list[float], list[float]]:
    """Take the steps in blocks that end at `cuts`; return the parameters, and each step's NLL and penalty."""
    network = network_of(architecture, device)
    take = steps_of(Objective(network, l2), OPTIMIZERS[optimizer](network.parameters()), compiled)
    block = minibatches(network, device)
    nlls: list[float] = []
    penalties: list[float] = []
    for first, last in zip([0, *cuts], [*cuts, STEPS], strict=True):
        if first < last:
            parts = take(part_of(block, first, last), RATES[first:last])
            nlls += parts[0].tolist()
            penalties += parts[1].tolist()
    return [parameter.detach() for parameter in network.parameters()], nlls, penalties


def assert_same(first: tuple[list[Tensor], ...], second: tuple[list[Tensor], ...]) -> None:
    assert first[1:] == second[1:]
    for mine, theirs in zip(first[0], second[0], strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("architecture", ["bigram", "mlp"])
@given(cuts=st.lists(st.integers(0, STEPS), max_size=8).map(sorted))
@settings(deadline=None, max_examples=10)
def test_any_blocks_give_the_same_bits(architecture: str, optimizer: str, cuts: list[int]) -> None:
    assert_same(trained(architecture, optimizer, []), trained(architecture, optimizer, cuts))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_steps_are_those_of_a_plain_loop(optimizer: str) -> None:
    network = network_of("mlp")
    plain = OPTIMIZERS[optimizer](network.parameters())
    block = minibatches(network)
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    nlls, penalties = [], []
    for contexts, targets, rate in zip(block.contexts, block.targets, RATES, strict=True):
        nll = F.cross_entropy(network(contexts), targets)
        penalty = 0.1 * torch.cat([weight.flatten() for weight in weights]).square().mean()
        plain.param_groups[0]["lr"] = rate
        plain.zero_grad()
        (nll + penalty).backward()
        plain.step()
        nlls.append(nll.item())
        penalties.append(penalty.item())
    values, our_nlls, our_penalties = trained("mlp", optimizer, [])
    assert our_nlls == pytest.approx(nlls, abs=1e-5)
    assert our_penalties == pytest.approx(penalties, abs=1e-6)
    for mine, theirs in zip(values, network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.detach(), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("architecture", "optimizer"), [("bigram", "momentum"), ("mlp", "adamw")])
def test_compiled_steps_are_the_same_for_any_blocks_and_close_to_eager_ones(
    architecture: str, optimizer: str, device: str
) -> None:
    whole = trained(architecture, optimizer, [], compiled=True, device=device)
    assert_same(whole, trained(architecture, optimizer, [1, 4, 17], compiled=True, device=device))
    eager = trained(architecture, optimizer, [], device=device)
    assert whole[1] == pytest.approx(eager[1], abs=1e-4)
    assert whole[2] == pytest.approx(eager[2], abs=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_steps_over_the_full_batch_are_close_to_eager_ones() -> None:
    vocabulary = Vocabulary("abc", "separate")
    tokens = vocabulary.encode_lines("abc\nca\nb\nab\n", "it")
    lengths = np.array([4, 3, 2, 3])
    windows = windows_of_lines(tokens, lengths, np.ones(len(tokens), dtype=bool), 1, vocabulary)
    block = replace(FullBatches.of(windows.counted(), vocabulary.size), length=12)
    found = []
    for compiled in (False, True):
        network = network_of("bigram")
        take = steps_of(Objective(network, 0.0), OPTIMIZERS["sgd"](network.parameters()), compiled)
        nlls, penalties = take(block, RATES[:12])
        assert penalties.tolist() == [0.0] * 12
        found.append([*nlls.tolist(), *network.W.detach().flatten().tolist()])  # type: ignore[operator]
    assert found[1] == pytest.approx(found[0], abs=1e-5)


_WITHOUT_COMPILER = """
import logging, sys
logging.basicConfig(format="%(message)s")
sys.path.insert(0, sys.argv[1])
from test_steps import assert_same, trained
assert_same(trained("bigram", "sgd", [], compiled=True), trained("bigram", "sgd", []))
"""


def test_without_a_compiler_one_line_says_so_and_the_steps_are_eager(tmp_path: object) -> None:
    environment = os.environ | {"CXX": "/nonexistent/c++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_COMPILER, os.path.dirname(__file__)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("compile=true: InvalidCxxCompiler: No working C++ compiler found")
    assert line.endswith("; training goes on without")
