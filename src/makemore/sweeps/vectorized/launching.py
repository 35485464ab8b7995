"""Launch a batch of jobs, as a sweeper hands it over: in groups that are trained together, the others one by one."""

import gc
import os
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, setup_globals

from makemore.errors import DivergedError, UserError
from makemore.overrides import describe, resource_errors
from makemore.runs.assemble import assemble
from makemore.runs.train import log_stopped, naming_last_checkpoint, open_run
from makemore.sweeps.job import Claim, JobError, claim, not_finished
from makemore.sweeps.vectorized.composing import ComposedJob, Composer, groups_of
from makemore.sweeps.vectorized.halving import Halving, halving_of
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.memory import keep_freed_memory, most_members
from makemore.sweeps.vectorized.train_group import train_group
from makemore.sweeps.vectorized.workers import can_fork, run_parts
from makemore.system import signals


@dataclass
class _Job:
    """A job of a group at its place there: claimed, then a member, and at last its outcome."""

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


def launch(launcher: BasicLauncher, batch: Sequence[Sequence[str]], first_number: int) -> list[JobReturn]:
    """Run the jobs of a batch, given the overrides of each and the number of the first; return their results in order.

    Raises:
        UserError: the directory of a job is that of another.
        Stopped: a signal; the members are saved.
    """
    context, config = launcher.hydra_context, launcher.config
    assert context is not None and config is not None
    setup_globals()
    keep_freed_memory()
    # imported modules stay; else each collection would go through them, here and in forked processes
    gc.freeze()
    composer = Composer(context.config_loader, config)
    jobs = [composer.compose(number, overrides) for number, overrides in enumerate(batch, first_number)]
    # a search may try the same values twice
    first_alike: dict[frozenset[str], ComposedJob] = {}
    for job in jobs:
        first_alike.setdefault(frozenset(job.lines), job)
    results: dict[int, JobReturn] = {}
    most_workers = config.hydra.launcher.n_jobs if can_fork() else 1
    for group in groups_of(list(first_alike.values())):
        if len(group) == 1:
            (results[group[0].number],) = BasicLauncher.launch(launcher, [group[0].lines], group[0].number)
        else:
            # a forked process has none of torch's own threads, and would wait for them without end
            workers = min(most_workers, len(group)) if group[0].template.config.threads == 1 else 1
            bounds = [len(group) * worker // workers for worker in range(workers + 1)]
            parts = [group[first:last] for first, last in pairwise(bounds)]
            run = partial(_run_part, max_members=config.hydra.launcher.max_members, processes=workers)
            outcomes = run(group) if len(parts) == 1 else run_parts(parts, run)
            results |= {job.number: _returned(job, outcomes[job.number]) for job in group}
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    return [results[first_alike[frozenset(job.lines)].number] for job in jobs]


def _returned(job: ComposedJob, outcome: float | JobError) -> JobReturn:
    """Return an outcome in Hydra's form."""
    status = JobStatus.FAILED if isinstance(outcome, JobError) else JobStatus.COMPLETED
    result = JobReturn(job.lines, working_dir=os.getcwd(), task_name=JobRuntime.instance().get("name"), status=status)
    result.return_value = outcome
    return result


def _run_part(group: Sequence[ComposedJob], max_members: int | None, processes: int) -> dict[int, float | JobError]:
    """Run jobs of one group in waves of as many members as fit; return the outcome of each job by its number."""
    jobs = [_Job(job, place) for place, job in enumerate(group)]
    waiting = deque(jobs)
    try:
        while waiting:
            _run_wave(waiting, len(jobs), max_members, processes)
    except signals.Stopped:
        if not signals.is_for_another():
            raise
        for job in (each for each in jobs if each.outcome is None):
            with job.composed.active():
                job.keep(partial(not_finished, "it was asked to stop"))
    return {job.composed.number: job.outcome for job in jobs if job.outcome is not None}


def _run_wave(waiting: deque[_Job], size: int, max_members: int | None, processes: int) -> None:
    """Run the first of the jobs that wait, of a group of `size`, as many as fit."""
    begun: list[_Job] = []
    # a signal since the last wave
    signals.answer()
    halving = halving_of(waiting[0].composed.template.config.hydra)
    with ExitStack() as locks:
        try:
            fitting = _begin(waiting, max_members, processes, begun, locks)
            whole = size if fitting is None or size <= fitting else None
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
    waiting: deque[_Job], max_members: int | None, processes: int, begun: list[_Job], locks: ExitStack
) -> int | None:
    """Start or resume the first jobs that wait, as many as fit; `begun` and `locks` gain those that could be.

    Return how many fit, unless no job could be started.
    """
    data, members = None, 0
    while waiting and (max_members is None or members < max_members):
        job = waiting.popleft()
        with ExitStack() as active:
            try:
                run_dir = active.enter_context(job.composed.active())
                if run_dir in [other.claim.run_dir for other in begun if other.claim is not None]:
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
            try:
                with resource_errors():
                    parts = assemble(claimed.cfg, run_dir, data)
                    data = parts.data
                    member = Member(parts, job.place, *open_run(parts))
                    if max_members is None:
                        max_members = most_members(member, parts.trainer().strategy.root_device, processes)
                job.member = member
                members += 1
            except Exception as error:
                job.fail(error)
    return max_members


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
