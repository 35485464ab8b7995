"""Commands in processes of their own that start quickly, and what an interrupted run must share with one that was not.

A server that has imported the heavy modules forks a process for each command, which costs a third of a second in
place of five.
"""

import atexit
import csv
import json
import multiprocessing
import os
import pkgutil
import runpy
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

import shortcuts
from makemore.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
# a machine with other work to do may take its time
TIMEOUT = 600

# a run of a second
SHORT = (
    "model=mlp",
    "model.hidden_dim=8",
    "model.embedding_dim=2",
    "trainer.max_steps=40",
    "val_every=20",
    "checkpoint_every=10",
    "steps_per_execution=5",
    "log_every=5",
    "num_samples=3",
    "data.max_lines=1000",
)

_NUMBERS = count()
_STARTING = threading.Lock()
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "makemore.runs.train",
        "makemore.runs.outcome",
        "makemore.runs.watching.dashboards",
        "makemore.runs.watching.health",
        "makemore.cli.before_run",
        "makemore.cli.finding",
        "makemore.system.console",
        "makemore.inference.mixing",
        "makemore.models.bigram",
        "makemore.models.bow",
        "makemore.models.mlp",
        "makemore.models.ngram",
        "makemore.models.recurrent",
        "makemore.models.transformer",
        "makemore.models.wavenet",
        "makemore.report.write_report",
        "makemore.sweeps.lifecycle",
        "makemore.sweeps.vectorized.batch",
        "tensorboard.plugins.hparams.metadata",
        "torch.utils.tensorboard",
        # a search
        "optuna.storages",
        "sqlalchemy.dialects.sqlite.pysqlite",
        # a page
        "plotly.graph_objects",
        "plotly.io",
        "matplotlib.backends.backend_svg",
        # what a child does first is often a function of a test's module
        "pytest",
        "trials",
        # the last, as it freezes what there is
        "composed_once",
    ]
)


@dataclass(frozen=True)
class Outcome:
    """What a command printed and how it ended; the code is negative where a signal ended it."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of a user's error."""
        lines = self.err.splitlines()
        assert self.code == 2, self.err
        assert len(lines) == 1, self.err
        return lines[0]


class Child:
    """A command in a process of its own."""

    def __init__(
        self,
        script: str,
        arguments: Sequence[object],
        cwd: Path,
        prepare: Any,
        env: dict[str, str],
        stdin: str,
        terminal: str | None,
    ) -> None:
        number = next(_NUMBERS)
        cwd.mkdir(parents=True, exist_ok=True)
        # beside the working directory, in which the command alone leaves files
        self.given, self.out, self.err = (cwd.parent / f"{number}.{kind}" for kind in ("in", "out", "err"))
        for path in (self.out, self.err):
            path.touch()
        self.given.write_text(stdin)
        line = [f"{script}.py", *map(str, arguments)]
        outputs = (self.out, self.err) if terminal is None else (terminal, terminal)
        self.process = forked(_run, script, line, (cwd, self.given, *outputs), prepare, env)

    def send(self, signum: int) -> None:
        """Send a signal, unless it has ended."""
        if self.process.is_alive():
            assert self.process.pid is not None
            os.kill(self.process.pid, signum)

    def wait_for(self, text: str) -> None:
        """Wait until it has written a text to standard error, or has ended."""
        while self.process.is_alive() and text not in self.err.read_text():
            time.sleep(0.005)

    def wait(self, timeout: float = TIMEOUT) -> Outcome:
        """Wait until it ends, so many seconds at the most."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"still running: {self.err.read_text()}")
        return Outcome(self.process.exitcode, self.out.read_text(), self.err.read_text())


class _Process(ForkServerProcess):
    """A process of one thread among several: each start reads the codes of all that have ended, and a code once."""

    _reading = threading.Lock()

    def start(self) -> None:
        with self._reading:
            super().start()

    def is_alive(self) -> bool:
        with self._reading:
            return super().is_alive()

    def join(self, timeout: float | None = None) -> None:
        # without the lock, and without reading
        wait([self.sentinel], timeout)
        with self._reading:
            super().join(0)

    @property
    def exitcode(self) -> int | None:
        with self._reading:
            return super().exitcode


def forked(function: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Start a function of a module in a process of its own."""
    server()
    process = _Process(target=function, args=arguments)
    process.start()
    return process


def server() -> Any:
    """Return what starts processes that are forked from the server, which runs from the first call on."""
    with _STARTING, pytest.MonkeyPatch.context() as patch:
        # it looks for composed_once there, and has no other way to know
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        # output is buffered, as a user's is
        patch.delenv("PYTHONUNBUFFERED", raising=False)
        forkserver.ensure_running()
    return _SERVER


def start(
    script: str,
    *arguments: object,
    cwd: Path,
    prepare: Callable[[], None] | None = None,
    env: dict[str, str] | None = None,
    stdin: str = "",
    terminal: str | None = None,
) -> Child:
    """Start a script, or `makemore`, in a process of its own.

    Args:
        script: its name.
        arguments: of it.
        cwd: its working directory.
        prepare: called there first.
        env: environment variables, beside ours.
        stdin: its standard input.
        terminal: the path of one, for its output.
    """
    return Child(script, arguments, cwd, prepare, dict(os.environ) | (env or {}), stdin, terminal)


def run(script: str, *arguments: object, **options: Any) -> Outcome:
    """Run a script in a process of its own."""
    return start(script, *arguments, **options).wait()


def train(cwd: Path, *arguments: object, **options: Any) -> Path:
    """Run a training to its end and return its directory, the only one in `cwd`."""
    outcome = run("train", *arguments, cwd=cwd, **options)
    assert outcome.code == 0, outcome.err
    return run_in(cwd)


def resume(run_dir: Path, *arguments: object, **options: Any) -> Outcome:
    """Resume a run."""
    return run("train", f"resume={run_dir}", *arguments, cwd=run_dir.parents[3], **options)


def run_in(cwd: Path) -> Path:
    """Return the directory of the only run in `cwd`."""
    (run_dir,) = (cwd / "logs" / "train" / "runs").iterdir()
    return run_dir


def in_parallel(function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
    """Return `function` of each item, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(function, items))


def _run(script: str, line: list[str], where: tuple[Path, ...], prepare: Any, env: dict[str, str]) -> None:
    cwd, given, out, err = where
    # multiprocessing has closed the one of before
    sys.stdin = given.open()
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = line
    shortcuts.install()
    shortcuts.sample_less()
    if prepare is not None:
        prepare()
    try:
        if script == "makemore":
            sys.argv = ["makemore", *line[1:]]
            main()
        else:
            runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
    finally:
        # as at the end of any process, and before multiprocessing waits for children, which joblib's pool ends here
        threading._shutdown()
        atexit._run_exitfuncs()


def leave_svgs_empty() -> None:
    """Leave out what takes half the time of a picture, and TensorBoard does not show."""
    from makemore.pictures.picture import Picture

    rendered = Picture.rendered
    Picture.rendered = lambda picture, file_format: (  # type: ignore[method-assign]
        rendered(picture, file_format) if file_format == "png" else b""
    )


def sample_as_users_do() -> None:
    """Sample as many names as a process that takes no shortcuts, with which a run is to be compared."""
    shortcuts.sample_less(100)


def at_call(target: str, number: int, action: Callable[[], Any]) -> None:
    """Have `action` done just before the call of that number (from 1) of a function, `module:name`."""
    module, name = target.split(":")
    owner = (
        pkgutil.resolve_name(f"{module}:{name.rpartition('.')[0]}") if "." in name else pkgutil.resolve_name(module)
    )
    name = name.rpartition(".")[2]
    original = getattr(owner, name)
    calls = count(1)

    def counting(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            action()
        return original(*args, **kwargs)

    setattr(owner, name, counting)


def send_myself(signum: int) -> None:
    """Send this process a signal, and let it arrive."""
    os.kill(os.getpid(), signum)
    time.sleep(0)


def signal_at(target: str, number: int = 1, signum: int = signal.SIGTERM) -> Callable[[], None]:
    """Return what makes a process send itself a signal at a call; see `at_call`."""
    return partial(at_call, target, number, partial(send_myself, signum))


def signal_at_step(step: int, signum: int = signal.SIGTERM) -> Callable[[], None]:
    """Return what makes a training process send itself a signal before the step of that number after its start."""
    return signal_at("makemore.system.signals:requested", step + 1, signum)


def ending(run_dir: Path) -> dict[str, Any]:
    """Return all that a run ended with, but for wall times: plain values, tensors as bytes, to be compared by `==`."""
    final = max((run_dir / "checkpoints").glob("step-*.ckpt"))
    metrics = json.loads((run_dir / "metrics.json").read_text())
    del metrics["seconds"], metrics["reference/seconds"]
    return {
        "final": {final.name: checkpoint(final)},
        "best": {path.name: checkpoint(path) for path in (run_dir / "checkpoints").glob("best-*.ckpt")},
        "metrics.csv": (run_dir / "metrics.csv").read_text(),
        "metrics.json": metrics,
        "samples.txt": (run_dir / "samples.txt").read_text(),
        "points": points(run_dir),
    }


def checkpoint(path: Path) -> Any:
    """Return what a checkpoint holds of the state of a run, without what depends on how often it was interrupted."""
    from makemore.checkpoints import RECORD_KEY, read

    content = read(path)
    # Lightning's count of epochs begins anew at each start, and nothing depends on it
    del content["loops"], content["epoch"], content["callbacks"]["Outcome"], content[RECORD_KEY]["logs"]
    for name, state in content["callbacks"].items():
        if name.startswith("EarlyStopping"):
            del state["stopped_epoch"]
    for schedule in content["lr_schedulers"]:
        # calls, one a block
        del schedule["_step_count"]
    return _plain(content)


def _plain(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def points(run_dir: Path) -> dict[tuple[str, int], bytes]:
    """Return what TensorBoard has in the files of a run but for wall times, by tag and step; there is one of each."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found: dict[tuple[str, int], bytes] = {}
    for path in sorted(run_dir.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                key = (value.tag, event.step)
                assert key not in found, f"{key} twice"
                found[key] = value.tensor.SerializeToString()
    # none where a run began anew
    return {key: value for key, value in found.items() if key[0] != "speed/steps_per_second"}


def records(sweep_dir: Path) -> dict[str, dict[str, Any]]:
    """Return the record of each job of a sweep that has begun, by the name of its directory."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(sweep_dir.glob("*/job.json"))}


def statuses(sweep_dir: Path) -> dict[str, str]:
    """Return the status of each job of a sweep that has begun, by the name of its directory."""
    return {name: record["status"] for name, record in records(sweep_dir).items()}


def with_status(sweep_dir: Path, status: str) -> list[Path]:
    """Return the directories of the jobs of a sweep that have a status."""
    return [sweep_dir / name for name, of_job in statuses(sweep_dir).items() if of_job == status]


def table(sweep_dir: Path) -> list[dict[str, str]]:
    """Return the rows of a sweep's table, without the seconds, which no two sweeps share."""
    with (sweep_dir / "sweep.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def endings(sweep_dir: Path, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Return what jobs of a sweep ended with, all or those in directories of these names, by the hash in the name."""
    names = records(sweep_dir) if names is None else names
    return {name.rpartition("-")[2]: ending(sweep_dir / name) for name in names}


def assert_same(sweep_dir: Path, whole: Path) -> None:
    """Check that every job ended as that of the other sweep, to the bit, and so did the table."""
    assert records(sweep_dir).keys() == records(whole).keys()
    for name in records(whole):
        assert ending(sweep_dir / name) == ending(whole / name), name
    assert table(sweep_dir) == table(whole)


def contents(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return when each file below a directory was written, and what is in it."""
    paths = [path for path in directory.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def trials_of(storage: Path, name: str = "sweep") -> list[tuple[dict[str, Any], float | None, str]]:
    """Return what a search's study has of its trials: what differs, the NLL, the state."""
    with warnings.catch_warnings():
        # SQLAlchemy's, of the Optuna that the plugin takes
        warnings.simplefilter("ignore")
        import optuna

        study = optuna.load_study(study_name=name, storage=f"sqlite:///{storage}")
        return [(trial.params, trial.value, trial.state.name) for trial in study.trials]
