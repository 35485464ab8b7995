"""Run a part of a group in this process: its jobs in waves, each of as many members as fit, trained together."""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from makemore.errors import DivergedError, UserError
from makemore.overrides import describe, resource_errors
from makemore.runs.assemble import assemble
from makemore.runs.train import log_stopped, naming_last_checkpoint, open_run
from makemore.sweeps.job import Claim, JobError, claim, not_finished
from makemore.sweeps.vectorized.composing import ComposedJob
from makemore.sweeps.vectorized.halving import Halving, halving_of
from makemore.sweeps.vectorized.layout import PERIOD
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.memory import most_members
from makemore.sweeps.vectorized.train_group import train_group
from makemore.system import signals

# the outcome of a job by its number: the NLL to minimise, or why there is none
Outcomes = dict[int, float | JobError]


@dataclass(frozen=True)
class GroupPart:
    """Jobs that stand one after the other in a group."""

    jobs: Sequence[ComposedJob]
    first: int = 0  # the place of the first of them in the group


@dataclass
class _Job:
    """A job at its place in the stack: claimed, then a member, and at last its outcome."""

    composed: ComposedJob
    place: int
    claim: Claim | None = None
    member: Member | None = None
    outcome: float | JobError | None = None

    def keep(self, outcome: Callable[[], float]) -> None:
        """Keep what a call returns, or the JobError that it raises, as the outcome."""
        try:
            self.outcome = outcome()
        except JobError as error:
            self.outcome = error

    def fail(self, error: Exception) -> None:
        """End the job with the error that ended its run."""
        assert self.claim is not None
        if isinstance(error, DivergedError | OSError):
            error = naming_last_checkpoint(error, self.claim.run_dir)
        self.keep(partial(self.claim.failed, error))


def run_part(part: GroupPart, max_members: int | None, processes: int = 1) -> Outcomes:
    """Run a part of a group in waves of at most `max_members`, or of as many as fit.

    Args:
        part: to run.
        max_members: that are trained at once.
        processes: that share this machine's memory.
    """
    # a job keeps its row modulo PERIOD, however its group is divided
    begin = part.first % PERIOD
    places = range(begin, begin + len(part.jobs))
    jobs = [_Job(job, place) for place, job in zip(places, part.jobs, strict=True)]
    waiting = deque(jobs)
    try:
        while waiting:
            _run_wave(waiting, places, max_members, processes)
    except signals.Stopped:
        if not signals.is_for_another():
            raise
        for job in (each for each in jobs if each.outcome is None):
            with job.composed.active():
                job.keep(partial(not_finished, "it was asked to stop"))
    return {job.composed.number: job.outcome for job in jobs if job.outcome is not None}


def _run_wave(waiting: deque[_Job], places: range, max_members: int | None, processes: int) -> None:
    """Run the first of the jobs that wait, as many as fit; `places` are those of all jobs of the part."""
    begun: list[_Job] = []
    # a signal since the last wave
    signals.answer()
    halving = halving_of(waiting[0].composed.template.config.hydra)
    with ExitStack() as locks:
        try:
            fitting = _begin(waiting, len(places), max_members, processes, begun, locks)
            whole = places.stop if fitting is None or places.stop <= fitting else None
            while running := [job for job in begun if job.member is not None and not job.member.ended]:
                members = _furthest_behind(running)
                _train(members, whole, halving, is_behind=len(members) < len(running))
        except signals.Stopped as stopped:
            for job in begun:
                if job.claim is not None and job.outcome is None:
                    with job.composed.active() as run_dir:
                        if job.member is not None and job.member.error is not None:
                            job.fail(job.member.error)
                        else:
                            log_stopped(stopped, run_dir)
                            job.claim.record("stopped")
            raise


def _begin(
    waiting: deque[_Job], whole: int, max_members: int | None, processes: int, begun: list[_Job], locks: ExitStack
) -> int | None:
    """Start or resume the first jobs that wait, as many as fit; `begun` and `locks` gain those that could be.

    Of those whose process was killed it is fewer: half as many at the second try, as there may not have been memory
    enough, and one at the third, so that a job that fails for it has done it alone.

    Return how many fit, unless no job could be started.
    """
    like, members, most = None, 0, max_members
    held = set[Path]()
    while waiting and (most is None or members < most):
        job = waiting.popleft()
        with ExitStack() as active:
            try:
                run_dir = active.enter_context(job.composed.active())
                if run_dir in held:
                    # its lock is ours already
                    raise UserError(f"{run_dir}: is the directory of two jobs; let hydra.sweep.subdir tell them apart")
                begun.append(job)
                claimed: Claim | float | JobError = locks.enter_context(claim(job.composed.cfg(), run_dir))
            except JobError as error:
                claimed = error
            except OSError as error:
                # of its directory; others may have better ones
                job.keep(partial(not_finished, describe(error)))
                continue
            if not isinstance(claimed, Claim):
                job.outcome = claimed
                continue
            job.claim = claimed
            held.add(run_dir)
            try:
                with resource_errors():
                    parts = like = assemble(claimed.cfg, run_dir, like)
                    member = Member(parts, job.place, *open_run(parts))
                    if max_members is None:
                        max_members = most_members(member, parts.trainer().strategy.root_device, processes)
                if members == 0:
                    most = _fewer(min(max_members, whole), claimed.losses)
                job.member = member
                members += 1
            except Exception as error:
                job.fail(error)
    return max_members


def _fewer(members: int, losses: int) -> int:
    """Return how many of some members are trained at once after their process was killed some times."""
    return (members, -(-members // 2), 1)[losses]


def _furthest_behind(jobs: Sequence[_Job]) -> list[_Job]:
    """Return those whose members have taken the fewest steps and can be trained together, as they are at one step."""
    by_step = defaultdict(list)
    for job in jobs:
        assert job.member is not None
        # one that waits comes after those whose validation at that step is due
        by_step[job.member.step, not job.member.validation_due, job.member.waits].append(job)
    return by_step[min(by_step)]


def _train(jobs: Sequence[_Job], size: int | None, halving: Halving | None, is_behind: bool) -> None:
    """Train the members of one group that are at the same step, see `Group`."""
    members = [job.member for job in jobs if job.member is not None]
    failure: Exception | None = None
    try:
        with resource_errors("lower hydra.launcher.max_members"):
            train_group(members, size, halving, is_behind)
    except Exception as error:
        failure = error
    for job, member in zip(jobs, members, strict=True):
        if (result := member.parts.outcome.result) is not None and member.error is None:
            assert job.claim is not None
            finished, pruned_at = job.claim.finished, member.pruned_at
            job.keep(partial(finished, result) if pruned_at is None else partial(job.claim.pruned, result, pruned_at))
        elif failure is not None or not member.waits:
            ended_by = member.error = member.error or failure
            assert ended_by is not None
            with job.composed.active():
                job.fail(ended_by)
