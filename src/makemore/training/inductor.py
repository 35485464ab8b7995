"""Take the steps of a block in functions compiled by `torch.compile` (`compile=true`)."""

import logging
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from makemore.data import cache
from makemore.data.batches import Block, PackedBatches
from makemore.system import signals
from makemore.training.pure_step import PureStep
from makemore.training.steps import Losses, TakeSteps, no_losses

log = logging.getLogger(__name__)

# steps in one compiled function; docs/performance.md has the cost of other numbers
_UNROLLED = 10


def inductor_steps(step: PureStep, otherwise: Callable[[], TakeSteps]) -> TakeSteps:
    """Return a function that takes the steps of a block in calls of compiled ones, ten or one at a time.

    Where compiling fails, for want of a C++ compiler perhaps, a warning says so and the other steps are taken without.
    On CUDA the compiled functions are captured as graphs. `otherwise` makes the function that takes steps without
    compiling.
    """
    from torch._dynamo.exc import TorchDynamoException  # half a second, which others need not wait for

    eager: TakeSteps | None = None
    compiled_lengths: set[int] = set()

    def unrolled(changing: Any, nll_of: Callable[..., Tensor], stacked: list[Tensor], rates: Tensor) -> Losses:
        nlls, penalties = [], []
        for index in range(len(rates)):
            batch = tuple(tensor[index] for tensor in stacked)
            nll, penalty = step.take(changing, nll_of, batch, rates[index])
            nlls.append(nll)
            penalties.append(penalty)
        return torch.stack(nlls), torch.stack(penalties)

    parameters, state, averages, buffers = step.changing
    # a step over lines takes long enough to be called by itself, and long to compile
    most = 1 if step.network.reads == "lines" else _UNROLLED
    _keep_compiled()
    # else all runs of a process share a limit of eight shapes
    torch.compiler.reset()
    device = parameters[0].device
    if device.type == "cuda":
        for tensor in chain(parameters, *state, averages, buffers):
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
            batches = [tensor[first:last] for tensor in stacked]
            # the first call compiles, which takes long; an interrupted block is taken back
            interruptible = nullcontext() if last - first in compiled_lengths else signals.at_once()
            try:
                with torch.no_grad(), interruptible:
                    part = compiled(step.changing, block.nll, batches, rate[first:last])
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
