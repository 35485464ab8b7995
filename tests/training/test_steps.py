"""K steps at once: bit-identical for every K, eagerly and compiled, and the arithmetic of plain PyTorch."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from makemore.data.batches import FullBatches, Minibatches
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows, padded, positions_of
from makemore.models.network import Network, build
from makemore.system import signals
from makemore.training import inductor
from makemore.training.compiling import compiled_steps
from makemore.training.steps import Objective, eager_steps, whole_steps

STEPS = 24
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda values: torch.optim.SGD(values, lr=1.0),
    "momentum": lambda values: torch.optim.SGD(values, lr=1.0, momentum=0.9),
    "adamw": lambda values: torch.optim.AdamW(values, lr=1.0),
    "rmsprop": lambda values: torch.optim.RMSprop(values, lr=1.0),
}
RATES = [0.1 / (1 + step) for step in range(STEPS)]


@pytest.fixture(autouse=True)
def _few_unrolled(monkeypatch: pytest.MonkeyPatch) -> None:
    # ten take several times as long to compile
    monkeypatch.setattr(inductor, "_UNROLLED", 2)


@pytest.fixture
def compiling(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing says that the steps were eager after all."""
    yield
    assert not [record for record in caplog.get_records("call") if record.name == "makemore.training.inductor"]


def network_of(architecture: str, device: str = "cpu") -> Network:
    arguments = {"hidden_dim": 7} if architecture == "mlp" else {}
    return build(architecture, 5, arguments, seed=0).to(device)


def minibatches(network: Network, device: str = "cpu") -> Minibatches:
    generator = torch.Generator().manual_seed(1)
    contexts = torch.randint(5, (STEPS, 6, network.block_size), generator=generator)
    return Minibatches(0, contexts, torch.randint(5, (STEPS, 6), generator=generator)).to(torch.device(device))


def trained(
    architecture: str, optimizer: str, cuts: list[int], *, l2: float = 0.1, compiled: bool = False, device: str = "cpu"
) -> tuple[list[Tensor], list[float], list[float]]:
    """Take the steps in blocks that end at `cuts`; return the parameters, and each step's NLL and penalty."""
    network = network_of(architecture, device)
    make = compiled_steps if compiled else eager_steps
    take = make(Objective(network, l2), OPTIMIZERS[optimizer](network.parameters()))
    block = minibatches(network, device)
    nlls: list[float] = []
    penalties: list[float] = []
    for first, last in zip([0, *cuts], [*cuts, STEPS], strict=True):
        if first < last:
            parts = take(block.steps(first, last), RATES[first:last])
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
@settings(max_examples=10)
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


@pytest.mark.usefixtures("compiling")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("architecture", "optimizer"),
    [
        # XLA's steps, which compile sooner, are tried in the default tier
        pytest.param("bigram", "adamw", marks=pytest.mark.full),
        pytest.param("bigram", "momentum", marks=pytest.mark.slow),
        pytest.param("mlp", "adamw", marks=pytest.mark.slow),
    ],
)
def test_compiled_steps_are_the_same_for_any_blocks_and_close_to_eager_ones(
    architecture: str, optimizer: str, device: str
) -> None:
    whole = trained(architecture, optimizer, [], compiled=True, device=device)
    assert_same(whole, trained(architecture, optimizer, [1, 4, 17], compiled=True, device=device))
    eager = trained(architecture, optimizer, [], device=device)
    assert whole[1] == pytest.approx(eager[1], abs=1e-4)
    assert whole[2] == pytest.approx(eager[2], abs=1e-5)


@pytest.mark.full
@pytest.mark.usefixtures("compiling")
def test_compiled_steps_over_the_full_batch_are_close_to_eager_ones() -> None:
    vocabulary = Vocabulary("abc", "separate")
    tokens = vocabulary.encode_lines("abc\nca\nb\nab\n", "it")
    lengths = np.array([4, 3, 2, 3])
    windows = Windows(
        padded(tokens, lengths, 1, vocabulary.start),
        positions_of(np.ones(len(tokens), dtype=bool), lengths, 1),
        1,
        vocabulary.size,
    )
    block = replace(FullBatches.of(windows.counted(), vocabulary.size), length=12)
    found = []
    for compiled in (False, True):
        network = network_of("bigram")
        make = compiled_steps if compiled else eager_steps
        take = make(Objective(network, 0.0), OPTIMIZERS["sgd"](network.parameters()))
        nlls, penalties = take(block, RATES[:12])
        assert penalties.tolist() == [0.0] * 12
        found.append([*nlls.tolist(), *network.W.detach().flatten().tolist()])  # type: ignore[operator]
    assert found[1] == pytest.approx(found[0], abs=1e-5)


def test_gradients_are_those_of_autograd() -> None:
    # `eager_steps` calls the engine without torch.autograd.grad
    network = network_of("mlp")
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    block = minibatches(network).steps(0, 1)
    loss = block.nll(network, block.contexts[0], block.targets[0])
    expected = [
        parameter.detach() - gradient
        for parameter, gradient in zip(
            network.parameters(), torch.autograd.grad(loss, list(network.parameters())), strict=True
        )
    ]
    eager_steps(Objective(network, 0.0), optimizer)(block, [1.0])
    for mine, theirs in zip(network.parameters(), expected, strict=True):
        assert torch.equal(mine.detach(), theirs)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("choice", ["reversed", "subset", "groups"])
def test_an_optimiser_may_have_its_own_choice_of_parameters(kind: type[torch.optim.Optimizer], choice: str) -> None:
    rates = [0.1, 0.05, 0.02]
    found = []
    for ours in (True, False):
        network = network_of("mlp")
        parameters: Any = list(network.parameters())
        matrices = [parameter for parameter in parameters if parameter.ndim > 1]
        biases = [parameter for parameter in parameters if parameter.ndim == 1]
        given = {
            "reversed": parameters[::-1],
            "subset": matrices,
            "groups": [{"params": matrices, "weight_decay": 0.1}, {"params": biases, "lr": 0.2}],
        }[choice]
        optimizer = kind(given, lr=0.1)  # type: ignore[call-arg]
        block = minibatches(network).steps(0, 3)
        if ours:
            eager_steps(Objective(network, 0.0), optimizer)(block, rates)
        else:
            for contexts, targets, rate in zip(block.contexts, block.targets, rates, strict=True):
                for group, base in zip(optimizer.param_groups, [0.1, 0.2], strict=False):
                    group["lr"] = base * (rate / 0.1)
                optimizer.zero_grad()
                F.cross_entropy(network(contexts), targets).backward()
                optimizer.step()
        found.append([parameter.detach() for parameter in network.parameters()])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=0)


def test_what_cannot_be_compiled_half_way_is_taken_eagerly_from_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fake_compile(function: Callable[..., Any], **_: object) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            if len(arguments[-1]) == 1:
                raise torch._dynamo.exc.Unsupported("no single steps\n\nand so on")
            return function(*arguments)

        return called

    monkeypatch.setattr(torch, "compile", fake_compile)
    found = trained("mlp", "sgd", [5, 17], compiled=True)
    expected = trained("mlp", "sgd", [])
    assert found[1] == pytest.approx(expected[1], abs=1e-5)
    for mine, theirs in zip(found[0], expected[0], strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
    assert caplog.messages == ["compile=true: no single steps; training continues without"]


def test_compiled_steps_do_without_a_cache_that_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    network = network_of("bigram")
    compiled_steps(Objective(network, 0.0), OPTIMIZERS["sgd"](network.parameters()))
    assert not os.environ.get("TORCHINDUCTOR_CACHE_DIR", "").startswith(str(tmp_path))


_WITHOUT_COMPILER = """
import logging, sys
logging.basicConfig(format="%(message)s")
sys.path.insert(0, sys.argv[1])
from test_steps import assert_same, inductor, trained
inductor._UNROLLED = 2
assert_same(trained("bigram", "sgd", [], compiled=True), trained("bigram", "sgd", []))
"""


@pytest.mark.slow
def test_without_a_compiler_one_line_says_so_and_the_steps_are_eager(tmp_path: Path) -> None:
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
    assert line.endswith("; training continues without")


# --- whole steps


def state_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return copies of the parameters and of all tensors of the state, in order."""
    parameters = optimizer.param_groups[0]["params"]
    tensors = [tensor for p in parameters for _, tensor in sorted(optimizer.state[p].items()) if tensor is not None]
    return [tensor.detach().clone() for tensor in (*parameters, *tensors)]


def whole_of(optimizer_name: str, compiled: bool = False) -> tuple[Any, torch.optim.Optimizer, Minibatches]:
    network = network_of("mlp")
    optimizer = OPTIMIZERS[optimizer_name](network.parameters())
    make = compiled_steps if compiled else eager_steps
    take = make(Objective(network, 0.1), optimizer)
    return whole_steps(take, optimizer, network), optimizer, minibatches(network)


@pytest.mark.usefixtures("compiling")
@pytest.mark.parametrize(
    ("optimizer", "compiled", "first"),
    [
        *((name, False, first) for name in OPTIMIZERS for first in (0, 9, 14)),
        *(pytest.param("adamw", True, first, marks=pytest.mark.slow) for first in (0, 9, 14)),
    ],
)
def test_a_block_ends_before_the_update_of_a_loss_that_is_not_finite(
    optimizer: str, compiled: bool, first: int
) -> None:
    # the update of step 13 is so long that the loss of step 14 overflows
    rates = [*RATES[:13], 1e30, *RATES[14:]]
    take, expected, block = whole_of(optimizer, compiled)
    losses = take(block.steps(0, 14), rates[:14])
    assert losses[2] is None
    take, found, block = whole_of(optimizer, compiled)
    before = take(block.steps(0, first), rates[:first])
    nlls, penalties, diverged = take(block.steps(first, STEPS), rates[first:])
    assert diverged is not None
    assert not math.isfinite(diverged)
    assert (before[0] + nlls, before[1] + penalties) == losses[:2]
    for mine, theirs in zip(state_of(found), state_of(expected), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.usefixtures("compiling")
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_signal_ends_a_block_after_a_whole_step(compiled: bool) -> None:
    take, expected, block = whole_of("adamw", compiled)
    take(block, RATES)
    take, found, block = whole_of("adamw", compiled)
    with signals.answering():
        signals.hold()
        take(block.steps(0, 12), RATES[:12])
        os.kill(os.getpid(), signal.SIGTERM)
        assert take(block.steps(12, STEPS), RATES[12:]) == ([], [], None)
    take(block.steps(12, STEPS), RATES[12:])
    for mine, theirs in zip(state_of(found), state_of(expected), strict=True):
        assert torch.equal(mine, theirs)


def test_a_signal_within_a_step_that_may_be_torn_leaves_the_state_before_its_block() -> None:
    network = network_of("mlp")
    optimizer = OPTIMIZERS["adamw"](network.parameters())
    take, block = eager_steps(Objective(network, 0.1), optimizer), minibatches(network)

    def stopped_half_way(block: Any, rates: Any) -> Any:
        take(block.steps(0, 3), rates[:3])
        raise signals.Stopped(signal.SIGTERM)

    take(block.steps(0, 5), RATES[:5])
    before = state_of(optimizer)
    with pytest.raises(signals.Stopped):
        whole_steps(stopped_half_way, optimizer, network)(block.steps(5, STEPS), RATES[5:])
    for mine, theirs in zip(state_of(optimizer), before, strict=True):
        assert torch.equal(mine, theirs)
