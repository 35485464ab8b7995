"""The update rules for members with a rate each: those of torch.optim."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD, Adam, AdamW

from makemore.sweeps.vectorized.layout import Layout
from makemore.sweeps.vectorized.stacked_optimizers import stack, stacked_update
from makemore.training.optimizers import StepOptions

SHAPES = [(3, 4), (4,), ()]
STEPS = 12


def members(make: Callable[..., torch.optim.Optimizer], rates: list[float]) -> list[torch.optim.Optimizer]:
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(shape, generator=generator) for shape in SHAPES]
    return [
        make([torch.nn.Parameter(value * (1 + member)) for value in values], lr=rate)
        for member, rate in enumerate(rates)
    ]


def parameters(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return list(optimizer.param_groups[0]["params"])


@pytest.mark.parametrize("layout", [Layout([0, 1, 2], 3), Layout([1, 2, 4], 6)], ids=["dense", "with gaps"])
@given(
    options=st.one_of(
        st.fixed_dictionaries(
            {
                "kind": st.just(SGD),
                "momentum": st.sampled_from([0.0, 0.9]),
                "weight_decay": st.sampled_from([0.0, 0.1]),
                "maximize": st.booleans(),
            }
        ),
        st.just({"kind": SGD, "momentum": 0.5, "nesterov": True, "weight_decay": 0.1}),
        st.fixed_dictionaries(
            {
                "kind": st.sampled_from([Adam, AdamW]),
                "weight_decay": st.sampled_from([0.0, 0.1]),
                "amsgrad": st.booleans(),
                "maximize": st.booleans(),
                "betas": st.sampled_from([(0.9, 0.999), (0.5, 0.7)]),
            }
        ),
    ),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25)
def test_each_member_changes_as_its_own_optimiser_would_change_it(
    layout: Layout, options: dict[str, Any], seed: int
) -> None:
    options = dict(options)
    kind, rates = options.pop("kind"), [0.1, 0.01, 0.0]
    ours, theirs = (members(lambda values, lr: kind(values, lr=lr, **options), rates) for _ in range(2))
    update = stacked_update(ours, [StepOptions()] * len(ours), layout)
    generator = torch.Generator().manual_seed(seed)
    for step in range(STEPS):
        # another rate at each step, as schedules have it
        now = [rate / (1 + step) for rate in rates]
        gradients = [torch.randn((3, *shape), generator=generator) for shape in SHAPES]
        for member, optimizer in enumerate(theirs):
            optimizer.param_groups[0]["lr"] = now[member]
            for parameter, gradient in zip(parameters(optimizer), gradients, strict=True):
                parameter.grad = gradient[member].clone()
            optimizer.step()
        by_row = [torch.stack(layout.spread(gradient.unbind())) for gradient in gradients]
        with torch.no_grad():
            update(by_row, torch.tensor(layout.spread(now)))
    for mine, optimizer in zip(ours, theirs, strict=True):
        for parameter, wanted in zip(parameters(mine), parameters(optimizer), strict=True):
            torch.testing.assert_close(parameter, wanted, atol=1e-5, rtol=1e-5)
            state = {name: value for name, value in optimizer.state[wanted].items() if value is not None}
            assert {name for name, value in mine.state[parameter].items() if value is not None} == state.keys()
            for name, value in state.items():
                torch.testing.assert_close(mine.state[parameter][name], value, atol=1e-5, rtol=1e-5, check_dtype=False)


def test_what_is_stacked_becomes_views() -> None:
    tensors = [torch.full((2,), float(number)) for number in range(3)]
    stacked = stack(tensors, Layout([0, 2, 3], 5))
    assert stacked[:, 0].tolist() == [0.0, 0.0, 1.0, 2.0, 0.0]
    stacked += 1
    assert [tensor.tolist() for tensor in tensors] == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    tensors[1].zero_()
    assert stacked[2].tolist() == [0.0, 0.0]
