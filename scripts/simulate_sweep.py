"""Simulate a sweep in groups on machines that may die: python scripts/simulate_sweep.py [--jobs N] [--workers N].

The defaults are the times measured for 3,000 steps of the lessons' MLP on one core; docs/scale.md says where they come
from, and compares the model with sweeps that were run.
"""

import argparse
import heapq
import math
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """What a task of N members takes, in seconds: `start` + `steps` (`step` + `member_step` N) + `member` N.

    Args:
        compose: for each job in the launching process, before the first task begins.
        start: until a process has imported what it needs.
        step: of Python and of calling operators, for a step of a group.
        member_step: of arithmetic, for a step of a member.
        member: for the files of a member: its config, log, checkpoints and names.
        steps: of a run.
    """

    compose: float
    start: float
    step: float
    member_step: float
    member: float
    steps: int

    def training(self, members: int) -> float:
        """Return the seconds of a task without its start."""
        return self.steps * (self.step + self.member_step * members) + self.member * members


@dataclass(frozen=True)
class Workers:
    """The workers of a cluster, each with a task at a time.

    Args:
        number: of them.
        between_deaths: mean hours of work from one death of a worker to the next; inf for none.
        away: seconds until a worker that died takes tasks again, and its task is queued again.
        between_checkpoints: seconds of training, of which a death costs at most so many.
    """

    number: int
    between_deaths: float
    away: float
    between_checkpoints: float


@dataclass(frozen=True)
class SimulatedSweep:
    """What a simulated sweep takes: seconds, tasks begun, deaths, and the share of time in which workers work."""

    seconds: float
    tasks: int
    deaths: int
    busy: float


def simulate(jobs: int, members_per_group: int, costs: Costs, workers: Workers, seed: int = 0) -> SimulatedSweep:
    """Give each task in turn to the first worker that is free; a task whose worker dies is queued again at the end."""
    draws = random.Random(seed)
    begin = jobs * costs.compose
    sizes = [members_per_group] * (jobs // members_per_group)
    if rest := jobs % members_per_group:
        sizes.append(rest)
    # when a task may begin, its number, and the seconds of training that are left
    waiting = [(begin, number, costs.training(members)) for number, members in enumerate(sizes)]
    free = [begin] * workers.number
    tasks, deaths, working, end = 0, 0, 0.0, begin
    while waiting:
        queued, number, left = heapq.heappop(waiting)
        start = max(heapq.heappop(free), queued)
        tasks += 1
        whole = costs.start + left
        lives = 3600 * workers.between_deaths * draws.expovariate(1.0)
        if lives >= whole:
            working += whole
            end = max(end, start + whole)
            heapq.heappush(free, start + whole)
            continue
        deaths += 1
        working += lives
        every = workers.between_checkpoints
        kept = math.floor(max(0.0, lives - costs.start) / every) * every
        back = start + lives + workers.away
        heapq.heappush(waiting, (back, number, left - kept))
        heapq.heappush(free, back)
    return SimulatedSweep(end, tasks, deaths, working / (end * workers.number))


# option, default, and what it is
SECONDS = [
    ("compose", 0.002, "seconds a job in the launching process"),
    ("start", 10.0, "seconds until a process can train"),
    ("step", 0.0009, "seconds of a step, whatever its members"),
    ("member-step", 0.000064, "seconds of a step more for each member"),
    ("member", 0.06, "seconds of a member's files"),
    ("between-deaths", math.inf, "mean hours until a worker dies"),
    ("away", 150.0, "seconds that a worker which died is away"),
    ("between-checkpoints", 60.0, "seconds of training from one to the next"),
]


def parsed() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--members-per-group", type=int, help="the jobs shared among the workers, unless given")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    for name, default, what in SECONDS:
        parser.add_argument(f"--{name}", type=float, default=default, metavar="X", help=f"{what} ({default})")
    return parser.parse_args()


def main(given: argparse.Namespace) -> None:
    """Print what the sweep takes."""
    costs = Costs(given.compose, given.start, given.step, given.member_step, given.member, given.steps)
    workers = Workers(given.workers, given.between_deaths, given.away, given.between_checkpoints)
    members = given.members_per_group or math.ceil(given.jobs / given.workers)
    found = simulate(given.jobs, members, costs, workers, given.seed)
    print(f"{given.jobs:,} jobs in groups of {members:,} on {given.workers:,} workers: {found.seconds:,.0f} s")
    print(f"{found.tasks:,} tasks begun, {found.deaths:,} deaths, workers busy {found.busy:.0%} of the time")


if __name__ == "__main__":
    main(parsed())
