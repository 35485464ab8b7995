"""A batch of jobs, as a sweeper hands it over: those that can be trained at once in groups, the others one by one."""

import gc
import os
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig

from makemore import signals
from makemore.data.datamodule import TextDataModule
from makemore.errors import DivergedError, UserError
from makemore.overrides import describe, resource_errors, set_threads
from makemore.runs.assemble import build_data, build_trainer
from makemore.runs.train import log_stopped, prepare, with_last_good
from makemore.sweeps.job import Claim, JobError, claim, not_finished
from makemore.sweeps.vectorized.composing import Composed, Composer, groups_of
from makemore.sweeps.vectorized.group_training import train_group
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.memory import keep_freed_memory, most_members
from makemore.sweeps.vectorized.workers import can_fork, run_parts


@dataclass
class _Job:
    """A job of a group with its place there: claimed, then a member, and what came of it."""

    composed: Composed
    place: int
    claim: Claim | None = None
    member: Member | None = None
    outcome: float | JobError | None = None

    def current(self) -> AbstractContextManager[Path]:
        """See `Kind.current`."""
        return self.composed.kind.current(self.composed)

    def keep(self, outcome: Callable[[], float]) -> None:
        """Keep what a call returns as what comes of the job, or that it raises JobError; the first one counts."""
        if self.outcome is None:
            try:
                self.outcome = outcome()
            except JobError as error:
                self.outcome = error

    def fail(self, error: Exception) -> None:
        """End the job by what went wrong."""
        assert self.claim is not None
        if isinstance(error, DivergedError | OSError):
            error = with_last_good(error, self.claim.run_dir)
        self.keep(partial(self.claim.failed, error))


def launch(
    context: HydraContext,
    config: DictConfig,
    task: Callable[[DictConfig], Any],
    batch: Sequence[Sequence[str]],
    first_number: int,
) -> list[JobReturn]:
    """Run the jobs of a batch, and return what came of each, in their order.

    Args:
        context: Hydra's.
        config: of the sweep; see `hydra_plugins.makemore_vectorized` for what its launcher holds.
        task: what runs one job by itself.
        batch: the overrides of each job.
        first_number: of the jobs.

    Raises:
        UserError: the directory of a job is that of another.
        Stopped: a signal; what has been learnt is saved.
    """
    setup_globals()
    keep_freed_memory()
    # what has been imported stays; else each collection would look at all of it, here and in what is forked
    gc.freeze()
    composer = Composer(context.config_loader, config)
    jobs = [composer.compose(number, overrides) for number, overrides in enumerate(batch, first_number)]
    # a search may try the same twice
    first_alike: dict[frozenset[str], Composed] = {}
    for job in jobs:
        first_alike.setdefault(frozenset(job.lines), job)
    results: dict[int, JobReturn] = {}
    most_workers = config.hydra.launcher.n_jobs if can_fork() else 1
    for group in groups_of(list(first_alike.values())):
        if len(group) == 1:
            launcher = BasicLauncher()
            launcher.setup(hydra_context=context, task_function=task, config=config)
            (results[group[0].number],) = launcher.launch([group[0].lines], group[0].number)
        else:
            # threads of torch's own would be lost in a process that is forked, and waited for without end
            workers = min(most_workers, len(group)) if group[0].cfg().threads == 1 else 1
            bounds = [len(group) * worker // workers for worker in range(workers + 1)]
            parts = [group[first:last] for first, last in pairwise(bounds)]
            run = partial(_run_part, max_members=config.hydra.launcher.max_members, parts=len(parts))
            outcomes = run(group) if len(parts) == 1 else run_parts(parts, run)
            results |= {job.number: _returned(job, outcomes[job.number]) for job in group}
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    return [results[first_alike[frozenset(job.lines)].number] for job in jobs]


def _returned(job: Composed, outcome: float | JobError) -> JobReturn:
    """Return an outcome as Hydra has it: what the task has returned or raised."""
    result = JobReturn(
        overrides=job.lines,
        working_dir=os.getcwd(),
        task_name=JobRuntime.instance().get("name"),
        status=JobStatus.FAILED if isinstance(outcome, JobError) else JobStatus.COMPLETED,
    )
    result.return_value = outcome
    return result


def _run_part(group: Sequence[Composed], max_members: int | None, parts: int) -> dict[int, float | JobError]:
    """Run jobs of one group in waves of as many members as fit, while so many parts of it run at a time.

    Returns:
        What comes of each job, by its number.
    """
    jobs = [_Job(job, place) for place, job in enumerate(group)]
    waiting = deque(jobs)
    try:
        while waiting:
            _run_wave(waiting, max_members, parts)
    except signals.Stopped:
        if not signals.is_for_another():
            raise
        for job in jobs:
            with job.current():
                job.keep(partial(not_finished, "it was asked to stop"))
    return {job.composed.number: job.outcome for job in jobs if job.outcome is not None}


def _run_wave(waiting: deque[_Job], max_members: int | None, parts: int) -> None:
    """Run the first of the jobs that wait, as many as fit."""
    begun: list[_Job] = []
    # one that something else came before
    signals.answer()
    with ExitStack() as held:
        try:
            data = _begin(waiting, max_members, parts, begun, held)
            by_step = defaultdict(list)
            for job in begun:
                if job.member is not None:
                    by_step[job.member.step, job.member.validation_due].append(job)
            for _, members in sorted(by_step.items()):
                assert data is not None
                _train(members, data)
        except signals.Stopped as stopped:
            for job in begun:
                if job.claim is not None and job.outcome is None:
                    with job.current() as run_dir:
                        if job.member is not None and job.member.error is not None:
                            job.fail(job.member.error)
                        else:
                            log_stopped(stopped, run_dir)
                            job.claim.record("stopped")
            raise


def _begin(
    waiting: deque[_Job], max_members: int | None, parts: int, begun: list[_Job], held: ExitStack
) -> TextDataModule | None:
    """Begin or go on with the first jobs, as many as fit, and return their data: None where none has begun."""
    data, members = None, 0
    while waiting and (max_members is None or members < max_members):
        job = waiting.popleft()
        with ExitStack() as current:
            try:
                run_dir = current.enter_context(job.current())
                if run_dir in [other.claim.run_dir for other in begun if other.claim is not None]:
                    # which we would wait for, and it is ours
                    raise UserError(f"{run_dir}: is the directory of two jobs; let hydra.sweep.subdir tell them apart")
                begun.append(job)
                claimed = held.enter_context(claim(job.composed.cfg(), run_dir))
            except JobError as error:
                job.outcome = error
                continue
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
                    set_threads(claimed.cfg.threads)
                    data = data or build_data(claimed.cfg)
                    job.member = Member(prepare(claimed.cfg, run_dir, data.corpus), job.place)
                    if max_members is None:
                        trainer = build_trainer(claimed.cfg, False, data, run_dir, [], [])
                        max_members = most_members(job.member, data, trainer.strategy.root_device, parts)
                    members += 1
            except Exception as error:
                job.member = None
                job.fail(error)
    return data


def _train(jobs: Sequence[_Job], data: TextDataModule) -> None:
    """Train the members of one group that are at the same step."""
    members = [job.member for job in jobs if job.member is not None]
    failure: Exception | None = None
    try:
        with resource_errors("lower hydra.launcher.max_members"):
            assert jobs[0].claim is not None
            train_group(members, data, jobs[0].claim.cfg, jobs[0].claim.run_dir.parent)
    except Exception as error:
        failure = error
    for job, member in zip(jobs, members, strict=True):
        if (result := member.run.outcome.result) is not None and member.error is None:
            assert job.claim is not None
            job.keep(partial(job.claim.finished, result))
            continue
        ended_by = member.error or failure
        assert ended_by is not None
        with job.current():
            job.fail(ended_by)
