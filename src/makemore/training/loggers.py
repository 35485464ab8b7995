"""Loggers of a run's metrics: TensorBoard, `metrics.csv` with one row a logged step, and any other beside them."""

import csv
import logging
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

from lightning.fabric.utilities.logger import _convert_params
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import FileWriter, SummaryWriter
from torch.utils.tensorboard.summary import hparams

from makemore.errors import first_line
from makemore.system.files import PICTURES_SUFFIX
from makemore.training.nll_curves import NllCurves, Points

log = logging.getLogger(__name__)
COLUMNS = ("step", "train/loss", "train/nll", "train/penalty", "lr", "val/nll")


# TensorBoard has a colour and a table of final NLLs for each directory: those of validation and of HPARAMS
_VALIDATION, _VALUES = "validation", "values"


class TensorBoard(TensorBoardLogger):
    """Writes TensorBoard events into the run's directory, `save_dir`, and no file of hyperparameters beside them.

    The hyperparameters are with the final NLLs in a directory there, `values`, as the HPARAMS dashboard takes all
    scalars beside them for results.
    """

    # of a run of `makemore train`: its curves, whether that of validation has a directory and so a colour of its own,
    # and the hyperparameters that it was given
    curves: NllCurves | None = None
    two_colors = False
    given: Mapping[str, float | str] | None = None

    def __init__(self, save_dir: str | Path) -> None:
        super().__init__(save_dir, name="", version="", default_hp_metric=False)
        self._parts: dict[str, FileWriter] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write the metrics of a step as one event, as each event wakes the writer's thread; no penalty that is 0."""
        writer = self.experiment._get_file_writer()
        values = [(name, value) for name, value in metrics.items() if name != "train/penalty" or value]
        if self.curves is not None and step is not None:
            points, validation = self.curves.points(step, metrics)
            if self.two_colors and validation:
                _write(self._part(_VALIDATION), validation)
            else:
                points = sorted(points + validation, key=itemgetter(0))
            _write(writer, [point for point in points if point[0] < step])
            values += [(name, value) for at, name, value in points if at == step]
        writer.add_summary(_summary(values), step)

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, metrics: dict[str, Any] | None = None, step: int | None = None
    ) -> None:
        """Write hyperparameters with the final metrics, for the HPARAMS dashboard; nothing without metrics."""
        if not metrics:
            return
        # without a list of columns in each run, the dashboard makes one from all runs, and puts what differs first
        _, *session = hparams(self._sanitize_params(_convert_params(params)), metrics)  # type: ignore[no-untyped-call]
        for summary in (_summary(metrics.items()), *session):
            self._part(_VALUES).add_summary(summary, step)

    def _part(self, name: str) -> FileWriter:
        """Return the writer of a directory in that of the run."""
        if name not in self._parts:
            self._parts[name] = FileWriter(str(Path(self.save_dir) / name))
        return self._parts[name]

    def save(self) -> None:
        """Flush; the hyperparameters are in the events and in the run's `.hydra`."""
        self.experiment.flush()
        for part in self._parts.values():
            part.flush()

    def finalize(self, status: str) -> None:
        """Close the files."""
        super().finalize(status)
        while self._parts:
            self._parts.popitem()[1].close()

    def state_dict(self) -> dict[str, Any]:
        """Return the size of each event file, by its path, and the state of the curves; each start adds files."""
        self.save()
        curves = {} if self.curves is None else {"curves": self.curves.state_dict()}
        return {name: _size_on_disk(path) for name, path in self._files()} | curves

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Delete event files and parts of them that were written since, before anything else is written."""
        state = state or {}
        for name, path in self._files():
            # a running TensorBoard would stop at a file of pictures that is gone
            if name in state or path.name.endswith(PICTURES_SUFFIX):
                _truncate(path, state.get(name, 0))
            else:
                path.unlink()
        if self.curves is not None and "curves" in state:
            self.curves.load_state_dict(state["curves"])

    def _files(self) -> list[tuple[str, Path]]:
        directory = Path(self.save_dir)
        parts = (directory, directory / _VALIDATION, directory / _VALUES)
        paths = (path for part in parts for path in sorted(part.glob("events.out.tfevents.*")))
        return [(path.relative_to(directory).as_posix(), path) for path in paths]


def _summary(values: Iterable[tuple[str, float]]) -> Summary:
    return Summary(value=[Summary.Value(tag=name, simple_value=float(value)) for name, value in values])


def _write(writer: FileWriter, points: Points) -> None:
    """Write points, those of a step as one event."""
    for step, group in groupby(points, key=itemgetter(0)):
        writer.add_summary(_summary((name, value) for _, name, value in group), step)


# keys with a text that may look like a number, such as a file 2018 or precision 32
_TEXTS = ("data.path", "data.val_path", "data.test_path", "trainer.precision")


def hyperparameters(values: Mapping[str, Any]) -> dict[str, float | str]:
    """Return the values of a config for TensorBoard's HPARAMS, where a key has one type in all runs of a directory.

    Of two types the dashboard makes text, whose filters and order are those of text. So numbers are numbers; true,
    false, lists and text are text, as a key may take several of these; what is not given, or not finite, is left out.
    """
    parameters: dict[str, float | str] = {}
    for key, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool):
            parameters[key] = str(value).lower()
        elif key in _TEXTS or not isinstance(value, int | float):
            parameters[key] = str(value)
        elif abs(value) <= sys.float_info.max:
            parameters[key] = value
    return parameters


def log_row(loggers: Iterable[Any], step: int, row: dict[str, float]) -> None:
    """Give `row` to every logger at an optimiser step."""
    for logger in loggers:
        logger.log_metrics(row, step=step)


def states(loggers: Iterable[Any]) -> dict[str, Any]:
    """Return the states of the loggers that `rewind` can take back to here, by class."""
    ours = [logger for logger in loggers if isinstance(logger, TensorBoard | MetricsCsv)]
    return {type(logger).__name__: logger.state_dict() for logger in ours}


def rewind(loggers: Iterable[Logger], saved: Mapping[str, Any]) -> None:
    """Take the files of a run back to what they were at `states`; delete those of loggers without a state."""
    for logger in loggers:
        if isinstance(logger, TensorBoard | MetricsCsv):
            logger.load_state_dict(saved.get(type(logger).__name__))


def _size_on_disk(path: Path) -> int:
    """Return the size of a file, all of it flushed to disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def _truncate(path: Path, size: int) -> None:
    found = path.stat().st_size if path.exists() else 0
    if found < size:
        log.warning("%s: is shorter than when the checkpoint was written; what it lacks is lost", path)
    elif found > size:
        os.truncate(path, size)


def tensorboards(loggers: Iterable[Logger]) -> list[SummaryWriter]:
    """Return the event writers of the loggers that are TensorBoard's."""
    return [logger.experiment for logger in loggers if isinstance(logger, TensorBoardLogger)]


class MetricsCsv(Logger):
    """Writes metrics to `metrics.csv` in the run's directory, `save_dir`: one row a step, steps ascending."""

    def __init__(self, save_dir: str | Path) -> None:
        super().__init__()
        self.path = Path(save_dir) / "metrics.csv"
        self._row: dict[str, Any] = {}
        self._file: TextIO | None = None

    @property
    def name(self) -> str:
        """The name, which Lightning asks for."""
        return "metrics.csv"

    @property
    def version(self) -> str:
        """None, as a run has one file."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Log nothing: the config is in the run's `.hydra`."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add to the row of `step`; a row is written when a later step comes."""
        if step != self._row.get("step"):
            self._write_row()
            self._row = {"step": step}
        self._row |= {name: value for name, value in metrics.items() if name in COLUMNS}

    def _write_row(self) -> None:
        """Write the current row; not when Lightning saves its loggers, as more of the step may come."""
        if len(self._row) > 1:
            new = not self.path.exists()
            if self._file is None:
                # line by line, so that a row is on disk as soon as it is written
                self._file = self.path.open("a", newline="", buffering=1)
            writer = csv.DictWriter(self._file, COLUMNS)
            if new:
                writer.writeheader()
            writer.writerow(self._row)
        self._row = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the size of the file, and the row not yet in it."""
        return {"size": _size_on_disk(self.path) if self.path.exists() else 0, "row": dict(self._row)}

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Cut off what was written since."""
        if state is not None and state["size"]:
            _truncate(self.path, state["size"])
        else:
            self.path.unlink(missing_ok=True)
        row = state["row"] if state else {}
        self._row = {name: row[name] for name in COLUMNS if name in row}

    def finalize(self, status: str) -> None:
        """Write the last row and close the file."""
        self._write_row()
        if self._file is not None:
            self._file.close()
            self._file = None


class Spared(Logger):
    """Mixin of a logger beside the run's own files: what it fails at is a warning, and the run goes on without it."""

    key: str  # in the config
    failed = False

    def attempt(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Call, unless an earlier call has failed."""
        if self.failed:
            return
        try:
            call(*arguments, **named)
        except Exception as error:  # whatever a server, a database or a package raises
            self.failed = True
            log.warning("%s: %s; the run goes on without it", self.key, first_line(error))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics."""
        self.attempt(super().log_metrics, metrics, step=step)  # type: ignore[safe-super]

    def log_hyperparams(self, *arguments: Any, **named: Any) -> None:
        """Log hyperparameters."""
        self.attempt(super().log_hyperparams, *arguments, **named)  # type: ignore[safe-super]

    def save(self) -> None:
        """Save what is not saved yet."""
        self.attempt(super().save)

    def finalize(self, status: str) -> None:
        """End the run there, which W&B's logger leaves to the end of the process."""
        self.attempt(super().finalize, status)
        if isinstance(self, WandbLogger):
            self.attempt(lambda: self.experiment.finish(exit_code=int(status != "success")))
