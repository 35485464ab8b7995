"""The update rules of SGD, Adam and AdamW for stacked members, each with its own learning rate.

torch.optim's functional forms take one learning rate, which `vmap` cannot map. Here, and only here, the rules are
ours: those of torch.optim's documentation, on tensors with a leading dimension of N members.
"""

from collections.abc import Sequence
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

from makemore.sweeps.vectorized.layout import Layout
from makemore.training.optimizers import FunctionalUpdate, Rule, functional_update, parameters_of


def stack(tensors: Sequence[Tensor], layout: Layout) -> Tensor:
    """Return a tensor (rows, ...) of N tensors (...), which become views of it."""
    stacked = torch.stack([tensor.detach() for tensor in layout.spread(tensors)])
    for tensor, row in zip(tensors, layout.own, strict=True):
        tensor.data = stacked[row]
    return stacked


def stacked_update(optimizers: Sequence[torch.optim.Optimizer], layout: Layout) -> FunctionalUpdate:
    """Return the update of N members at once, with a tensor (N,) of learning rates.

    Their optimisers have a functional form and are alike but for their rates. The members' own parameters and states
    become views of the stacked ones.
    """
    first = optimizers[0]
    (group,) = first.param_groups
    rule: Rule = sgd if type(first) is SGD else adam
    options = {name: group[name] for name in signature(rule).parameters if name in group and name != "lr"}
    updates = [functional_update(optimizer, compiled=True) for optimizer in optimizers]
    states = [update.state for update in updates if update is not None]
    parameters = [stack(each, layout) for each in zip(*map(parameters_of, optimizers), strict=True)]
    state = tuple(
        [None if each[0] is None else stack(each, layout) for each in zip(*kinds, strict=True)]
        for kinds in zip(*states, strict=True)
    )
    return FunctionalUpdate(partial(rule, **options), parameters, state)


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
