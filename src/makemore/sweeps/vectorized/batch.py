"""Launch a batch of jobs, as a sweeper hands it over: in groups that are trained together, the others one by one."""

import gc
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, setup_globals

from makemore.sweeps.job import JobError, given_up
from makemore.sweeps.vectorized.composing import ComposedJob, Composer, groups_of
from makemore.sweeps.vectorized.engine import Results, Task, run_tasks, workers_of
from makemore.sweeps.vectorized.group_size import measured, members_for
from makemore.sweeps.vectorized.memory import keep_freed_memory
from makemore.sweeps.vectorized.part import GroupPart, run_part
from makemore.sweeps.vectorized.workers import can_fork, run_parts
from makemore.system import signals


def launch(launcher: BasicLauncher, batch: Sequence[Sequence[str]], first_number: int) -> list[JobReturn]:
    """Run the jobs of a batch, given the overrides of each and the number of the first; return their results in order.

    Raises:
        UserError: the directory of a job is that of another, or an engine refuses its options.
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
    run = _run_here if config.hydra.launcher.engine.name == "local" else _run_on_engine
    results = run(launcher, groups_of(list(first_alike.values())))
    return [results[first_alike[frozenset(job.lines)].number] for job in jobs]


def _run_here(launcher: BasicLauncher, groups: Sequence[list[ComposedJob]]) -> Results:
    """Run groups one after the other, each divided among processes of this machine."""
    assert launcher.config is not None
    hydra = launcher.config.hydra
    max_members = hydra.launcher.max_members
    most_workers = hydra.launcher.n_jobs if can_fork() else 1
    results: Results = {}
    for group in groups:
        # a forked process has none of torch's own threads, and would wait for them without end
        workers = min(most_workers, len(group)) if group[0].template.config.threads == 1 else 1
        if len(group) == 1:
            results |= _run_alone(launcher, group[0])
        elif workers == 1:
            results |= _run_part(GroupPart(group), max_members)
        else:
            bounds = [len(group) * worker // workers for worker in range(workers)]
            run = partial(_run_part, max_members=max_members, processes=workers)
            results |= run_parts(_parts(group, bounds), run)
        configure_log(hydra.hydra_logging, hydra.verbose)
    return results


def _run_on_engine(launcher: BasicLauncher, groups: Sequence[list[ComposedJob]]) -> Results:
    """Run all groups at once, each divided among tasks of an engine."""
    assert launcher.config is not None
    hydra = launcher.config.hydra
    parts, workers = [], workers_of(hydra.launcher)
    for group in groups:
        size = hydra.launcher.members_per_group
        if size is None and len(group) > 1:
            size = members_for(len(group), workers, measured(group[0]))
        parts += _parts(group, range(0, len(group), size or 1))
    tasks = [Task(partial(_run_elsewhere, launcher, part)) for part in parts]
    results: Results = {}
    for part, ended in zip(parts, run_tasks(hydra.launcher, Path(hydra.sweep.dir), tasks), strict=True):
        results |= ended if ended is not None else {job.number: _given_up(job) for job in part.jobs}
    configure_log(hydra.hydra_logging, hydra.verbose)
    return results


def _parts(group: Sequence[ComposedJob], bounds: Sequence[int]) -> list[GroupPart]:
    """Return the parts of a group that begin at some places."""
    ends = [*bounds[1:], len(group)]
    return [GroupPart(group[first:end], first) for first, end in zip(bounds, ends, strict=True)]


def _run_elsewhere(launcher: BasicLauncher, part: GroupPart) -> Results:
    """Run a part in a process that an engine has started."""
    assert launcher.config is not None
    if len(part.jobs) == 1:
        return _run_alone(launcher, part.jobs[0])
    keep_freed_memory()
    # what was imported stays
    gc.freeze()
    hydra = launcher.config.hydra
    with signals.answering(for_another=True):
        results = _run_part(part, hydra.launcher.max_members)
        # what the engine says of its task is not for the log of the last job
        configure_log(hydra.hydra_logging, hydra.verbose)
    return results


def _run_alone(launcher: BasicLauncher, job: ComposedJob) -> Results:
    """Run a job by itself, as the basic launcher does."""
    (result,) = BasicLauncher.launch(launcher, [job.lines], job.number)
    return {job.number: result}


def _run_part(part: GroupPart, max_members: int | None, processes: int = 1) -> Results:
    """Run a part of a group, see `run_part`."""
    outcomes = run_part(part, max_members, processes)
    return {job.number: _returned(job, outcomes[job.number]) for job in part.jobs}


def _given_up(job: ComposedJob) -> JobReturn:
    """Return the result of a job whose engine has lost it for good, or where it was cancelled."""
    with job.active() as run_dir:
        try:
            return _returned(job, given_up(job.cfg(), run_dir))
        except JobError as error:
            return _returned(job, error)


def _returned(job: ComposedJob, outcome: float | JobError) -> JobReturn:
    """Return an outcome in Hydra's form."""
    status = JobStatus.FAILED if isinstance(outcome, JobError) else JobStatus.COMPLETED
    result = JobReturn(job.lines, working_dir=os.getcwd(), task_name=JobRuntime.instance().get("name"), status=status)
    result.return_value = outcome
    return result
