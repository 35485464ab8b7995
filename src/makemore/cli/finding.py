"""Find the checkpoint that a user names: by its path, or by a run, a sweep, a pattern or `latest`."""

import glob
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from makemore.checkpoints import BEST, LAST, find, newest_first, run_dir_of
from makemore.errors import UserError, as_text, one_of

if TYPE_CHECKING:
    from makemore.inference.trained_model import TrainedModel
    from makemore.sweeps.records import Job

log = logging.getLogger(__name__)

LATEST = "latest"
# the directory in that of a run with the mixture of the weights that it hands on and counts
MIXTURE = "mixture"


def find_checkpoint(path: str | Path, which: str | None = None) -> Path:
    """Return the checkpoint that a user names, and log which where there was a choice; raise `UserError` for none.

    `path` is a checkpoint; the directory of a run; that of a sweep, for its best job; `latest`, for the newest run
    below `logs`; a glob pattern of checkpoints or runs, for the newest of them; or an export. What exists under that
    very name comes first. Of a run, "last" is the newest whole checkpoint, "best" the best by validation NLL, and None
    what its config hands on.
    """
    one_of("which", which, (None, LAST, BEST))
    path = find_named(path)
    if (path / "sweep.json").exists():
        path = _best_job(path)
    return find(path, which)


def find_named(path: str | Path) -> Path:
    """Return what a user names: the path itself, or the newest that `latest` or a pattern means, see above."""
    path = Path(os.path.expanduser(path if isinstance(path, Path) else as_text("ckpt_path", path)))
    if not path.exists():
        if str(path) == LATEST:
            logs = Path("logs")
            runs = {found.parent.parent for found in logs.glob("**/checkpoints/*.ckpt")}
            runs = {run for run in runs if run.name != MIXTURE}
            none = f"there is no run with a checkpoint below {logs.absolute()}; train one, or name a run's directory"
            path = _newest(LATEST, runs, none)
        elif glob.has_magic(str(path)):
            none = f"matches no checkpoint and no run (from {Path.cwd()}); name one, or {LATEST}"
            path = _newest(str(path), map(Path, glob.glob(str(path), recursive=True)), none)
    return path


def _newest(name: str, paths: Iterable[Path], none: str) -> Path:
    """Return the checkpoint, or the run by its newest one, that was written last; raise `UserError` with `none`."""
    times = {path: max(map(_written, found)) for path in paths if (found := _checkpoints(path))}
    if not times:
        raise UserError(f"{name}: {none}")
    newest = max(times, key=lambda path: (times[path], str(path)))
    if len(times) > 1:
        log.warning("%s: %s is the newest of %d", name, newest, len(times))
    return newest


def _checkpoints(path: Path) -> list[Path]:
    """Return a checkpoint itself, or those of a run."""
    return newest_first(run_dir_of(path)) if path.is_dir() else [path]


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # a run that trains deletes its older ones
        return 0


def _best_job(sweep_dir: Path) -> Path:
    """Return the directory of the best complete job of a sweep."""
    complete = _complete_jobs(sweep_dir)
    best = complete[0]
    log.warning("%s: %s is the best of %d, NLL %.4f", sweep_dir, best.name, len(complete), best.nll)
    return best.run_dir


def _complete_jobs(sweep_dir: Path) -> list["Job"]:
    """Return the finished jobs of a sweep, best first, and then the pruned ones; raise `UserError` for none."""
    from makemore.sweeps.records import read_jobs
    from makemore.sweeps.table import sorted_jobs

    complete = [job for job in sorted_jobs(read_jobs(sweep_dir)) if job.is_complete]
    if not complete:
        raise UserError(
            f"{sweep_dir}: no job of this sweep has finished; wait for one, or name the directory of a job"
        )
    return complete


def load_models(paths: Sequence[str], top: int) -> list["TrainedModel"]:
    """Load the models at some paths: each a checkpoint, a run, or a sweep, of which the `top` best jobs are taken.

    The same checkpoint counts once. Raises `UserError` as `find_checkpoint` does.
    """
    from makemore.inference.trained_model import load

    found: dict[Path, None] = {}
    for path in paths:
        is_sweep = (Path(path).expanduser() / "sweep.json").exists()
        runs = [job.run_dir for job in _complete_jobs(Path(path).expanduser())[:top]] if is_sweep else [path]
        found |= dict.fromkeys(find_checkpoint(run).resolve() for run in runs)
    return [load(path) for path in found]
