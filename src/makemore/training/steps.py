"""Take the K optimiser steps of a block, eagerly or compiled.

The Trainer's loop costs a small model several times its arithmetic, and so does Python between the operators. The
first is paid once a block; `torch.compile` removes the second.
"""

import logging
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.variable import Variable
from torch.func import functional_call, grad_and_value

from makemore import signals
from makemore.data import cache
from makemore.data.batches import Block, PackedBatches
from makemore.models.network import Network
from makemore.training.draws import DRAWS, StepDraws, renewed_buffers, side_effects
from makemore.training.optimizers import (
    ClassUpdate,
    FunctionalUpdate,
    StepOptions,
    functional_update,
    parameters_of,
    snapshot,
)

log = logging.getLogger(__name__)

# NLL and penalty of each step of a block, (K,), or of each member of a group, (K, N); fewer after a signal
Losses = tuple[Tensor, Tensor]
# (block, the learning rate of each step, or of each member in a group) -> losses
TakeSteps = Callable[[Block, Sequence[Any]], Losses]
# (parameters, buffers that a forward pass renews, a block's `nll`, a batch of it)
# -> gradients, in the order of the parameters, (NLL, penalty), new buffers
Gradients = Callable[
    [list[Tensor], list[Tensor], Callable[..., Tensor], tuple[Tensor, ...]], tuple[list[Tensor], Losses, list[Tensor]]
]
# NLL and penalty of each step taken of a block, and the loss that was not finite, if any
Taken = tuple[list[float], list[float], float | None]
WholeSteps = Callable[[Block, Sequence[float]], Taken]

# steps in one compiled function; docs/performance.md has the cost of other numbers
_UNROLLED = 10


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
        except signals.Stopped:
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


def compiled_steps(
    objective: Objective, optimizer: torch.optim.Optimizer, seed: int = 0, options: StepOptions | None = None
) -> TakeSteps:
    """Return a function that takes the steps of a block in a few calls of compiled ones, to the same bits for any K.

    Compiled steps differ from eager ones in the last bits. A network with side effects is not compiled, and a warning
    says so.
    """
    if effects := side_effects(objective.network):
        what = f"{type(objective.network).__name__} {' and '.join(effects)} in training"
        log.warning("compile=true: %s; training continues without", what)
        return eager_steps(objective, optimizer, seed, options)
    known: dict[Tensor, str] = {parameter: name for name, parameter in objective.named_parameters()}
    names = [known[parameter] for parameter in parameters_of(optimizer)]
    update = functional_update(optimizer, options, compiled=True)
    assert update is not None

    network = objective.network
    renewed = [f"network.{name}" for name in renewed_buffers(network)]
    buffers = dict(objective.named_buffers())

    def gradients(parameters, buffers, nll_of, batch):  # type: ignore[no-untyped-def] # Dynamo cannot trace annotations
        def loss(values, batch):  # type: ignore[no-untyped-def]
            state = dict(zip(names, values, strict=True)) | dict(zip(renewed, buffers, strict=True))
            nll, penalty = functional_call(objective, state, (nll_of, batch))
            return nll + penalty, ((nll, penalty), [state[name] for name in renewed])

        found, (_, (losses, new)) = grad_and_value(loss, has_aux=True)(parameters, batch)
        return found, losses, new

    of_network = [buffers[name] for name in renewed]

    def otherwise() -> TakeSteps:
        return eager_steps(objective, optimizer, seed, options)

    return compiled_update(update, of_network, gradients, otherwise, network)


def compiled_update(
    update: FunctionalUpdate,
    buffers: list[Tensor],
    gradients_of: Gradients,
    otherwise: Callable[[], TakeSteps],
    network: Network,
) -> TakeSteps:
    """Return a function that takes the steps of a block in calls of compiled ones, ten or one at a time.

    `buffers` are those that a step renews; they are changed in place, as the parameters are. Where compiling fails,
    for want of a C++ compiler perhaps, a warning says so and the other steps are taken without. On CUDA the compiled
    functions are captured as graphs. `otherwise` makes the function that takes steps without compiling.
    """
    from torch._dynamo.exc import TorchDynamoException  # half a second, which others need not wait for

    eager: TakeSteps | None = None
    compiled_lengths: set[int] = set()

    def unrolled(
        parameters: list[Tensor],
        state: tuple[list[Any], ...],
        averages: list[Tensor],
        buffers: list[Tensor],
        nll_of: Callable[..., Tensor],
        stacked: list[Tensor],
        rates: Tensor,
    ) -> Losses:
        nlls, penalties = [], []
        for index in range(len(rates)):
            batch = tuple(tensor[index] for tensor in stacked)
            gradients, (nll, penalty), renewed = gradients_of(parameters, buffers, nll_of, batch)
            for buffer, new in zip(buffers, renewed, strict=True):
                buffer.copy_(new)
            update.apply(parameters, gradients, state, averages, rates[index])
            nlls.append(nll)
            penalties.append(penalty)
        return torch.stack(nlls), torch.stack(penalties)

    averages = update.options.averages
    # a step over lines takes long enough to be called by itself, and long to compile
    most = 1 if network.reads == "lines" else _UNROLLED
    _keep_compiled()
    # else all runs of a process share a limit of eight shapes
    torch.compiler.reset()
    device = update.parameters[0].device
    if device.type == "cuda":
        for tensor in chain(update.parameters, *update.state, averages, buffers):
            if tensor is not None:
                # a captured graph may change only tensors with a static address
                torch._dynamo.mark_static_address(tensor)
    mode = "reduce-overhead" if device.type == "cuda" else None
    compiled = torch.compile(unrolled, fullgraph=True, dynamic=False, mode=mode)

    def take(block: Block, rates: Sequence[Any]) -> Losses:
        nonlocal eager
        assert not isinstance(block, PackedBatches)
        stacked, rate = block.stacked(), torch.tensor(rates, device=device)
        losses, first = [no_losses(device)], 0
        while eager is None and first < len(block) and not signals.requested():
            last = first + (most if first + most <= len(block) else 1)
            steps = [tensor[first:last] for tensor in stacked]
            # the first call compiles, which takes long; an interrupted block is taken back
            interruptible = nullcontext() if last - first in compiled_lengths else signals.at_once()
            try:
                with torch.no_grad(), interruptible:
                    changing = update.parameters, update.state, averages, buffers
                    part = compiled(*changing, block.nll, steps, rate[first:last])
            except TorchDynamoException as error:
                # nothing has changed yet: a function is compiled before it runs
                reason = " ".join(str(error).split("\n\n")[0].split())
                log.warning("compile=true: %s; training continues without", reason)
                eager = otherwise()
            else:
                compiled_lengths.add(last - first)
                # a captured graph overwrites these with its next results
                losses.append((part[0].clone(), part[1].clone()))
                first = last
        if eager is not None:
            losses.append(eager(block.steps(first, len(block)), rates[first:]))
        nlls, penalties = (torch.cat(parts) for parts in zip(*losses, strict=True))
        return nlls, penalties

    return take


def _keep_compiled() -> None:
    """Let inductor keep compiled code in the user's cache, unless another place was chosen."""
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir  # used here alone

    # importing Lightning sets the variable to the default, which a reboot empties
    if os.environ.get("TORCHINDUCTOR_CACHE_DIR", default_cache_dir()) == default_cache_dir():
        # code is compiled for the processor of this machine, and a home may be shared
        directory = cache.directory("inductor") / platform.node()
        with suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(directory)
