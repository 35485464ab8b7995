"""A batch of jobs, as a sweeper hands it over: those that can be trained at once in groups, the others one by one."""

import os
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig

from makemore import signals
from makemore.building import build_data, build_trainer
from makemore.command import set_threads, with_what_it_needs
from makemore.data.datamodule import TextDataModule
from makemore.errors import DivergedError
from makemore.outcome import TrainingResult
from makemore.sweeps.job import Claim, JobError, claim
from makemore.training import log_stopped, prepare, with_last_good
from makemore.vectorized.composing import Composed, Composer, groups_of
from makemore.vectorized.group import train_group
from makemore.vectorized.member import Member
from makemore.vectorized.memory import keep_freed_memory, most_members


@dataclass
class _Job:
    """A job of a group: claimed, then a member, and what came of it."""

    composed: Composed
    claim: Claim | None = None
    member: Member | None = None
    result: JobReturn | None = None

    def current(self) -> AbstractContextManager[Path]:
        """See `Kind.current`."""
        return self.composed.kind.current(self.composed)

    def keep(self, outcome: float | JobError) -> None:
        """Keep what comes of the job as Hydra keeps it: what its task returned or raised."""
        self.result = JobReturn(
            overrides=self.composed.lines,
            cfg=None if self.claim is None else self.claim.cfg,
            working_dir=os.getcwd(),
            task_name=JobRuntime.instance().get("name"),
            status=JobStatus.FAILED if isinstance(outcome, JobError) else JobStatus.COMPLETED,
        )
        self.result.return_value = outcome

    def finish(self, result: TrainingResult) -> None:
        """End the job well."""
        assert self.claim is not None
        self.keep(self.claim.finished(result))

    def fail(self, error: Exception) -> None:
        """End the job by what went wrong."""
        assert self.claim is not None
        if isinstance(error, DivergedError | OSError):
            error = with_last_good(error, self.claim.run_dir)
        try:
            self.keep(self.claim.failed(error))
        except JobError as told:
            self.keep(told)


def launch(
    context: HydraContext,
    config: DictConfig,
    task: Callable[[DictConfig], Any],
    max_members: int | None,
    batch: Sequence[Sequence[str]],
    first_number: int,
) -> list[JobReturn]:
    """Run the jobs of a batch, and return what came of each, in their order.

    Args:
        context: Hydra's.
        config: of the sweep.
        task: what runs one job by itself.
        max_members: of a group at the most; None for as many as there is memory for.
        batch: the overrides of each job.
        first_number: of the jobs.

    Raises:
        UserError: the directory of a job is that of another.
        Stopped: a signal; what has been learnt is saved.
    """
    setup_globals()
    keep_freed_memory()
    composer = Composer(context.config_loader, config)
    jobs = [composer.compose(number, overrides) for number, overrides in enumerate(batch, first_number)]
    results: dict[int, JobReturn | None] = {}
    for group in groups_of(jobs):
        if len(group) == 1:
            launcher = BasicLauncher()
            launcher.setup(hydra_context=context, task_function=task, config=config)
            (results[group[0].number],) = launcher.launch([group[0].lines], group[0].number)
        else:
            members = [_Job(job) for job in group]
            waiting = deque(members)
            while waiting:
                _run_wave(waiting, max_members)
            results |= {job.composed.number: job.result for job in members}
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    return [result for job in jobs if (result := results[job.number]) is not None]


def _run_wave(waiting: deque[_Job], max_members: int | None) -> None:
    """Run the first of the jobs that wait, as many as fit."""
    begun: list[_Job] = []
    with ExitStack() as held:
        try:
            data = _begin(waiting, max_members, begun, held)
            by_step = defaultdict(list)
            for job in begun:
                if job.member is not None:
                    by_step[job.member.step, job.member.validation_due].append(job)
            for _, members in sorted(by_step.items()):
                assert data is not None
                _train(members, data)
        except signals.Stopped as stopped:
            for job in begun:
                if job.claim is not None and job.result is None:
                    with job.current() as run_dir:
                        if job.member is not None and job.member.error is not None:
                            job.fail(job.member.error)
                        else:
                            log_stopped(stopped, run_dir)
                            job.claim.record("stopped")
            raise


def _begin(waiting: deque[_Job], max_members: int | None, begun: list[_Job], held: ExitStack) -> TextDataModule | None:
    """Begin or go on with the first jobs, as many as fit, and return their data: None where none has begun."""
    data, members = None, 0
    while waiting and (max_members is None or members < max_members):
        job = waiting.popleft()
        begun.append(job)
        with job.current() as run_dir:
            try:
                claimed = held.enter_context(claim(job.composed.cfg(), run_dir))
            except JobError as error:
                job.keep(error)
                continue
            if not isinstance(claimed, Claim):
                job.keep(claimed)
                continue
            job.claim = claimed
            try:
                with with_what_it_needs():
                    set_threads(claimed.cfg.threads)
                    data = data or build_data(claimed.cfg)
                    job.member = Member(prepare(claimed.cfg, run_dir, data.corpus))
                    if max_members is None:
                        trainer = build_trainer(claimed.cfg, False, data, run_dir, [], [])
                        max_members = most_members(job.member, data, trainer.strategy.root_device)
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
        with with_what_it_needs():
            assert jobs[0].claim is not None
            train_group(members, data, jobs[0].claim.cfg, jobs[0].claim.run_dir.parent)
    except Exception as error:
        failure = error
    for job, member in zip(jobs, members, strict=True):
        if (result := member.run.outcome.result) is not None:
            job.finish(result)
            continue
        ended_by = member.error or failure
        assert ended_by is not None
        with job.current():
            job.fail(ended_by)
