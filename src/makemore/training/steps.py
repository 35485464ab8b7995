"""Take the K optimiser steps of a block, one after another.

The Trainer's loop costs a small model several times its arithmetic, and so does Python between the operators. The
first is paid once a block; `makemore.training.compiling` removes the second.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.variable import Variable

from makemore.data.batches import Block
from makemore.models.network import Network
from makemore.system import signals
from makemore.training.draws import DRAWS, StepDraws, side_effects
from makemore.training.optimizers import ClassUpdate, StepOptions, functional_update, parameters_of, snapshot

# NLL and penalty of each step of a block, (K,), or of each member of a group, (K, N); fewer after a signal
Losses = tuple[Tensor, Tensor]
# (block, the learning rate of each step, or of each member in a group) -> losses
TakeSteps = Callable[[Block, Sequence[Any]], Losses]
# NLL and penalty of each step taken of a block, and the loss that was not finite, if any
Taken = tuple[list[float], list[float], float | None]
WholeSteps = Callable[[Block, Sequence[float]], Taken]


class Objective(nn.Module):
    """The loss of a step: the NLL of a minibatch plus an L2 penalty.

    The penalty is `l2` times the mean square of all entries of weight matrices, without biases, as in L0 and L1.
    """

    l2: Tensor
    no_penalty: Tensor

    def __init__(self, network: Network, l2: float) -> None:
        super().__init__()
        self.network = network
        self.penalised = l2 > 0
        like = next(network.parameters())
        # a tensor, as each member of a group may have another
        self.register_buffer("l2", like.new_tensor(l2, requires_grad=False))
        self.register_buffer("no_penalty", like.new_zeros(()))

    def forward(self, nll_of: Callable[..., Tensor], batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return NLL and penalty, in nats a character, of one batch of a block, given the block's `nll`."""
        nll = nll_of(self.network, *batch)
        return nll, self.penalty() if self.penalised else self.no_penalty

    def penalty(self) -> Tensor:
        """Return `l2` times the mean square over all entries of all weight matrices."""
        weights = [parameter for parameter in self.network.parameters() if parameter.ndim > 1]
        squares = torch.stack([weight.square().sum() for weight in weights]).sum()
        return self.l2 * squares / sum(weight.numel() for weight in weights)


def whole_steps(
    take: TakeSteps, optimizer: torch.optim.Optimizer, network: nn.Module, averages: list[Tensor] | None = None
) -> WholeSteps:
    """Return a function that takes back a block with a loss that is not finite, and takes it anew up to there.

    A block that a signal has interrupted is taken back.
    """

    def whole(block: Block, rates: Sequence[float]) -> Taken:
        take_back = snapshot(optimizer, network, averages)
        try:
            nlls, penalties = take(block, rates)
        except (signals.Stopped, KeyboardInterrupt):
            # the latter where signals are not ours, in a script
            take_back()
            raise
        losses = nlls + penalties
        diverged = None
        if not (finite := losses.isfinite()).all():
            last = int(finite.byte().argmin())
            diverged = float(losses[last])
            take_back()
            nlls, penalties = take(block.steps(0, last), rates[:last])
        return nlls.tolist(), penalties.tolist(), diverged

    return whole


def eager_steps(
    objective: Objective, optimizer: torch.optim.Optimizer, seed: int = 0, options: StepOptions | None = None
) -> TakeSteps:
    """Return a function that takes the steps of a block one after another; `seed` is that of the network's draws."""
    options = options or StepOptions()
    update = functional_update(optimizer, options) or ClassUpdate(optimizer, options)
    parameters = tuple(parameters_of(optimizer))
    one = torch.ones((), device=parameters[0].device)
    # seeding costs a tenth of a small model's step
    draws = StepDraws(seed, one.device) if DRAWS in side_effects(objective.network) else None
    # torch.autograd.grad without its checks, which cost a tenth of a small model's step
    run_backward = Variable._execution_engine.run_backward

    def take(block: Block, rates: Sequence[float]) -> Losses:
        nlls: list[Tensor] = []
        penalties: list[Tensor] = []
        with nullcontext() if draws is None else draws.restored():
            for batch, rate in zip(block.batches(), rates, strict=True):
                if signals.requested():
                    break
                if draws is not None:
                    draws.begin(block.first_step + len(nlls))
                nll, penalty = objective.forward(block.nll, batch)
                loss = nll + penalty if objective.penalised else nll
                backward = (loss,), (one,), False, False, parameters, False
                update(list(run_backward(*backward, accumulate_grad=False)), rate)
                nlls.append(nll.detach())
                penalties.append(penalty.detach())
        return (torch.stack(nlls), torch.stack(penalties)) if nlls else no_losses(one.device)

    return take


def no_losses(device: torch.device) -> Losses:
    """Return the losses of no steps."""
    return torch.zeros(0, device=device), torch.zeros(0, device=device)
