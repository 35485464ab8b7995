"""The update rules of SGD, Adam and AdamW with the learning rate as a tensor, one for a run or one a member.

torch.optim's functional forms take one learning rate, which `vmap` cannot map, and on the CPU they are not traced with
a tensor as the rate. So these rules are ours, after torch.optim's documentation.
"""

from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

from makemore.training.optimizers import Rule, rules_of


def tensor_rules(optimizer: torch.optim.Optimizer) -> list[tuple[slice, Rule]]:
    """Return the rules of an optimiser that has a functional form, each with its options, for rates () or (N,)."""
    group = optimizer.param_groups[0]
    rule: Rule = sgd if type(optimizer) is SGD else adam
    names = [name for name in signature(rule).parameters if name in group and name not in ("lr", "weight_decay")]
    return rules_of(optimizer, partial(rule, **{name: group[name] for name in names}))


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
    """Take a step of SGD without dampening, in place: `torch.optim.SGD`, with rates () or (N,)."""
    for parameter, gradient, buffer in zip(parameters, gradients, buffers, strict=True):
        change = -gradient if maximize else gradient
        if weight_decay:
            change = change + weight_decay * parameter
        if momentum:
            # zero before the first step, where torch.optim has none
            buffer.mul_(momentum).add_(change)
            change = change + momentum * buffer if nesterov else buffer
        parameter.addcmul_(change, by_member(lr, parameter), value=-1)


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
            parameter.mul_(1 - by_member(lr, parameter) * weight_decay)
        elif weight_decay:
            change = change + weight_decay * parameter
        average, square = averages[index], squares[index]
        average.lerp_(change, 1 - beta1)
        square.mul_(beta2).addcmul_(change, change, value=1 - beta2)
        if amsgrad:
            most_squares[index].copy_(torch.maximum(most_squares[index], square))
            square = most_squares[index]
        root = square.sqrt().div_(by_member(scale, parameter)).add_(eps)
        parameter.addcdiv_(average * by_member(size, parameter), root, value=-1)


def by_member(values: Tensor, like: Tensor) -> Tensor:
    """Return values () or (N,) in a shape that broadcasts over a tensor (...) or (N, ...)."""
    return values.view(*values.shape, *[1] * (like.ndim - values.ndim))
