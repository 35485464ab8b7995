"""Functional updates: the parameters and the state of torch.optim's own classes, to the bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from makemore.training.optimizers import ClassUpdate, StepOptions, functional_update, snapshot

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
@settings(deadline=None, max_examples=100)
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
@settings(deadline=None, max_examples=100)
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
