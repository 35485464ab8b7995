"""Compile the steps of a run, by what the key `compile` names."""

import logging
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch

from makemore.errors import UserError
from makemore.models.network import Network
from makemore.overrides import install
from makemore.training.draws import side_effects
from makemore.training.inductor import inductor_steps
from makemore.training.optimizers import StepOptions, functional_update, has_functional_form
from makemore.training.pure_step import PureStep, pure_step
from makemore.training.steps import Objective, TakeSteps, eager_steps
from makemore.training.update_rules import tensor_rules
from makemore.training.xla import xla_steps

log = logging.getLogger(__name__)

# (a step, what makes the function that takes steps without compiling) -> the function that takes the steps of a block
Compiler = Callable[[PureStep, Callable[[], TakeSteps]], TakeSteps]
# by the value of the key
COMPILERS: dict[bool | str, Compiler] = {True: inductor_steps, "xla": xla_steps}


# steps of a run from which on XLA saves more than tracing and compiling cost; docs/performance.md has the figures
_PAYS = 10_000
_INSTALL = install("xla")


def compiler_of(value: Any) -> bool | str:
    """Return the value of the key `compile`: False, True for `torch.compile`, "xla", or "auto" for `automatic`.

    Raises:
        UserError: another value, or JAX is not installed.
    """
    if not isinstance(value, bool) and value not in ("xla", "auto"):
        raise UserError(f"compile must be true, false, xla or auto, not {value!r}")
    if value == "xla" and find_spec("jax") is None:
        raise UserError(f"compile=xla needs JAX: {_INSTALL}")
    return value  # type: ignore[no-any-return]


def automatic(network: Network, optimizer: torch.optim.Optimizer, steps: float) -> tuple[bool | str, str]:
    """Choose what compiles the steps of a run, and say why.

    The choice depends on nothing that is measured in the run, so that a resumed run makes it again.
    """
    effects = side_effects(network)
    reasons = {
        "steps over lines are quicker without padding, which compiled ones need": network.reads == "lines",
        "XLA was tried on CPUs alone": next(network.parameters()).device.type != "cpu",
        f"compiling pays from {_PAYS:,} steps on": steps < _PAYS,
        f"{type(optimizer).__name__} cannot be compiled": not has_functional_form(optimizer),
        f"{type(network).__name__} {' and '.join(effects)} in training": bool(effects),
        f"JAX is not installed, with which steps are several times as fast: {_INSTALL}": find_spec("jax") is None,
    }
    for reason, holds in reasons.items():
        if holds:
            return False, f"no, as {reason}"
    return "xla", "XLA"


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
