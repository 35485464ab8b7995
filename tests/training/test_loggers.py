"""Checks the loggers: one row of `metrics.csv` a logged step with a plain loop's values, and TensorBoard's scalars."""

import csv
from functools import partial
from pathlib import Path
from typing import Any

import fitting
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers.logger import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer
from torch.utils.tensorboard import SummaryWriter

from makemore.data.batches import replacement_rows
from makemore.data.datamodule import TextDataModule
from makemore.errors import UserError
from makemore.training.loggers import MetricsCsv, TensorBoard, log_row, rewind, states, tensorboards
from makemore.training.module import NeuralLanguageModel
from makemore.training.nll_curves import Baselines, NllCurves

NAMES = Path(__file__).parents[2] / "data" / "names.txt"
HEADER = ["step", "train/loss", "train/nll", "train/penalty", "lr", "val/nll"]


def read(directory: Path) -> list[list[str]]:
    with (directory / "metrics.csv").open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def data(tmp_path: Path) -> TextDataModule:
    """The first 200 names, validated every 10 steps."""
    path = tmp_path / "names.txt"
    path.write_text("\n".join(NAMES.read_text().split("\n")[:200]) + "\n")
    return TextDataModule(str(path), batch_size=8, val_every=10, steps_per_execution=7)


def fit(data: TextDataModule, *loggers: Logger, lr: float = 1.0, log_every: int = 4) -> None:
    """Train a bigram with a penalty for 26 steps."""
    model = NeuralLanguageModel(
        "bigram", data.corpus.vocabulary, partial(torch.optim.SGD, lr=lr), l2=0.5, init="normal", log_every=log_every
    )
    fitting.fit(model, data, 26, loggers=loggers)


# --- metrics.csv


def test_metrics_of_one_step_are_one_row(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path)
    logger.log_metrics({"train/loss": 3.5, "train/nll": 3.0, "train/penalty": 0.5, "lr": 0.1}, step=0)
    logger.log_metrics({"val/nll": 2.5}, step=10)
    logger.log_metrics({"train/nll": 2.0}, step=10)
    logger.log_metrics({"val/nll": 1.5}, step=12)
    logger.finalize("success")
    assert read(tmp_path) == [
        HEADER,
        ["0", "3.5", "3.0", "0.5", "0.1", ""],
        ["10", "", "2.0", "", "", "2.5"],
        ["12", "", "", "", "", "1.5"],
    ]


def test_a_row_is_on_disk_when_the_next_step_comes(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path)
    logger.log_metrics({"train/nll": 3.0}, step=0)
    logger.log_metrics({"train/nll": 2.0}, step=1)
    assert read(tmp_path)[1:] == [["0", "", "3.0", "", "", ""]]
    logger.finalize("success")


def test_saving_and_finalising_twice_writes_a_row_once(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path)
    logger.log_metrics({"train/nll": 3.0}, step=0)
    for _ in range(2):
        logger.save()
        logger.finalize("success")
    assert len(read(tmp_path)) == 2


def test_what_has_no_column_is_left_out(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path)
    logger.log_metrics({"epoch": 1}, step=0)
    logger.log_metrics({"epoch": 1, "val/nll": 2.0}, step=1)
    logger.finalize("success")
    assert read(tmp_path) == [HEADER, ["1", "", "", "", "", "2.0"]]


def test_a_run_that_logs_nothing_leaves_no_file(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path)
    logger.log_hyperparams({"lr": 0.1})
    logger.finalize("success")
    assert not (tmp_path / "metrics.csv").exists()


def test_a_resumed_run_goes_on_in_the_same_file_without_a_second_header(tmp_path: Path) -> None:
    for step in (0, 1):
        logger = MetricsCsv(tmp_path)
        logger.log_metrics({"train/nll": 3.0 - step}, step=step)
        logger.finalize("success")
    assert read(tmp_path) == [HEADER, ["0", "", "3.0", "", "", ""], ["1", "", "2.0", "", "", ""]]


def test_a_run_has_one_row_a_logged_step_with_the_values_of_a_plain_loop(data: TextDataModule, tmp_path: Path) -> None:
    fit(data, MetricsCsv(tmp_path))

    train, val = data.corpus.windows("train", 1), data.corpus.windows("val", 1)
    size = data.corpus.vocabulary.size
    weights = torch.randn((size, size), generator=torch.Generator().manual_seed(0), requires_grad=True)
    expected: dict[int, dict[str, float]] = {}
    for step in range(27):
        row = expected[step] = {}
        if step in (10, 20, 26):
            contexts, targets = val.batch(torch.arange(len(val)))
            row["val/nll"] = F.cross_entropy(weights[contexts[:, 0]], targets).item()
        if step == 26:
            break
        contexts, targets = train.batch(torch.from_numpy(replacement_rows(0, step, 1, 8, len(train))[0]))
        nll = F.cross_entropy(weights[contexts[:, 0]], targets)
        penalty = 0.5 * (weights**2).mean()
        if step % 4 == 0:
            row["train/loss"], row["train/nll"] = (nll + penalty).item(), nll.item()
            row["train/penalty"], row["lr"] = penalty.item(), 1.0
        (gradient,) = torch.autograd.grad(nll + penalty, [weights])
        with torch.no_grad():
            weights -= gradient

    header, *rows = read(tmp_path)
    assert header == HEADER
    assert [int(row[0]) for row in rows] == [step for step, row in expected.items() if row]
    for row in rows:
        values = {name: float(value) for name, value in zip(HEADER[1:], row[1:], strict=True) if value}
        assert values == pytest.approx(expected[int(row[0])], abs=2e-6), f"step {row[0]}"


def test_a_run_that_fails_keeps_the_rows_before(data: TextDataModule, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the loss is .* at step 1,"):
        fit(data, MetricsCsv(tmp_path), lr=1e38, log_every=1)
    assert [row[0] for row in read(tmp_path)] == ["step", "0"]


# --- TensorBoard


def scalars(directory: Path) -> dict[str, dict[int, float]]:
    accumulator = EventAccumulator(str(directory))
    accumulator.Reload()
    return {
        tag: {event.step: event.value for event in accumulator.Scalars(tag)} for tag in accumulator.Tags()["scalars"]
    }


def test_tensorboard_has_the_rows_of_the_csv_at_their_steps(data: TextDataModule, tmp_path: Path) -> None:
    fit(data, MetricsCsv(tmp_path), TensorBoard(tmp_path))
    expected: dict[str, dict[int, Any]] = {name: {} for name in HEADER[1:]}
    for step, *values in read(tmp_path)[1:]:
        for name, value in zip(HEADER[1:], values, strict=True):
            if value:
                expected[name][int(step)] = pytest.approx(float(value), rel=1e-6)
    assert scalars(tmp_path) == expected


def test_events_are_in_the_directory_itself_and_no_other_file_beside_them(
    data: TextDataModule, tmp_path: Path
) -> None:
    directory = tmp_path / "run"
    fit(data, TensorBoard(directory))
    assert [path.name.split(".")[:3] for path in directory.iterdir()] == [["events", "out", "tfevents"]]


def test_hyperparameters_bring_no_scalar_but_those_given(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.log_hyperparams({"lr": 0.1})
    board.log_hyperparams({"lr": 0.1}, {"hparam/val_nll": 2.5})
    board.finalize("success")
    # beside other scalars the page would take these for results too
    assert scalars(tmp_path) == {}
    assert scalars(tmp_path / "values") == {"hparam/val_nll": {0: 2.5}}
    assert not list(tmp_path.rglob("hparams.yaml"))
    events = EventAccumulator(str(tmp_path / "values"))
    events.Reload()
    # no list of columns, so that the page makes one of all runs, in which what differs comes first
    assert set(events.PluginTagToContent("hparams")) == {"_hparams_/session_start_info", "_hparams_/session_end_info"}


def test_a_penalty_of_0_is_no_curve(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    for step, penalty in enumerate((0.0, 0.5)):
        board.log_metrics({"train/nll": 3.0, "train/penalty": penalty}, step=step)
    board.finalize("success")
    assert scalars(tmp_path)["train/penalty"] == {1: 0.5}


@pytest.mark.parametrize("two_colors", [False, True])
def test_validation_has_a_colour_of_its_own_where_a_colour_is_no_job(two_colors: bool, tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.curves, board.two_colors = NllCurves(Baselines(2.0, 1.5, 3.3, max_steps=10, val_every=5)), two_colors
    log_row([board], 0, {"train/nll": 3.0})
    log_row([board], 5, {"val/nll": 2.5})
    board.finalize("success")
    curves = scalars(tmp_path / "validation" if two_colors else tmp_path)
    assert curves["nll/validation"] == {5: 2.5}
    assert curves["nll/counting alone"] == {0: 2.0, 5: 2.0}
    assert scalars(tmp_path)["nll/training"] == {0: 3.0}
    assert scalars(tmp_path)["val/nll"] == {5: 2.5}


def test_only_tensorboards_have_event_writers(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    (writer,) = tensorboards([MetricsCsv(tmp_path), board])
    assert isinstance(writer, SummaryWriter)
    assert writer is board.experiment
    assert tensorboards([MetricsCsv(tmp_path)]) == []
    board.finalize("success")


# --- going back


def log(loggers: list[Logger], steps: range) -> None:
    for step in steps:
        for logger in loggers:
            logger.log_metrics({"train/nll": float(step), "val/nll": step / 2}, step=step)


def with_curves(directory: Path) -> list[Logger]:
    board = TensorBoard(directory)
    board.curves, board.two_colors = NllCurves(Baselines(5.0, 4.0, 20.0, max_steps=12, val_every=1)), True
    return [MetricsCsv(directory), board]


def test_going_back_leaves_one_point_a_step_however_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # each start of a run is a process, whose files are numbered anew; 10 would be read before 9
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(10))
    for directory in ("once", "often"):
        (tmp_path / directory).mkdir()
    whole = with_curves(tmp_path / "once")
    log(whole, range(12))
    saved: dict[str, Any] = {}
    for start, save_at, end in ((0, 3, 7), (3, 3, 5), (3, 6, 12), (6, 6, 6), (6, 12, 12)):
        loggers = with_curves(tmp_path / "often")
        rewind(loggers, saved)
        log(loggers, range(start, save_at))
        saved = states(loggers)
        log(loggers, range(save_at, end))
        for logger in loggers:
            logger.finalize("failed")
    for logger in whole:
        logger.finalize("success")
    assert read(tmp_path / "often") == read(tmp_path / "once")
    for part in ("", "validation"):
        found = scalars(tmp_path / "once" / part)
        assert scalars(tmp_path / "often" / part) == found
        assert "later_nll/" + ("validation" if part else "training") in found
    accumulator = EventAccumulator(str(tmp_path / "often")).Reload()
    assert [event.step for event in accumulator.Scalars("train/nll")] == list(range(12))


def test_going_back_to_nothing_leaves_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        loggers: list[Logger] = [MetricsCsv(tmp_path), TensorBoard(tmp_path)]
        rewind(loggers, {})
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
        log(loggers, range(3))
        for logger in loggers:
            logger.finalize("failed")


def test_a_row_that_waits_for_more_of_its_step_is_part_of_what_is_saved(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path)
    logger.log_metrics({"train/nll": 1.0}, step=0)
    logger.log_metrics({"val/nll": 2.0}, step=5)
    saved = states([logger])
    logger.log_metrics({"train/nll": 9.0}, step=6)
    logger.finalize("failed")
    again = MetricsCsv(tmp_path)
    rewind([again], saved)
    again.log_metrics({"train/nll": 3.0}, step=5)
    again.finalize("success")
    assert read(tmp_path)[1:] == [["0", "", "1.0", "", "", ""], ["5", "", "3.0", "", "", "2.0"]]


def test_what_was_written_may_be_shorter_by_now(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = MetricsCsv(tmp_path)
    log([logger], range(3))
    saved = states([logger])
    logger.finalize("failed")
    logger.path.write_text("step\n")
    rewind([MetricsCsv(tmp_path)], saved)
    assert logger.path.read_text() == "step\n"
    logger.path.unlink()
    rewind([MetricsCsv(tmp_path)], saved)
    assert [message.split(": ")[1] for message in caplog.messages] == [
        "is shorter than when the checkpoint was written; what it lacks is lost"
    ] * 2
