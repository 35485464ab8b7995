"""The update of stacked members, each with its own learning rate: parameters and states with a dimension of N."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from makemore.sweeps.vectorized.layout import Layout
from makemore.training.optimizers import (
    TINY,
    FunctionalUpdate,
    Gradients,
    StepOptions,
    functional_update,
    parameters_of,
)
from makemore.training.update_rules import by_member, tensor_rules


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
        return [gradient * by_member(scale, gradient) for gradient in gradients]


def stacked_update(
    optimizers: Sequence[torch.optim.Optimizer], options: Sequence[StepOptions], layout: Layout
) -> FunctionalUpdate:
    """Return the update of N members at once, with a tensor (N,) of learning rates.

    Their optimisers have a functional form and are alike but for their rates. The members' own parameters and states
    become views of the stacked ones.
    """
    updates = [functional_update(optimizer, compiled=True) for optimizer in optimizers]
    states = [update.state for update in updates if update is not None]
    parameters = [stack(each, layout) for each in zip(*map(parameters_of, optimizers), strict=True)]
    state = tuple(
        [None if each[0] is None else stack(each, layout) for each in zip(*kinds, strict=True)]
        for kinds in zip(*states, strict=True)
    )
    averages = [stack(each, layout) for each in zip(*(of_member.averages for of_member in options), strict=True)]
    stacked = StackedOptions(options[0].clip_norm, averages, options[0].decay)
    return FunctionalUpdate(tensor_rules(optimizers[0]), parameters, state, stacked)
