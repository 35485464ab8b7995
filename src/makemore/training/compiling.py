"""Compile the steps of a run, by what the key `compile` names."""

import logging
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch

from makemore.errors import UserError
from makemore.training.draws import side_effects
from makemore.training.inductor import inductor_steps
from makemore.training.optimizers import StepOptions, functional_update
from makemore.training.pure_step import PureStep, pure_step
from makemore.training.steps import Objective, TakeSteps, eager_steps
from makemore.training.update_rules import tensor_rules
from makemore.training.xla import xla_steps

log = logging.getLogger(__name__)

# (a step, what makes the function that takes steps without compiling) -> the function that takes the steps of a block
Compiler = Callable[[PureStep, Callable[[], TakeSteps]], TakeSteps]
# by the value of the key
COMPILERS: dict[bool | str, Compiler] = {True: inductor_steps, "xla": xla_steps}


def compiler_of(value: Any) -> bool | str:
    """Return the value of the key `compile`: False, True for `torch.compile`, or "xla".

    Raises:
        UserError: another value, or JAX is not installed.
    """
    if not isinstance(value, bool) and value != "xla":
        raise UserError(f"compile must be true, false or xla, not {value!r}")
    if value == "xla" and find_spec("jax") is None:
        raise UserError("compile=xla needs JAX; pip install 'makemore-lightning[xla]'")
    return value  # type: ignore[no-any-return]


def compiled_steps(
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    seed: int = 0,
    options: StepOptions | None = None,
    compiler: bool | str = True,
) -> TakeSteps:
    """Return a function that takes the steps of a block in a few calls of compiled ones, to the same bits for any K.

    Compiled steps differ from eager ones in the last bits. A network with side effects is not compiled, and a warning
    says so.
    """

    def otherwise() -> TakeSteps:
        return eager_steps(objective, optimizer, seed, options)

    if effects := side_effects(objective.network):
        what = f"{type(objective.network).__name__} {' and '.join(effects)} in training"
        log.warning("compile=%s: %s; training continues without", str(compiler).lower(), what)
        return otherwise()
    update = functional_update(optimizer, options, compiled=True)
    assert update is not None
    if compiler == "xla":
        update = replace(update, rules=tensor_rules(optimizer))
    return COMPILERS[compiler](pure_step(objective, optimizer, update), otherwise)
