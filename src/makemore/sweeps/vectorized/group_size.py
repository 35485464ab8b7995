"""Choose how many members each task of an engine trains: as many tasks as workers, unless they were mostly start-up.

A task of N members takes about `START + steps (a + b N) + FILES N` seconds, where `a + b N` are those of a step
(docs/vectorized.md, *Time*). What of it does not grow with N is paid by every task anew. Memory is not asked for here:
a machine trains in waves what does not fit at once.
"""

import math
import time
from dataclasses import dataclass

from omegaconf import OmegaConf

from makemore.errors import UserError
from makemore.runs.assemble import assemble
from makemore.sweeps.vectorized.composing import ComposedJob
from makemore.sweeps.vectorized.layout import Layout
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.stack import Stack
from makemore.sweeps.vectorized.trial import blank_block

# seconds until a task has imported torch and Lightning, and for the files of a member, as measured
START, FILES = 10.0, 0.06
# members of the second measurement
_SEVERAL = 16


@dataclass(frozen=True)
class Cost:
    """What training costs, in seconds."""

    fixed: float  # a task, whatever its members
    member: float  # each of them beside

    @classmethod
    def of(cls, steps: int, one: float, several: float) -> "Cost":
        """Return the cost of a number of steps, given the seconds of a step with one and with several members."""
        b = max(0.0, (several - one) / (_SEVERAL - 1))
        return cls(START + steps * max(0.0, one - b), FILES + steps * b)


def members_for(members: int, workers: int, cost: Cost) -> int:
    """Return how many of some members a task is to train: a worker's share, and half of its time at least for them."""
    share = math.ceil(members / workers)
    return min(members, max(share, math.ceil(cost.fixed / cost.member)))


def measured(job: ComposedJob) -> Cost:
    """Return what the training of a group costs on a core of this machine, given one of its jobs.

    Without steps where the job has values that it cannot be trained with, which it says itself where it runs.
    """
    cfg = job.cfg()
    # that of the workers may be one that this machine lacks
    OmegaConf.update(cfg, "trainer.accelerator", "cpu")
    try:
        with job.active(writing=False) as run_dir:
            parts = assemble(cfg, run_dir)
            member = Member(parts, 0)
        one, several = (_step_seconds(member, number) for number in (1, _SEVERAL))
    except UserError:
        return Cost(START, FILES)
    return Cost.of(parts.cfg.trainer.max_steps, one, several)


def _step_seconds(member: Member, number: int) -> float:
    """Return the seconds of a step of so many members like this one; the quickest of some."""
    model, block = member.model, blank_block(member, number)
    options, layout = [model.step_options()] * number, Layout(list(range(number)), number)
    stack = Stack(
        [model.network] * number, [member.optimizer] * number, options, [model.l2] * number, block.members_dim, layout
    )
    take, rates, seconds = stack.eager_steps(), [[0.0] * number], []
    # the first traces the step
    for _ in range(6):
        started = time.perf_counter()
        take(block, rates)
        seconds.append(time.perf_counter() - started)
    return min(seconds)
