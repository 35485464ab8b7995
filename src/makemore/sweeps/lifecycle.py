"""A sweep from its command to its table: it is resumed, stopped and concluded alike for all launchers and sweepers."""

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from makemore.errors import UserError, first_line
from makemore.overrides import command, differing, hydra_override, path_argument, watch_command
from makemore.runs.directory import slurm_job
from makemore.sweeps.launchers import launcher_started, set_defaults, set_study_aside
from makemore.sweeps.naming import job_name
from makemore.sweeps.plan import Plan
from makemore.sweeps.progress import live_line
from makemore.sweeps.records import (
    STOP,
    Job,
    Reference,
    SweepRecord,
    read_jobs,
    read_sweep,
    with_differing_keys,
    write_job,
)
from makemore.sweeps.table import Sweep, table_of
from makemore.system import signals
from makemore.system.console import MESSAGES
from makemore.system.files import clear_temporaries, held, is_held

# seconds in which running jobs save when the sweep is asked to stop
_GRACE = 30.0
# seconds in which the processes of a sweep that was killed save and end
_ORPHANS_GRACE = 5.0


def find_requeued(config: DictConfig) -> Path | None:
    """Return the directory of the sweep that this SLURM job had begun before it was requeued, if it was."""
    job = slurm_job()
    if job is None or os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        return None
    for path in sorted(Path(config.hydra.sweep.dir).parent.glob("*/sweep.json"), reverse=True):
        # ours is not damaged
        with suppress(UserError):
            record = read_sweep(path.parent)
            if record.slurm_job == job and record.command == sys.argv[1:]:
                return path.parent
    return None


def prepare(config: DictConfig, plan: Plan, sweep_dir: Path) -> None:
    """Set what all jobs of a sweep have in common, in whichever process their configs are composed.

    A job's directory is named after its differing values. A job logs to its own file and not to the terminal, and
    saves its config itself, so that Hydra writes nothing in the directory of a finished one.
    """
    threads = [config.threads]
    if "threads" in plan.keys:
        threads += [differing(job, plan.fixed)["threads"] for job in plan.jobs or []]
    with read_write(config), read_write(config.hydra), open_dict(config):
        config.hydra.sweep.dir = str(sweep_dir)
        set_defaults(config, sweep_dir.absolute(), max(threads))
        fixed = [*config.hydra.job.config.override_dirname.exclude_keys, *plan.fixed]
        config.hydra.job.config.override_dirname.exclude_keys = fixed
        config.hydra.overrides.hydra += [
            f"hydra.job.config.override_dirname.exclude_keys=[{','.join(fixed)}]",
            "hydra.job_logging.root.handlers=[file]",
            "hydra.output_subdir=null",
            # the directory of a requeued sweep is not the composed one
            hydra_override("hydra.sweep.dir", sweep_dir),
        ]


@contextmanager
def running_sweep(config: DictConfig, plan: Plan, reference: Reference | None) -> Iterator[None]:
    """Run a sweep within the block: show its progress, answer signals, and end with its table and an exit code.

    Its config is prepared; `reference` has known figures to show beside its own.

    Raises:
        UserError: another process runs a sweep in its directory.
        Stopped: a signal; the running jobs are saved.
        SystemExit: 1, where some job is not complete.
    """
    sweep_dir = Path(config.hydra.sweep.dir)
    sweep_dir.mkdir(parents=True, exist_ok=True)
    with held(sweep_dir, "runs a sweep", _ORPHANS_GRACE):
        clear_temporaries(sweep_dir)
        for name in (STOP, "error.log"):
            (sweep_dir / name).unlink(missing_ok=True)
        set_study_aside(sweep_dir)
        for job in filter(_was_killed, read_jobs(sweep_dir)):
            # else it would count as lost by this sweep
            write_job(job.run_dir, job.overrides, job.differs, "stopped")
        keys = plan.keys
        with suppress(UserError):
            keys = list(dict.fromkeys([*read_sweep(sweep_dir).keys, *keys]))
        total = None if plan.jobs is None else len(plan.jobs)
        record = SweepRecord(sys.argv[1:], keys, total, reference, slurm_job())
        record.write(sweep_dir)
        try:
            with (
                signals.answering(passing_on=lambda: _stop(sweep_dir)),
                launcher_started(config.hydra),
                live_line(sweep_dir, plan.total),
                _original_errors(sweep_dir),
            ):
                yield
        except (UserError, HydraException, OmegaConfBaseException):
            if not _clear_unused(sweep_dir):
                _conclude(sweep_dir, record, plan)
            raise
        except signals.Stopped as stopped:
            _conclude(sweep_dir, record, plan)
            if stopped.signum == signals.REQUEUE:
                signals.requeue()
            raise
        except Exception as error:
            # such as a launcher's process that was killed, or a search without a result
            (sweep_dir / "error.log").write_text(traceback.format_exc())
            _conclude(sweep_dir, record, plan)
            what = f"{type(error).__name__}: {first_line(error)}; the traceback is in {sweep_dir / 'error.log'}"
            print(f"error: {what}", file=sys.stderr)
            raise SystemExit(1) from error
        if not _conclude(sweep_dir, record, plan):
            raise SystemExit(1)


@contextmanager
def _original_errors(sweep_dir: Path) -> Iterator[None]:
    """Raise what a library has replaced or swallowed: Ray `Stopped`, a search the refusal of a job."""
    raised: Exception | None = None
    try:
        yield
    except Exception as error:
        signals.answer()
        raised = error
    if (sweep_dir / STOP).exists() and (refusal := (sweep_dir / STOP).read_text()):
        raise UserError(refusal)
    if raised is not None:
        raise raised


def _stop(sweep_dir: Path) -> None:
    """Let no more jobs begin, ask those that run in other processes here to stop, and wait until they have saved."""
    (sweep_dir / STOP).touch()
    elsewhere = [job for job in read_jobs(sweep_dir) if job.host == socket.gethostname() and job.pid != os.getpid()]
    # the process that holds a directory has written the record there, so that the number is its own
    running = [job for job in elsewhere if job.status == "running" and is_held(job.run_dir)]
    for job in running:
        with suppress(ProcessLookupError):
            os.kill(job.pid, signal.SIGTERM)
    if running:
        MESSAGES.print(f"stopping; {len(running)} running jobs are being saved")
    until = time.monotonic() + _GRACE
    while any(is_held(job.run_dir) for job in running) and time.monotonic() < until:
        time.sleep(0.05)


def _conclude(sweep_dir: Path, record: SweepRecord, plan: Plan) -> bool:
    """Write `sweep.csv`, print the table and how to resume the sweep; return whether all jobs are complete."""
    jobs = [replace(job, status="stopped") if _was_killed(job) else job for job in read_jobs(sweep_dir)]
    known = {frozenset(job.overrides) for job in jobs}
    # those of a search are not known
    for overrides in (job for job in plan.jobs or [] if frozenset(job) not in known):
        run_dir = sweep_dir / job_name(overrides, plan.fixed, sweep_dir)
        jobs.append(Job(run_dir, overrides, differing(overrides, plan.fixed), "not run"))
    jobs = with_differing_keys(jobs)
    if not jobs:
        print("no job has begun")
        return False
    table = table_of([Sweep(sweep_dir, record, jobs)])
    table.write(sweep_dir / "sweep.csv")
    table.show()
    print(f"everything is in {sweep_dir}")
    print(f"  {watch_command(sweep_dir)}")
    print(f"  {command('report', path_argument(sweep_dir))} # draws it")
    complete = sum(job.is_complete for job in jobs)
    if complete == len(jobs):
        return True
    given = [argument for argument in record.command if not argument.lstrip("+").startswith("hydra.sweep.dir=")]
    print(f"{complete} of {max(len(jobs), plan.total or 0)} jobs are complete; the same command resumes the sweep:")
    print(f"  {command('train', *given, hydra_override('hydra.sweep.dir', sweep_dir))}")
    return False


def _was_killed(job: Job) -> bool:
    """Return whether the process that ran a job has ended without a word."""
    return job.status == "running" and not is_held(job.run_dir)


def _clear_unused(sweep_dir: Path) -> bool:
    """Delete the directory of a sweep that has not begun any job; return whether it has not."""
    if any(path.is_dir() for path in sweep_dir.iterdir()):
        return False
    for name in ("sweep.json", "multirun.yaml", ".lock", STOP):
        (sweep_dir / name).unlink(missing_ok=True)
    with suppress(OSError):
        sweep_dir.rmdir()
    return True
