"""The update rules of SGD, Adam and AdamW for stacked members, each with its own learning rate.

torch.optim's functional forms take one learning rate, which `vmap` cannot map. Here, and only here, the rules are
ours: those of torch.optim's documentation, on tensors with a leading dimension of N members.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

from makemore.sweeps.vectorized.layout import Layout
from makemore.training.optimizers import (
    TINY,
    FunctionalUpdate,
    Gradients,
    Rule,
    StepOptions,
    functional_update,
    parameters_of,
    rules_of,
)


def stack(tensors: Sequence[Tensor], layout: Layout) -> Tensor:
    """Return a tensor (rows, ...) of N tensors (...), which become views of it."""
    stacked = torch.stack([tensor.detach() for tensor in layout.spread(tensors)])
    for tensor, row in zip(tensors, layout.own, strict=True):
        tensor.data = stacked[row]
    return stacked


@dataclass(frozen=True)
class StackedOptions(StepOptions):
    """The options of members, whose gradients (N, ...) are clipped each by itself."""

    def clipped(self, gradients: Gradients) -> Gradients:
        """Return the gradients, those of a member shortened where they are too long."""
        if self.clip_norm is None:
            return gradients
        squares = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients])
        scale = (self.clip_norm / (squares.sum(0).sqrt() + TINY)).clamp(max=1)
        return [gradient * _by_member(scale, gradient) for gradient in gradients]


def stacked_update(
    optimizers: Sequence[torch.optim.Optimizer], options: Sequence[StepOptions], layout: Layout
) -> FunctionalUpdate:
    """Return the update of N members at once, with a tensor (N,) of learning rates.

    Their optimisers have a functional form and are alike but for their rates. The members' own parameters and states
    become views of the stacked ones.
    """
    first = optimizers[0]
    group = first.param_groups[0]
    rule: Rule = sgd if type(first) is SGD else adam
    names = [name for name in signature(rule).parameters if name in group and name not in ("lr", "weight_decay")]
    rule = partial(rule, **{name: group[name] for name in names})
    updates = [functional_update(optimizer, compiled=True) for optimizer in optimizers]
    states = [update.state for update in updates if update is not None]
    parameters = [stack(each, layout) for each in zip(*map(parameters_of, optimizers), strict=True)]
    state = tuple(
        [None if each[0] is None else stack(each, layout) for each in zip(*kinds, strict=True)]
        for kinds in zip(*states, strict=True)
    )
    averages = [stack(each, layout) for each in zip(*(of_member.averages for of_member in options), strict=True)]
    stacked = StackedOptions(options[0].clip_norm, averages, options[0].decay)
    return FunctionalUpdate(rules_of(first, rule), parameters, state, stacked)


def sgd(
    parameters: list[Tensor],
    gradients: list[Tensor],
    buffers: list[Any],
    *,
    lr: Tensor,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    """Take a step of SGD without dampening, in place: `torch.optim.SGD`, with rates (N,)."""
    for parameter, gradient, buffer in zip(parameters, gradients, buffers, strict=True):
        change = -gradient if maximize else gradient
        if weight_decay:
            change = change + weight_decay * parameter
        if momentum:
            # zero before the first step, where torch.optim has none
            buffer.mul_(momentum).add_(change)
            change = change + momentum * buffer if nesterov else buffer
        parameter.addcmul_(change, _by_member(lr, parameter), value=-1)


def adam(
    parameters: list[Tensor],
    gradients: list[Tensor],
    averages: list[Tensor],
    squares: list[Tensor],
    most_squares: list[Tensor],
    steps: list[Tensor],
    *,
    lr: Tensor,
    weight_decay: float,
    betas: tuple[float, float],
    eps: float,
    amsgrad: bool,
    maximize: bool,
    decoupled_weight_decay: bool,
) -> None:
    """Take a step of Adam or AdamW, in place: `torch.optim.Adam`, with rates (N,) (Loshchilov and Hutter 2019)."""
    beta1, beta2 = betas
    for step in steps:
        step.add_(1)
    taken = steps[0].to(lr.device).double()
    size = (lr / (1 - beta1**taken)).to(lr.dtype)
    scale = (1 - beta2**taken).sqrt().to(lr.dtype)
    for index, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
        change = -gradient if maximize else gradient
        if weight_decay and decoupled_weight_decay:
            parameter.mul_(1 - _by_member(lr, parameter) * weight_decay)
        elif weight_decay:
            change = change + weight_decay * parameter
        average, square = averages[index], squares[index]
        average.lerp_(change, 1 - beta1)
        square.mul_(beta2).addcmul_(change, change, value=1 - beta2)
        if amsgrad:
            most_squares[index].copy_(torch.maximum(most_squares[index], square))
            square = most_squares[index]
        root = square.sqrt().div_(_by_member(scale, parameter)).add_(eps)
        parameter.addcdiv_(average * _by_member(size, parameter), root, value=-1)


def _by_member(values: Tensor, like: Tensor) -> Tensor:
    """Return values (N,) in a shape that broadcasts over a tensor (N, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))
