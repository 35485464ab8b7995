"""Learning-rate schedules as pure functions of the step: the factor by which `optimizer.lr` is multiplied.

A schedule has no state, so the rate of step s is the same after a resume and in whatever block s is executed.
"""

import math
import sys
from bisect import bisect_right
from collections.abc import Callable, Sequence

from makemore.errors import UserError, real_number, whole_number

Schedule = Callable[[int], float]


def constant() -> Schedule:
    """Return the schedule that leaves the learning rate alone."""
    return lambda step: 1.0


def step_decay(milestones: Sequence[int], gamma: float) -> Schedule:
    """Return the schedule that multiplies the learning rate by `gamma` at each milestone (L2).

    Args:
        milestones: optimiser steps, ascending; step s is the first to have the new rate.
        gamma: the factor.
    """
    real_number("scheduler.gamma", gamma, at_least=0)
    if not isinstance(milestones, Sequence):
        raise UserError(f"scheduler.milestones must be a list of steps, not {milestones!r}")
    steps = [whole_number("scheduler.milestones", milestone) for milestone in milestones]
    if steps != sorted(steps):
        raise UserError(f"scheduler.milestones must ascend, not {steps}")
    if len(steps) * math.log(max(gamma, 1)) > math.log(sys.float_info.max):
        raise UserError(f"scheduler.gamma={gamma:g} to the power of {len(steps)} milestones is too large a number")
    return lambda step: float(gamma ** bisect_right(steps, step))


def cosine(warmup: float, total_steps: int, final: float = 0.0) -> Schedule:
    """Return the schedule that rises linearly, then falls as half a cosine wave (Loshchilov and Hutter 2017).

    Args:
        warmup: the share of the steps in which the rate rises to `optimizer.lr`.
        total_steps: until the rate is `final`, where it stays.
        final: the last factor.
    """
    real_number("scheduler.warmup", warmup, at_least=0, below=1)
    real_number("scheduler.final", final, at_least=0)
    rising = round(warmup * whole_number("scheduler.total_steps", total_steps, at_least=1))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        fallen = min((step - rising) / max(total_steps - rising, 1), 1.0)
        return final + (1 - final) * (1 + math.cos(math.pi * fallen)) / 2

    return factor


def exponential_ramp(start_exponent: float, end_exponent: float, ramp_steps: int) -> Schedule:
    """Return the schedule of the learning-rate range test: factors 10^(linspace(start, end, steps)) (L2).

    Args:
        start_exponent: of the factor at step 0.
        end_exponent: of the factor at the last step, `ramp_steps` - 1.
        ramp_steps: how many steps the ramp takes; the rate stays at its end after them.
    """
    for key, exponent in (("start", start_exponent), ("end", end_exponent)):
        if real_number(f"scheduler.{key}_exponent", exponent) > sys.float_info.max_10_exp:
            raise UserError(f"scheduler.{key}_exponent={exponent:g} is too large; 0 is optimizer.lr itself")
    whole_number("scheduler.ramp_steps", ramp_steps, at_least=2)
    rise = end_exponent - start_exponent
    return lambda step: float(10 ** (start_exponent + min(step / (ramp_steps - 1), 1.0) * rise))
