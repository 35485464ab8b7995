"""Functional updates: the parameters and the state of torch.optim's own classes, to the bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from makemore.training.optimizers import (
    ClassUpdate,
    FunctionalUpdate,
    StepOptions,
    functional_update,
    groups_of,
    has_functional_form,
    snapshot,
)

SHAPES = [(3, 2), (4,), (2, 3, 2)]
STEPS = 4


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def gradients() -> list[list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [[torch.randn(shape, generator=generator) for shape in SHAPES] for _ in range(STEPS)]


def by_class(make: Callable[..., torch.optim.Optimizer], rates: list[float]) -> tuple[list[Tensor], dict[str, Any]]:
    """Take the steps as anyone does."""
    optimizer = make(parameters())
    values = optimizer.param_groups[0]["params"]
    for rate, step in zip(rates, gradients(), strict=True):
        optimizer.param_groups[0]["lr"] = rate
        for parameter, gradient in zip(values, step, strict=True):
            parameter.grad = gradient
        optimizer.step()
    return values, optimizer.state_dict()


def by_function(make: Callable[..., torch.optim.Optimizer], rates: list[float]) -> tuple[list[Tensor], dict[str, Any]]:
    optimizer = make(parameters())
    update = functional_update(optimizer)
    assert update is not None
    for rate, step in zip(rates, gradients(), strict=True):
        update(step, rate)
    return optimizer.param_groups[0]["params"], optimizer.state_dict()


def assert_same(make: Callable[..., torch.optim.Optimizer], rates: list[float]) -> None:
    (ours, our_state), (theirs, their_state) = by_function(make, rates), by_class(make, rates)
    for mine, expected in zip(ours, theirs, strict=True):
        assert torch.equal(mine, expected)
    assert our_state["state"].keys() == their_state["state"].keys()
    for number, their_entries in their_state["state"].items():
        mine_state = our_state["state"][number]
        # SGD without momentum keeps an empty place for it
        expected_state = {name: value for name, value in their_entries.items() if value is not None}
        assert mine_state.keys() == expected_state.keys()
        for name, tensor in expected_state.items():
            assert torch.equal(mine_state[name], tensor), name
            assert mine_state[name].dtype == tensor.dtype


RATES = st.lists(st.floats(0, 1), min_size=STEPS, max_size=STEPS)
FORMS = st.sampled_from([{"fused": True}, {"foreach": True}, {"foreach": False}, {}])


@given(
    rates=RATES,
    form=FORMS,
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    weight_decay=st.sampled_from([0.0, 0.1]),
    nesterov=st.booleans(),
    maximize=st.booleans(),
)
@settings(max_examples=100)
def test_sgd_is_torchs(
    rates: list[float], form: dict[str, bool], momentum: float, weight_decay: float, nesterov: bool, maximize: bool
) -> None:
    options = {"momentum": momentum, "weight_decay": weight_decay, "maximize": maximize, **form}
    options["nesterov"] = nesterov and momentum > 0
    assert_same(lambda values: torch.optim.SGD(values, lr=0.1, **options), rates)


@given(
    rates=RATES,
    form=FORMS,
    kind=st.sampled_from([torch.optim.Adam, torch.optim.AdamW]),
    beta1=st.sampled_from([0.0, 0.9]),
    weight_decay=st.sampled_from([0.0, 0.1]),
    amsgrad=st.booleans(),
    maximize=st.booleans(),
)
@settings(max_examples=100)
def test_adam_and_adamw_are_torchs(
    rates: list[float],
    form: dict[str, bool],
    kind: type[torch.optim.Adam],
    beta1: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
) -> None:
    options: dict[str, Any] = {"betas": (beta1, 0.95), "weight_decay": weight_decay, "amsgrad": amsgrad}
    options |= {"maximize": maximize, "eps": 1e-6, **form}
    assert_same(lambda values: kind(values, lr=0.1, **options), rates)


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW], ids=["sgd", "adamw"])
def test_an_optimiser_goes_on_from_its_state(make: Callable[..., torch.optim.Optimizer]) -> None:
    options = {"momentum": 0.9} if make is torch.optim.SGD else {}
    whole, _ = by_function(lambda values: make(values, lr=0.1, **options), [0.1] * STEPS)
    first = make(parameters(), lr=0.1, **options)
    update = functional_update(first)
    assert update is not None
    for step in gradients()[:2]:
        update(step, 0.1)
    second = make(
        [nn.Parameter(value.detach().clone()) for value in first.param_groups[0]["params"]], lr=0.1, **options
    )
    second.load_state_dict(first.state_dict())
    update = functional_update(second)
    assert update is not None
    for step in gradients()[2:]:
        update(step, 0.1)
    for mine, expected in zip(second.param_groups[0]["params"], whole, strict=True):
        assert torch.equal(mine, expected)


class MyAdam(torch.optim.Adam):
    """Someone's own: what is not torch.optim's class itself may do anything in its step."""


@pytest.mark.parametrize(
    "make",
    [
        lambda values: MyAdam(values, lr=0.1),
        lambda values: torch.optim.RMSprop(values, lr=0.1),
        lambda values: torch.optim.SGD(values, lr=0.1, momentum=0.9, dampening=0.5),
    ],
    ids=["subclass", "RMSprop", "dampening"],
)
def test_others_take_their_own_step(make: Callable[..., torch.optim.Optimizer]) -> None:
    optimizer = make(parameters())
    assert functional_update(optimizer) is None
    update = ClassUpdate(optimizer, StepOptions())
    rates = [0.1, 0.2, 0.05, 0.0]
    for rate, step in zip(rates, gradients(), strict=True):
        update(step, rate)
    expected, _ = by_class(make, rates)
    for mine, theirs in zip(optimizer.param_groups[0]["params"], expected, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.AdamW(p, lr=0.1),
        lambda p: torch.optim.RMSprop(p, lr=0.1),
        lambda p: torch.optim.NAdam(p, lr=0.1),
    ],
)
def test_a_snapshot_brings_back_parameters_and_state_in_their_places(
    make: Callable[..., torch.optim.Optimizer], before: int
) -> None:
    def take(optimizer: torch.optim.Optimizer, steps: list[list[Tensor]]) -> list[Tensor]:
        values: list[Tensor] = optimizer.param_groups[0]["params"]
        for step in steps:
            for parameter, gradient in zip(values, step, strict=True):
                parameter.grad = gradient
            optimizer.step()
        return values

    never, taken_back = make(parameters()), make(parameters())
    expected, found = take(never, gradients()[:before]), take(taken_back, gradients()[:before])
    places = [parameter.data_ptr() for parameter in found]
    take_back = snapshot(taken_back, torch.nn.ParameterList(found))
    for _ in range(2):
        take(taken_back, gradients()[before:])
        take_back()
        assert [parameter.data_ptr() for parameter in found] == places
        for mine, theirs in zip(found, expected, strict=True):
            assert torch.equal(mine, theirs)
            assert str(dict(taken_back.state[mine])) == str(dict(never.state[theirs]))
    for mine, theirs in zip(take(taken_back, gradients()), take(never, gradients()), strict=True):
        assert torch.equal(mine, theirs)


OPTIMISERS = pytest.mark.parametrize(
    "make",
    [
        lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.1),
        lambda groups: torch.optim.AdamW(groups, lr=0.1, weight_decay=0.1),
        lambda groups: torch.optim.RMSprop(groups, lr=0.1, weight_decay=0.1),
    ],
    ids=["SGD", "AdamW", "RMSprop"],
)


def update_of(optimizer: torch.optim.Optimizer, options: StepOptions) -> FunctionalUpdate | ClassUpdate:
    return functional_update(optimizer, options) or ClassUpdate(optimizer, options)


@OPTIMISERS
@pytest.mark.parametrize("clip_norm", [0.01, 3.0, 1e9])
def test_gradients_are_clipped_as_torch_does(make: Callable[..., torch.optim.Optimizer], clip_norm: float) -> None:
    ours, theirs = make(parameters()), make(parameters())
    update = update_of(ours, StepOptions(clip_norm))
    values = theirs.param_groups[0]["params"]
    for step in gradients():
        update([gradient.clone() for gradient in step], 0.1)
        for parameter, gradient in zip(values, step, strict=True):
            parameter.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_(values, clip_norm)
        theirs.step()
    for mine, expected in zip(ours.param_groups[0]["params"], values, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-7)


@OPTIMISERS
def test_averages_move_towards_the_parameters(make: Callable[..., torch.optim.Optimizer]) -> None:
    optimizer = make(parameters())
    values = optimizer.param_groups[0]["params"]
    averages = [value.detach().clone() for value in values]
    expected = [average.clone() for average in averages]
    update = update_of(optimizer, StepOptions(averages=averages, decay=0.75))
    for step in gradients():
        update(step, 0.1)
        expected = [0.75 * mean + 0.25 * value.detach() for mean, value in zip(expected, values, strict=True)]
    for average, mean in zip(averages, expected, strict=True):
        torch.testing.assert_close(average, mean)


@OPTIMISERS
def test_vectors_are_spared_weight_decay(make: Callable[..., torch.optim.Optimizer]) -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    optimizer = make(groups_of(network, decay_vectors=False))
    assert has_functional_form(optimizer) == (type(optimizer) is not torch.optim.RMSprop)
    ordered = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    update_of(optimizer, StepOptions())([torch.zeros_like(parameter) for parameter in ordered], 0.1)
    changed = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {"0.weight"}
    (only,) = groups_of(network, decay_vectors=True)
    assert list(map(id, only["params"])) == list(map(id, network.parameters()))


def test_groups_that_differ_in_more_than_weight_decay_have_no_functional_form() -> None:
    first, *others = parameters()
    groups: list[dict[str, Any]] = [{"params": [first]}, {"params": others, "betas": (0.5, 0.9)}]
    assert not has_functional_form(torch.optim.AdamW(groups))


@pytest.mark.parametrize("wrong", [3, None, torch.zeros(2)])
@pytest.mark.parametrize("name", ["step", "exp_avg"])
def test_a_state_of_another_shape_is_refused(name: str, wrong: Any) -> None:
    optimizer = torch.optim.AdamW(parameters(), lr=0.1)
    assert functional_update(optimizer) is not None
    optimizer.state[optimizer.param_groups[0]["params"][1]][name] = wrong
    with pytest.raises(ValueError, match=f"{name} of the optimiser is not a tensor of shape"):
        functional_update(optimizer)
