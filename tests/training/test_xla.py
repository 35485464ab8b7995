"""Steps in XLA programs: close to eager ones, to the same bits for any blocks and for any other members of a group."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import jax_process
from makemore.data.batches import IGNORED, Block, FullBatches, Minibatches
from makemore.errors import UserError
from makemore.models import network as registry
from makemore.models.network import Counted, Network, architectures, build, register
from makemore.sweeps.vectorized.layout import layout_of
from makemore.sweeps.vectorized.stack import Stack
from makemore.system import signals
from makemore.training.compiling import compiled_steps
from makemore.training.optimizers import StepOptions, parameters_of, snapshot
from makemore.training.steps import Objective, TakeSteps, eager_steps

VOCAB_SIZE, LENGTH, ROWS = 7, 3, 6
SMALL = {"embedding_dim": 4, "hidden_dim": 8}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "bigram": ("bigram", {}),
    "mlp": ("mlp", SMALL),
    "mlp of the lectures": ("mlp", SMALL | {"num_layers": 2, "batch_norm": True, "output_norm": True}),
    "wavenet": ("wavenet", SMALL | {"block_size": 4}),
    "rnn": ("rnn", SMALL | {"dropout": 0.2}),
    "gru": ("gru", SMALL | {"dropout": 0.2}),
    "lstm": ("lstm", SMALL | {"dropout": 0.2}),
    "bow": ("bow", SMALL | {"dropout": 0.2}),
    "transformer": ("transformer", {"embedding_dim": 8, "num_layers": 1, "num_heads": 2}),
    "rotary transformer": (
        "transformer",
        {"embedding_dim": 8, "num_layers": 1, "num_heads": 2, "positions": "rotary", "tied": True, "dropout": 0.2},
    ),
}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": partial(torch.optim.SGD, lr=0.1),
    "nesterov": partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": partial(torch.optim.Adam, lr=0.003, amsgrad=True, weight_decay=0.1),
    "adamw": partial(torch.optim.AdamW, lr=0.003),
}


def network_of(name: str, seed: int = 0) -> Network:
    architecture, arguments = NETWORKS[name]
    if architecture not in ("bigram", "mlp", "wavenet"):
        arguments = arguments | {"block_size": LENGTH}
    return build(architecture, VOCAB_SIZE, arguments, seed)


def minibatches(network: Network, steps: int, *members: int) -> Minibatches:
    generator = torch.Generator().manual_seed(1)
    lines = network.reads == "lines"
    shape = (steps, *members, ROWS, LENGTH if lines else network.block_size)
    tokens = torch.randint(VOCAB_SIZE, shape, generator=generator)
    targets = torch.randint(VOCAB_SIZE, shape if lines else shape[:-1], generator=generator)
    if lines:
        targets[..., 3:, 2:] = IGNORED
    keys = torch.randint(2**31, (steps, *members), generator=generator) if network.takes_key else None
    return Minibatches(0, tokens, targets, keys)


def steps_of(
    network: Network, optimizer: str, compiler: str | None, **options: Any
) -> tuple[TakeSteps, list[Tensor], Callable[[], None]]:
    """Return what takes the steps of a network, the averages of its weights, and what takes all steps back."""
    made = OPTIMIZERS[optimizer](list(network.parameters()))
    averages = [parameter.detach().clone() for parameter in parameters_of(made)]
    arguments = Objective(network, 0.01), made, 0, StepOptions(averages=averages, decay=0.9, **options)
    take = eager_steps(*arguments) if compiler is None else compiled_steps(*arguments, compiler)
    return take, averages, snapshot(made, network, averages)


def trained(take: TakeSteps, block: Block, rates: Any, cuts: tuple[int, ...] = ()) -> Tensor:
    """Return the losses (K, ...) of the steps of a block, taken in blocks that end at `cuts`."""
    bounds = pairwise((0, *cuts, len(block)))
    return torch.cat([sum(take(block.steps(a, b), rates[a:b])) for a, b in bounds])  # type: ignore[misc]


def compare(name: str, optimizer: str, steps: int, cuts: tuple[int, ...], **options: Any) -> None:
    """Check that XLA's steps are the same in any blocks, and close to eager ones."""
    rates = [OPTIMIZERS[optimizer].keywords["lr"] / (1 + step / 100) for step in range(steps)]  # type: ignore[attr-defined]
    found: list[list[Tensor]] = []
    for compiler in (None, "xla"):
        network = network_of(name)
        take, averages, take_back = steps_of(network, optimizer, compiler, **options)
        # the whole block last, as it may take a longer program than its parts, which would take that too then
        for ends in (cuts, ()) if compiler else ((),):
            take_back()
            losses = trained(take, minibatches(network, steps), rates, ends)
            found.append([losses, *(tensor.clone() for tensor in (*network.state_dict().values(), *averages))])
    assert not jax_process.warned
    eager, in_parts, whole = found
    assert not torch.equal(eager[0], whole[0])
    assert all(map(torch.equal, whole, in_parts))
    for ours, wanted in zip(whole, eager, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-4 if ours is whole[0] else 1e-3)


def test_all_networks_that_are_trained_by_gradient_descent_are_tried() -> None:
    neural = {name for name in architectures() if not issubclass(registry._REGISTRY[name], Counted)}
    assert {architecture for architecture, _ in NETWORKS.values()} == neural - {"mixture"}


QUICK = "mlp of the lectures"


@pytest.mark.full
def test_500_steps_are_close_to_eager_ones_and_the_same_in_any_blocks(in_jax_process: Callable[..., Any]) -> None:
    # the whole block takes a longer program than its parts
    in_jax_process(compare, QUICK, "adamw", 500, (0, 1, 3, 250), clip_norm=0.5)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        (QUICK, 100),
        *(pytest.param(name, 100, marks=pytest.mark.full) for name in ("wavenet", "lstm", "transformer")),
        *(pytest.param(name, 500, marks=pytest.mark.slow) for name in NETWORKS if name != QUICK),
    ],
)
def test_so_are_those_of_each_network(name: str, steps: int, in_jax_process: Callable[..., Any]) -> None:
    in_jax_process(compare, name, "adamw", steps, (0, 1, 3, 50), clip_norm=0.5)


@pytest.mark.full
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam"])
def test_every_optimiser_has_its_own_rule(optimizer: str, in_jax_process: Callable[..., Any]) -> None:
    in_jax_process(compare, "mlp", optimizer, 70, (7,))


def compare_members(name: str, optimizer: str) -> None:
    """Check that members are close to mapped eager ones, and the same whoever else is left of the group."""
    seeds, rates, steps = [3, 4, 5, 6, 7], [0.05, 0.01, 0.1, 0.02, 0.01], 20
    block = minibatches(network_of(name), steps, len(seeds))
    found = []
    for compiler, places in ((None, range(5)), ("xla", range(5)), ("xla", [4])):
        layout = layout_of(places, 1, len(seeds))
        networks = [network_of(name, seeds[place]) for place in places]
        optimizers = [OPTIMIZERS[optimizer](list(network.parameters())) for network in networks]
        options = [
            StepOptions(0.5, [p.detach().clone() for p in parameters_of(optimizer)], 0.9) for optimizer in optimizers
        ]
        stack = Stack(networks, optimizers, options, [0.1 * place for place in places], 0, layout)
        rows = torch.tensor(layout.spread(list(places)))
        parts = Minibatches(0, *(part[:, rows] for part in block.stacked()))
        take = stack.eager_steps() if compiler is None else stack.compiled_steps(compiler)
        losses = trained(take, parts, [layout.spread([rates[place] for place in places])] * steps, (7,))
        found.append([losses[:, layout.own[-1]], *(p.detach().clone() for p in networks[-1].parameters())])
    assert not jax_process.warned
    eager, of_all, alone = found
    for ours, wanted in zip(of_all, eager, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-4)
    assert all(map(torch.equal, of_all, alone))


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "optimizer"),
    [("mlp", "adamw"), pytest.param("rnn", "nesterov", marks=pytest.mark.slow), ("rotary transformer", "nesterov")],
)
def test_members_are_close_to_eager_ones_and_the_same_in_any_group(
    name: str, optimizer: str, in_jax_process: Callable[..., Any]
) -> None:
    in_jax_process(compare_members, name, optimizer)


def full_batch() -> None:
    found = []
    for compiler in (None, "xla"):
        network = network_of("mlp")
        contexts = torch.cartesian_prod(*[torch.arange(3)] * network.block_size)
        weights = torch.arange(1.0, len(contexts) + 1)
        pairs = torch.arange(len(contexts)) * VOCAB_SIZE + torch.arange(len(contexts)) % VOCAB_SIZE
        block = FullBatches(0, 12, contexts, pairs, weights / weights.sum())
        take, *_ = steps_of(network, "adamw", compiler)
        found.append(trained(take, block, [0.01] * 12, (5,)))
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)


@pytest.mark.full
def test_a_full_batch_is_that_of_eager_steps(in_jax_process: Callable[..., Any]) -> None:
    in_jax_process(full_batch)


def with_unknown_operator(unknown: Callable[[Tensor], Tensor]) -> list[str]:
    """Train a network that has an operator which the table does not know, and return what is logged."""

    @register("erf")
    class Erf(Network):
        block_size, vocab_size = 1, VOCAB_SIZE

        def __init__(self, vocab_size: int, generator: torch.Generator) -> None:
            super().__init__()
            self.W = nn.Parameter(torch.randn(vocab_size, vocab_size, generator=generator))

        def forward(self, contexts: Tensor) -> Tensor:
            return unknown(self.W[contexts[:, 0]])

    try:
        found = []
        for compiler in (None, "xla"):
            network = build("erf", VOCAB_SIZE, {}, 0)
            take, averages, _ = steps_of(network, "sgd", compiler)
            found.append([trained(take, minibatches(network, 12), [0.1] * 12, (5,)), *averages])
        assert all(map(torch.equal, *found))
    finally:
        del registry._REGISTRY["erf"]
    said = [*jax_process.warned]
    jax_process.warned.clear()
    return said


def scaled_sum(x: Tensor) -> Tensor:
    return torch.addmm(x, x @ x.T, x, beta=2)


def test_an_unknown_operator_is_named_in_one_line_and_the_steps_are_eager(in_jax_process: Callable[..., Any]) -> None:
    (line,) = in_jax_process(with_unknown_operator, torch.special.i0)
    assert line == "compile=xla: i0, special_i1 not known to JAX here; training continues without"


def test_so_is_an_operator_with_unknown_arguments(in_jax_process: Callable[..., Any]) -> None:
    (line,) = in_jax_process(with_unknown_operator, scaled_sum)
    assert line == "compile=xla: addmm with these arguments not known to JAX here; training continues without"


def interrupted() -> int:
    """Take steps of which a signal asks to be the last ones, and return how many were taken."""
    network = network_of("mlp")
    take, *_ = steps_of(network, "sgd", "xla")
    answers = iter([False, True])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "requested", lambda: next(answers))
        nlls, penalties = take(minibatches(network, 200), [0.1] * 200)
    assert len(nlls) == len(penalties)
    alone = network_of("mlp")
    steps_of(alone, "sgd", None)[0](minibatches(alone, 200).steps(0, len(nlls)), [0.1] * len(nlls))
    torch.testing.assert_close(network.state_dict(), alone.state_dict(), rtol=0, atol=1e-4)
    return len(nlls)


def test_a_signal_ends_a_block_after_whole_steps(in_jax_process: Callable[..., Any]) -> None:
    assert in_jax_process(interrupted) == 1


def without_its_device() -> str:
    """Ask for the steps of a network on a device for which there is no JAX, and return the error."""
    with pytest.raises(UserError) as caught:
        steps_of(network_of("mlp").to("meta"), "sgd", "xla")
    return str(caught.value)


def test_a_device_that_jax_lacks_is_named_in_one_line(in_jax_process: Callable[..., Any]) -> None:
    mend = "install JAX for it, or take trainer.accelerator=cpu"
    assert in_jax_process(without_its_device) == f"compile=xla: JAX finds no meta device; {mend}"
