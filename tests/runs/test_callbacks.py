"""Checks the callbacks in real runs: which checkpoints stay, and what terminal, TensorBoard and files show."""

import csv
import io
import logging
import math
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from fitting import fit
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from makemore.checkpoints import find, step_of
from makemore.data.datamodule import TextDataModule
from makemore.errors import UserError
from makemore.inference.likelihood import exact_nll
from makemore.inference.trained_model import load
from makemore.pictures.curves import read_curves
from makemore.pictures.gallery import pictures_of_model
from makemore.runs import callbacks
from makemore.runs.callbacks import BigramMatrix, CountTable, LearningRateRangePlot, Pictures, ProgressBar
from makemore.runs.saving import AtomicCheckpointIO, Checkpoints
from makemore.training.loggers import MetricsCsv, TensorBoard
from makemore.training.module import CountingLanguageModel, NeuralLanguageModel
from makemore.training.schedules import Schedule, exponential_ramp, step_decay

PNG = b"\x89PNG\r\n\x1a\n"
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


def corpus_of(text: Path, **options: Any) -> TextDataModule:
    return TextDataModule(str(text), **({"batch_size": 8, "val_every": 5, "checkpoint_every": 4} | options))


def bigram(
    data: TextDataModule, lr: float = 1.0, schedule: Schedule | None = None, l2: float = 0.0
) -> NeuralLanguageModel:
    return NeuralLanguageModel("bigram", data.corpus.vocabulary, partial(torch.optim.SGD, lr=lr), schedule, l2)


def kept(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "checkpoints").iterdir())


class Validations(L.Callback):
    """Remembers the validation NLL by step."""

    def __init__(self) -> None:
        self.nlls: dict[int, float] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.nlls[trainer.global_step] = float(trainer.callback_metrics["val/nll"])


# better at first, worse after step 10
def falling_then_rising(data: TextDataModule) -> NeuralLanguageModel:
    return bigram(data, lr=5.0, schedule=step_decay([10], 200))


@pytest.fixture(scope="module")
def risen(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Validations]:
    """A run whose validation NLL has fallen and risen, and its validations."""
    directory, validations, data = tmp_path_factory.mktemp("risen"), Validations(), corpus_of(text)
    fit(falling_then_rising(data), data, 22, validations, Checkpoints(every=4), directory=directory)
    return directory, validations


# --- checkpoints


def test_the_last_two_and_the_best_stay_named_by_their_steps(risen: tuple[Path, Validations]) -> None:
    directory, validations = risen
    assert list(validations.nlls) == [5, 10, 15, 20, 22]
    assert min(validations.nlls, key=validations.nlls.__getitem__) == 10
    assert kept(directory) == ["best-step-00000010.ckpt", "step-00000020.ckpt", "step-00000022.ckpt"]


def test_a_checkpoint_holds_the_weights_of_its_step(
    risen: tuple[Path, Validations], text: Path, tmp_path: Path
) -> None:
    directory, validations = risen
    for path in (directory / "checkpoints").iterdir():
        step = int(path.stem.split("-")[-1])
        shorter = falling_then_rising(again := corpus_of(text))
        fit(shorter, again, step, directory=tmp_path / "shorter")
        model = load(path)
        assert model.step == step
        assert torch.equal(model.network.W, shorter.network.W)  # type: ignore[arg-type]
    best = load(directory / "checkpoints" / "best-step-00000010.ckpt")
    nll = exact_nll(best.network, corpus_of(text).corpus.windows("val", 1).counted()).nats
    assert nll == pytest.approx(validations.nlls[10], rel=1e-6)


@pytest.mark.parametrize(
    ("max_steps", "every", "steps"), [(3, 4, [3]), (4, 4, [4]), (5, 4, [4, 5]), (8, 4, [4, 8]), (9, 1, [8, 9])]
)
def test_the_end_of_training_has_a_checkpoint(
    text: Path, tmp_path: Path, max_steps: int, every: int, steps: list[int]
) -> None:
    data = corpus_of(text, splits=(1, 0, 0), checkpoint_every=every, steps_per_execution=100)
    checkpoints = Checkpoints(every)
    fit(bigram(data), data, max_steps, checkpoints, directory=tmp_path)
    assert kept(tmp_path) == [f"step-{step:08d}.ckpt" for step in steps]
    assert checkpoints.newest == tmp_path / "checkpoints" / f"step-{max_steps:08d}.ckpt"
    assert checkpoints.best is None


def test_never_more_than_three_checkpoints_and_no_unfinished_file_stay(text: Path, tmp_path: Path) -> None:
    seen: list[list[str]] = []

    class Look(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
            if trainer.global_step >= 4:
                seen.append(kept(tmp_path))

    data = corpus_of(text)
    fit(bigram(data), data, 30, Look(), Checkpoints(every=4), directory=tmp_path)
    assert len(seen) > 20
    for names in seen:
        assert sum(name.startswith("step-") for name in names) <= 2
        assert sum(name.startswith("best-step-") for name in names) <= 1
        assert all(name.endswith(".ckpt") and not name.startswith(".") for name in names)


def test_an_equal_validation_nll_does_not_replace_the_best(text: Path, tmp_path: Path) -> None:
    data = corpus_of(text)
    fit(bigram(data, lr=0.0), data, 20, Checkpoints(every=100), directory=tmp_path)
    assert kept(tmp_path) == ["best-step-00000005.ckpt", "step-00000020.ckpt"]


def test_an_infinite_validation_nll_is_never_the_best(text: Path, tmp_path: Path) -> None:
    data = corpus_of(text, batch_size=None)
    validations, checkpoints = Validations(), Checkpoints(every=100)
    model = CountingLanguageModel("ngram", data.corpus.vocabulary, order=4)
    fit(model, data, 1, validations, checkpoints, directory=tmp_path)
    assert validations.nlls == {1: math.inf}
    assert checkpoints.best is None
    assert kept(tmp_path) == ["step-00000001.ckpt"]


def test_a_resumed_run_remembers_its_best(text: Path, tmp_path: Path) -> None:
    data = corpus_of(text)
    fit(falling_then_rising(data), data, 12, Checkpoints(every=4), directory=tmp_path)
    checkpoints = Checkpoints(every=4)
    again = corpus_of(text)
    newest = tmp_path / "checkpoints" / "step-00000012.ckpt"
    fit(falling_then_rising(again), again, 22, checkpoints, resume=newest, directory=tmp_path)
    assert kept(tmp_path) == ["best-step-00000010.ckpt", "step-00000020.ckpt", "step-00000022.ckpt"]
    # the end of a run evaluates the best from its path
    assert checkpoints.best == tmp_path / "checkpoints" / "best-step-00000010.ckpt"


def test_a_resumed_run_replaces_its_best_by_a_better(text: Path, tmp_path: Path) -> None:
    data = corpus_of(text)
    fit(bigram(data, lr=5.0), data, 8, Checkpoints(every=4), directory=tmp_path)
    assert "best-step-00000008.ckpt" in kept(tmp_path)
    again = corpus_of(text)
    fit(
        bigram(again, lr=5.0),
        again,
        20,
        Checkpoints(every=4),
        resume=tmp_path / "checkpoints" / "step-00000008.ckpt",
        directory=tmp_path,
    )
    assert [name for name in kept(tmp_path) if name.startswith("best")] == ["best-step-00000020.ckpt"]


def test_a_checkpoint_knows_of_the_validation_at_its_own_step(text: Path, tmp_path: Path) -> None:
    # nothing moves after step 10, so that nothing is better than the validation there
    def still_after_ten(data: TextDataModule) -> NeuralLanguageModel:
        return bigram(data, lr=5.0, schedule=step_decay([10], 0))

    data, again = (corpus_of(text, checkpoint_every=5) for _ in range(2))
    fit(still_after_ten(data), data, 10, Checkpoints(every=5), directory=tmp_path)
    newest = tmp_path / "checkpoints" / "step-00000010.ckpt"
    fit(still_after_ten(again), again, 20, Checkpoints(every=5), resume=newest, directory=tmp_path)
    assert kept(tmp_path) == ["best-step-00000010.ckpt", "step-00000015.ckpt", "step-00000020.ckpt"]


@pytest.fixture(scope="module")
def stopped(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that hands on its best weights, and has stopped two validations after them."""
    directory, data = tmp_path_factory.mktemp("stopped"), corpus_of(text)
    fit(falling_then_rising(data), data, 40, Checkpoints(4, "best", patience=2), directory=directory)
    return directory


def test_training_stops_when_the_patience_is_exhausted(stopped: Path) -> None:
    assert kept(stopped) == ["best-step-00000010.ckpt", "step-00000016.ckpt", "step-00000020.ckpt"]


def test_the_patience_is_that_of_an_uninterrupted_run_after_a_resume(
    text: Path, tmp_path: Path, stopped: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, again = corpus_of(text), corpus_of(text)
    fit(falling_then_rising(data), data, 15, Checkpoints(4, "best", patience=2), directory=tmp_path)
    newest = tmp_path / "checkpoints" / "step-00000015.ckpt"
    with caplog.at_level(logging.INFO, "makemore.runs.saving"):
        callback = Checkpoints(4, "best", patience=2)
        fit(falling_then_rising(again), again, 40, callback, resume=newest, directory=tmp_path)
    assert kept(tmp_path) == kept(stopped)
    (message,) = (message for message in caplog.messages if message.startswith("stopped early"))
    assert message.startswith("stopped early at step 20: the validation NLL has not fallen for 2 validations")
    assert message.endswith("at step 10")


def test_a_run_that_has_stopped_early_takes_no_further_step(text: Path, tmp_path: Path, stopped: Path) -> None:
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    data = corpus_of(text)
    newest = tmp_path / "checkpoints" / "step-00000020.ckpt"
    fit(falling_then_rising(data), data, 40, Checkpoints(4, "best", patience=2), resume=newest, directory=tmp_path)
    assert kept(tmp_path) == kept(stopped)


def test_the_weights_that_a_run_hands_on_are_found_in_its_directory(
    stopped: Path, risen: tuple[Path, Validations], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert load(stopped).step == find_step(stopped, "best") == 10
    assert find_step(stopped, "last") == 20
    last = risen[0]
    assert load(last).step == find_step(last, "last") == 22
    assert find_step(last, "best") == 10
    # as after a disk error
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoints" / "best-step-00000010.ckpt").write_bytes(b"torn")
    assert load(tmp_path).step == 20
    assert caplog.messages[-1].endswith("the last is used")


def find_step(run_dir: Path, which: str) -> int:
    return step_of(find(run_dir, which))


def test_a_save_that_fails_leaves_the_old_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoints" / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)

    def full_disk(_checkpoint: Any, file: Any) -> None:
        file.write(b"half of")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, path)
    assert kept(tmp_path) == ["a.ckpt"]
    assert AtomicCheckpointIO().load_checkpoint(path) == {"step": 1}


def test_a_checkpoint_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        AtomicCheckpointIO().save_checkpoint({"step": 1}, tmp_path / "a.ckpt")
    finally:
        os.umask(before)
    assert (tmp_path / "a.ckpt").stat().st_mode & 0o777 == 0o644


class Payload:
    """Unpickled without care, this makes a directory."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("weights_only", [None, False, True])
def test_code_in_a_checkpoint_is_never_executed(tmp_path: Path, weights_only: bool | None) -> None:
    torch.save({"state": Payload(tmp_path / "executed")}, tmp_path / "evil.ckpt")
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "evil.ckpt", weights_only=weights_only)
    assert not (tmp_path / "executed").exists()


# --- progress


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    screen = io.StringIO()
    monkeypatch.setattr(callbacks, "MESSAGES", Console(file=screen, force_terminal=True, width=120))
    return screen


def test_a_terminal_sees_the_steps_and_the_nll(text: Path, tmp_path: Path, terminal: io.StringIO) -> None:
    data = corpus_of(text, steps_per_execution=3)
    bar = ProgressBar()
    fit(bigram(data), data, 22, bar, directory=tmp_path)
    shown = terminal.getvalue()
    assert "22/22" in shown
    assert "train NLL" in shown
    assert not bar.bar.live.is_started


def test_what_is_no_terminal_sees_no_bar(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(callbacks, "MESSAGES", Console(file=screen, force_terminal=False))
    data = corpus_of(text)
    fit(bigram(data), data, 7, ProgressBar(), directory=tmp_path)
    assert screen.getvalue().strip() == ""


def test_a_line_is_logged_at_each_validation(text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = corpus_of(text)
    validations = Validations()
    with caplog.at_level(logging.INFO, "makemore.runs.callbacks"):
        fit(bigram(data), data, 12, validations, ProgressBar(), directory=tmp_path)
    lines = [record.getMessage() for record in caplog.records if record.name == "makemore.runs.callbacks"]
    assert [line.partition(":")[0] for line in lines] == [f"step {step} of 12" for step in (5, 10, 12)]
    for line, nll in zip(lines, validations.nlls.values(), strict=True):
        assert line.endswith(f"validation NLL {nll:.4f}")


def test_without_validation_the_line_says_no_validation_nll(
    text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = corpus_of(text, splits=(1, 0, 0))
    with caplog.at_level(logging.INFO, "makemore.runs.callbacks"):
        fit(bigram(data), data, 5, ProgressBar(), directory=tmp_path)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "makemore.runs.callbacks"]
    assert line.startswith("step 5 of 5: ")
    assert "validation" not in line


def test_a_run_that_fails_takes_the_bar_away(text: Path, tmp_path: Path, terminal: io.StringIO) -> None:
    data = corpus_of(text)
    bar = ProgressBar()
    with pytest.raises(UserError, match="the loss is"):
        fit(bigram(data, lr=1e38, l2=1.0), data, 20, bar, directory=tmp_path)
    assert not bar.bar.live.is_started
    # hidden while the bar moves
    assert terminal.getvalue().rindex(SHOW_CURSOR) > terminal.getvalue().rindex(HIDE_CURSOR)


# --- what TensorBoard and files show


def events(directory: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(directory))
    accumulator.Reload()
    return accumulator


def test_the_range_test_remembers_every_step_and_ends_with_its_picture(text: Path, tmp_path: Path) -> None:
    data = corpus_of(text, steps_per_execution=7)
    plot = LearningRateRangePlot()
    fit(
        bigram(data, lr=2.0, schedule=exponential_ramp(-3, 0, 20)),
        data,
        20,
        plot,
        loggers=[TensorBoard(tmp_path)],
        directory=tmp_path,
    )
    assert plot.rates == pytest.approx((2 * 10 ** torch.linspace(-3, 0, 20, dtype=torch.float64)).tolist())
    assert len(plot.nlls) == 20
    assert (tmp_path / "lr_range.png").read_bytes().startswith(PNG)
    assert "<svg" in (tmp_path / "lr_range.svg").read_text()
    (image,) = events(tmp_path).Images("lr_range")
    assert image.step == 20
    assert image.encoded_image_string == (tmp_path / "lr_range.png").read_bytes()


@pytest.mark.full
def test_a_run_of_counts_ends_with_the_lessons_heat_map(lesson_text: Path, tmp_path: Path) -> None:
    data = TextDataModule(str(lesson_text), splits=(1, 0, 0), batch_size=None)
    model = CountingLanguageModel("ngram", data.corpus.vocabulary)
    fit(model, data, 1, BigramMatrix(), Checkpoints(every=100), loggers=[TensorBoard(tmp_path)], directory=tmp_path)
    assert "<svg" in (tmp_path / "bigrams.svg").read_text()
    (image,) = events(tmp_path).Images("bigrams")
    assert (image.step, image.width, image.height) == (1, 2400, 2400)
    assert image.encoded_image_string == (tmp_path / "bigrams.png").read_bytes()


@pytest.mark.usefixtures("no_drawing")
def test_a_run_may_end_with_all_pictures(text: Path, tmp_path: Path) -> None:
    data = corpus_of(text)
    model = NeuralLanguageModel("mlp", data.corpus.vocabulary, partial(torch.optim.SGD, lr=0.1), hidden_dim=8)
    table = MetricsCsv(tmp_path)
    fit(
        model, data, 12, Pictures(), Checkpoints(every=100), loggers=[table, TensorBoard(tmp_path)], directory=tmp_path
    )
    expected = {picture.name for picture in pictures_of_model(load(tmp_path), data.corpus)} | {"loss"}
    files = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert files == {f"{name}.{kind}" for name in expected for kind in ("png", "svg")}
    shown = events(tmp_path)
    assert set(shown.Tags()["images"]) == expected
    assert {event.step for name in expected for event in shown.Images(name)} == {12}
    # written by the run itself, which has one file of events
    assert len(list(tmp_path.glob("events.*"))) == 1
    # the last validation is part of the curve
    assert read_curves(tmp_path / "metrics.csv")["val/nll"][0] == [5, 10, 12]


@pytest.mark.usefixtures("no_drawing")
def test_pictures_change_nothing_else_of_a_run(text: Path, tmp_path: Path) -> None:
    tables = []
    for name, chosen in (("plain", []), ("drawn", [Pictures()])):
        data = corpus_of(text)
        fit(
            bigram(data),
            data,
            12,
            *chosen,
            Checkpoints(every=4),
            loggers=[MetricsCsv(tmp_path / name)],
            directory=tmp_path / name,
        )
        tables.append((tmp_path / name / "metrics.csv").read_text())
    assert tables[0] == tables[1]
    assert kept(tmp_path / "plain") == kept(tmp_path / "drawn")


def test_a_run_that_fails_has_no_pictures(text: Path, tmp_path: Path) -> None:
    data = corpus_of(text)
    with pytest.raises(UserError, match="the loss is"):
        fit(bigram(data, lr=1e38, l2=1.0), data, 20, Pictures(), Checkpoints(every=4), directory=tmp_path)
    assert not (tmp_path / "pictures").exists()


def test_the_table_of_counts_is_the_lessons(
    lesson_text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, bigram_pairs: list[tuple[str, str, int]]
) -> None:
    data = TextDataModule(str(lesson_text), splits=(1, 0, 0), batch_size=None)
    model = CountingLanguageModel("ngram", data.corpus.vocabulary)
    with caplog.at_level(logging.INFO, "makemore.runs.callbacks"):
        fit(model, data, 1, CountTable(), directory=tmp_path)
    with (tmp_path / "counts.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["token_1", "token_2", "count"]
    assert sorted((first, second, int(count)) for first, second, count in rows) == sorted(bigram_pairs)
    assert [int(count) for *_, count in rows] == sorted((count for *_, count in bigram_pairs), reverse=True)
    assert (
        "most common: n. 6763, a. 6640, an 5438, .a 4410, e. 3983, ar 3264, el 3248, ri 3033, na 2977, .k 2963"
        in caplog.messages
    )


def test_the_table_of_counts_quotes_what_csv_needs_quoted(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text('a,b\n"a"\n')
    data = TextDataModule(str(text), splits=(1, 0, 0), batch_size=None)
    fit(CountingLanguageModel("ngram", data.corpus.vocabulary, order=1), data, 1, CountTable(), directory=tmp_path)
    with (tmp_path / "counts.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["token_1", "count"], [".", "2"], ['"', "2"], ["a", "2"], [",", "1"], ["b", "1"]]


def test_a_network_has_no_table_of_counts(text: Path, tmp_path: Path) -> None:
    data = corpus_of(text)
    fit(bigram(data), data, 2, CountTable(), directory=tmp_path)
    assert not (tmp_path / "counts.csv").exists()
