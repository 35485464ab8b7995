"""A sweep from its command to its table: going on, stopping, failing, whichever launcher and sweeper run its jobs."""

import os
import shlex
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

from makemore import signals
from makemore.console import MESSAGES
from makemore.errors import UserError, first_line
from makemore.files import clear_temporaries, held, is_held
from makemore.overrides import hydra_override, override
from makemore.runs.directory import slurm_job
from makemore.sweeps.launchers import replay, set_defaults, started
from makemore.sweeps.naming import differing, job_name
from makemore.sweeps.plan import Plan
from makemore.sweeps.progress import live_line
from makemore.sweeps.records import STOP, Job, Reference, SweepRecord, read_jobs, read_sweep, told_apart
from makemore.sweeps.table import conclude

# seconds that running jobs have to save when the sweep is asked to stop
_GRACE = 30.0
# and those that were forked by a process that was killed, to save and go
_GOING = 5.0


def find_requeued(config: DictConfig) -> Path | None:
    """Return the directory of the sweep that this very SLURM job had begun before it was queued again."""
    job = slurm_job()
    if job is None or os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        return None
    for path in sorted(Path(config.hydra.sweep.dir).parent.glob("*/sweep.json"), reverse=True):
        # one that is damaged is not the one
        with suppress(UserError):
            record = read_sweep(path.parent)
            if record.slurm_job == job and record.command == sys.argv[1:]:
                return path.parent
    return None


def prepare(config: DictConfig, plan: Plan, sweep_dir: Path) -> None:
    """Set in the config of a sweep what its jobs are to have, in whichever process they are composed.

    Each has a directory named after what differs, writes its own log and nothing to the terminal, and saves its
    config itself, so that nothing is written in the directory of one that has finished.
    """
    swept = plan.jobs if plan.jobs and "threads" in plan.keys else []
    threads = [differing(job, plan.fixed)["threads"] for job in swept]
    with read_write(config), read_write(config.hydra), open_dict(config):
        config.hydra.sweep.dir = str(sweep_dir)
        set_defaults(config, sweep_dir.absolute(), max([config.threads, *threads]))
        fixed = [*config.hydra.job.config.override_dirname.exclude_keys, *plan.fixed]
        config.hydra.job.config.override_dirname.exclude_keys = fixed
        config.hydra.overrides.hydra += [
            f"hydra.job.config.override_dirname.exclude_keys=[{','.join(fixed)}]",
            "hydra.job_logging.root.handlers=[file]",
            "hydra.output_subdir=null",
            # where a job that SLURM has queued again had begun it
            hydra_override("hydra.sweep.dir", sweep_dir),
        ]


@contextmanager
def sweep(config: DictConfig, plan: Plan, reference: Reference | None) -> Iterator[None]:
    """Run a sweep in the block: shows where it is, answers signals, and ends with its table and an exit code.

    Args:
        config: of the sweep, prepared.
        plan: what it will run.
        reference: known figures to show beside its own.

    Raises:
        UserError: another process runs a sweep in its directory.
        Stopped: a signal; the running jobs are saved.
        SystemExit: 1, where some job did not finish.
    """
    sweep_dir = Path(config.hydra.sweep.dir)
    fresh = not sweep_dir.exists()
    sweep_dir.mkdir(parents=True, exist_ok=True)
    with held(sweep_dir, "runs a sweep", _GOING):
        (sweep_dir / STOP).unlink(missing_ok=True)
        clear_temporaries(sweep_dir)
        replay(sweep_dir)
        (sweep_dir / "error.log").unlink(missing_ok=True)
        total = None if plan.jobs is None else plan.total
        record = SweepRecord(sys.argv[1:], plan.keys, total, reference, slurm_job())
        if not fresh:
            with suppress(UserError):
                before = read_sweep(sweep_dir)
                record = replace(record, keys=list(dict.fromkeys([*before.keys, *plan.keys])))
        record.write(sweep_dir)
        try:
            with (
                signals.answering(passing_on=lambda: _stop(sweep_dir)),
                started(config.hydra),
                live_line(sweep_dir, plan.total),
                _as_it_was(sweep_dir),
            ):
                yield
        except (UserError, HydraException, OmegaConfBaseException):
            if not _clear_unused(sweep_dir):
                _end(sweep_dir, record, plan)
            raise
        except signals.Stopped as stopped:
            _end(sweep_dir, record, plan)
            if stopped.signum == signals.REQUEUE:
                signals.requeue()
            raise
        except Exception as error:
            # a launcher's process that was killed, a search without a result: the sweep's end, not ours
            (sweep_dir / "error.log").write_text(traceback.format_exc())
            _end(sweep_dir, record, plan)
            what = f"{type(error).__name__}: {first_line(error)}; all of it is in {sweep_dir / 'error.log'}"
            print(f"error: {what}", file=sys.stderr)
            raise SystemExit(1) from error
        if not _end(sweep_dir, record, plan):
            raise SystemExit(1)


@contextmanager
def _as_it_was(sweep_dir: Path) -> Iterator[None]:
    """Raise what was made something else of: `Stopped`, by Ray's compiled code; the refusal of a job, by a search."""
    try:
        yield
    except Exception:
        signals.answer()
        _raise_refusal(sweep_dir)
        raise
    _raise_refusal(sweep_dir)


def _raise_refusal(sweep_dir: Path) -> None:
    if (sweep_dir / STOP).exists() and (why := (sweep_dir / STOP).read_text()):
        raise UserError(why)


def _stop(sweep_dir: Path) -> None:
    """Let no more jobs begin, ask those that run in other processes here to stop, and wait until they have saved."""
    (sweep_dir / STOP).touch()
    running = [job for job in read_jobs(sweep_dir) if _runs_beside_us(job)]
    for job in running:
        with suppress(ProcessLookupError):
            os.kill(job.pid, signal.SIGTERM)
    if running:
        MESSAGES.print(f"stopping; {len(running)} running jobs are being saved")
    until = time.monotonic() + _GRACE
    while any(is_held(job.run_dir) for job in running) and time.monotonic() < until:
        time.sleep(0.05)


def _runs_beside_us(job: Job) -> bool:
    # who holds the directory has written its record, so the number is not that of another process by now
    return (
        job.status == "running"
        and job.host == socket.gethostname()
        and job.pid != os.getpid()
        and is_held(job.run_dir)
    )


def _end(sweep_dir: Path, record: SweepRecord, plan: Plan) -> bool:
    """Print the table of a sweep and how to go on with it; return whether all jobs have finished."""
    jobs = [_as_it_is(job) for job in read_jobs(sweep_dir)]
    jobs = told_apart([*jobs, *_not_run(sweep_dir, plan, jobs)])
    if not jobs:
        print("no job has begun")
        return False
    conclude(sweep_dir, jobs, record)
    here = shlex.quote(str(sweep_dir))
    print(f"everything is in {sweep_dir}")
    print(f"  tensorboard --logdir {here} --host 127.0.0.1")
    print(f"  python scripts/report.py {here} # draws it")
    finished = sum(job.status == "finished" for job in jobs)
    if finished == len(jobs):
        return True
    command = [argument for argument in record.command if not argument.lstrip("+").startswith("hydra.sweep.dir=")]
    again = " ".join([*map(shlex.quote, command), override("hydra.sweep.dir", sweep_dir)])
    print(f"{finished} of {max(len(jobs), plan.total or 0)} jobs finished; the same command goes on with the rest:")
    print(f"  python scripts/train.py {again}")
    return False


def _clear_unused(sweep_dir: Path) -> bool:
    """Delete the directory of a sweep of which nothing has begun, as it could not; return whether it was so."""
    if any(path.is_dir() for path in sweep_dir.iterdir()):
        return False
    for name in ("sweep.json", "multirun.yaml", ".lock", STOP):
        (sweep_dir / name).unlink(missing_ok=True)
    with suppress(OSError):
        sweep_dir.rmdir()
    return True


def _as_it_is(job: Job) -> Job:
    """Return a job whose process was killed as one that was stopped."""
    return replace(job, status="stopped") if job.status == "running" and not is_held(job.run_dir) else job


def _not_run(sweep_dir: Path, plan: Plan, begun: list[Job]) -> list[Job]:
    """Return the planned jobs that have not begun; those of a search are not known."""
    known = {frozenset(job.overrides) for job in begun}
    return [
        Job(
            sweep_dir / job_name(overrides, plan.fixed, sweep_dir),
            overrides,
            differing(overrides, plan.fixed),
            "not run",
        )
        for overrides in plan.jobs or []
        if frozenset(overrides) not in known
    ]
