"""Take the steps of a block in one XLA program (`compile=xla`, extra `xla`).

PyTorch traces a whole step, with its backward pass and update, into ATen operators, and JAX interprets them. So the
networks, objectives, update rules and mapped members are those of eager steps. The program is a loop whose bound is an
argument: one compilation serves every number of steps.
"""

import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten, tree_unflatten

from makemore.data import cache
from makemore.data.batches import Block, FullBatches, PackedBatches
from makemore.errors import UserError
from makemore.system import signals
from makemore.training.pure_step import PureStep
from makemore.training.steps import Losses, TakeSteps, no_losses

log = logging.getLogger(__name__)

# the fewest steps that a program has room for
_LENGTH = 256
# of a call of it
_SECONDS = 0.1


def xla_steps(step: PureStep, otherwise: Callable[[], TakeSteps]) -> TakeSteps:
    """Return a function that takes the steps of a block in calls of an XLA program, each of a tenth of a second.

    Where the network uses an operator that `makemore.training.aten` does not know, a warning says so and the steps are
    those that `otherwise` makes.
    """
    # a second, which others need not wait for
    jax = _configured_jax()
    from makemore.training.aten import UnknownOperatorError

    changing = [leaf for leaf in tree_flatten(step.changing)[0] if leaf is not None]
    device = changing[0].device
    if device.type != "cpu":
        try:
            jax.devices(device.type)
        except RuntimeError as error:
            mend = "install JAX for it, or take trainer.accelerator=cpu"
            raise UserError(f"compile=xla: JAX finds no {device.type} device; {mend}") from error
    program: Callable[..., Any] | None = None
    eager: TakeSteps | None = None
    # in a call, so that a signal is answered soon; the results do not depend on it
    at_once = 1
    # one shape for all blocks that are no longer than those before, as another would be compiled anew
    room = _LENGTH

    def take(block: Block, rates: Sequence[Any]) -> Losses:
        nonlocal program, eager, at_once, room
        assert not isinstance(block, PackedBatches)
        if not len(block):
            # before a validation that a resumed run has to make up for
            return no_losses(device)
        if eager is not None:
            return eager(block, rates)
        shared = isinstance(block, FullBatches)
        # a full batch is the same in all steps
        batches = next(block.batches()) if shared else block.stacked()
        rate = torch.tensor(rates, device=device)
        room = max(room, 1 << (len(block) - 1).bit_length())
        with jax.enable_x64(True):
            given = [_to_jax(batch if shared else _padded(batch, room)) for batch in batches]
            rate = _padded(rate, room)
            of_steps, taken = [_to_jax(each) for each in (rate, torch.zeros_like(rate), torch.zeros_like(rate))], 0
            values = [_to_jax(tensor) for tensor in changing]
            while taken < len(block) and not signals.requested():
                last, started = min(taken + at_once, len(block)), time.perf_counter()
                try:
                    # the first call compiles, which takes seconds; an interrupted block is taken back
                    with signals.at_once() if program is None else nullcontext():
                        run = program or _program(step, block, rate[0], shared)
                        values, of_steps = jax.block_until_ready(run(taken, last, values, of_steps, given))
                except UnknownOperatorError as error:
                    # nothing has changed yet
                    log.warning("compile=xla: %s; training continues without", error)
                    eager = otherwise()
                    return eager(block, rates)
                program = run
                at_once = 1 + int(_SECONDS * (last - taken) / (time.perf_counter() - started))
                taken = last
            for tensor, value in zip(changing, values, strict=True):
                tensor.copy_(_to_torch(value, device))
            _, nlls, penalties = (_to_torch(each, device)[:taken].clone() for each in of_steps)
        return nlls, penalties

    return take


def _program(step: PureStep, block: Block, rate: Tensor, shared: bool) -> Callable[..., Any]:
    """Return the function that takes steps [first, last) of a block.

    (first, last, values that change, [rates, NLLs, penalties], batches) -> (values, [rates, NLLs, penalties])
    """
    import jax

    from makemore.training.aten import as_jax

    one, constants = as_jax(_traced(step, block, rate))

    @jax.jit
    def program(first: Any, last: Any, values: Any, of_steps: Any, batches: Any, constants: Any) -> Any:
        def body(index: Any, carry: Any) -> Any:
            values, (rates, nlls, penalties) = carry
            batch = batches if shared else [batch[index] for batch in batches]
            *values, nll, penalty = one(constants, *values, *batch, rates[index])
            return values, [rates, nlls.at[index].set(nll), penalties.at[index].set(penalty)]

        return jax.lax.fori_loop(first, last, body, (values, of_steps))

    return partial(program, constants=[_to_jax(constant) for constant in constants])


def _traced(step: PureStep, block: Block, rate: Tensor) -> torch.fx.GraphModule:
    """Return a step as a graph without side effects: (*changing, *batch, rate) -> (*changing, NLL, penalty)."""
    # used here alone; the public table adds operators that functional tracing has no need of, in a quarter of a second
    from torch._decomp import _core_aten_decompositions_post_autograd
    from torch._dispatch.python import enable_python_dispatcher

    given, spec = tree_flatten(step.changing)
    changing = [leaf for leaf in given if leaf is not None]
    batch = [tensor.clone() for tensor in next(block.batches())]

    def pure(*arguments: Tensor) -> list[Tensor]:
        new = [tensor.clone() for tensor in arguments[: len(changing)]]
        values = iter(new)
        tree = tree_unflatten([None if leaf is None else next(values) for leaf in given], spec)
        losses = step.take(tree, block.nll, arguments[len(changing) : -1], arguments[-1])
        return [*new, *losses]

    functional = functionalize(pure, remove="mutations_and_views")
    # so that batch norm shows which of its arguments it changes, and attention is of plain operators
    with torch.no_grad(), enable_python_dispatcher(), sdpa_kernel(SDPBackend.MATH):
        table: Any = _core_aten_decompositions_post_autograd()
        return make_fx(functional, decomposition_table=table)(*changing, *batch, rate.clone())


def _configured_jax() -> Any:
    """Import JAX, for as many threads as torch has, with a cache of its programs in the user's cache directory."""
    # read when JAX starts its first computation: https://github.com/openxla/xla, xla/pjrt/utils.cc
    os.environ.setdefault("PJRT_NPROC", str(torch.get_num_threads()))
    # which accelerators there are not
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)
    import jax

    config: Any = jax.config
    if config.jax_compilation_cache_dir is None:
        # code is compiled for the processor of this machine, and a home may be shared
        config.update("jax_compilation_cache_dir", str(cache.directory("xla") / platform.node()))
        config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return jax


def _to_jax(tensor: Tensor) -> Any:
    """Return a tensor as what JAX takes: an array of its own on a GPU, numpy's on the CPU, which is quicker."""
    if tensor.device.type == "cpu":
        return tensor.numpy()
    import jax.numpy as jnp

    return jnp.from_dlpack(tensor.contiguous())


def _to_torch(array: Any, device: torch.device) -> Tensor:
    if device.type == "cpu":
        return torch.from_numpy(np.array(array))
    tensor: Tensor = torch.utils.dlpack.from_dlpack(array)
    return tensor


def _padded(tensor: Tensor, length: int) -> Tensor:
    """Return a tensor (K, ...) with rows (`length`, ...), of which those from K on are never used."""
    return torch.cat([tensor, tensor.new_zeros(length - len(tensor), *tensor.shape[1:])])
