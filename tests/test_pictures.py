"""Checks which pictures there are of a model and of a run, their files, and that TensorBoard has the same."""

import io
import logging
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from tensorboard.backend.event_processing.directory_watcher import DirectoryWatcher
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.backend.event_processing.io_wrapper import IsTensorFlowEventsFile
from tensorboard.summary.writer import event_file_writer

from makemore.errors import UserError
from makemore.loggers import TensorBoard
from makemore.pictures import Picture, save, show_in_tensorboard
from makemore.run_directory import held


def picture(name: str, number: int = 1) -> Picture:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot(range(number + 1))
    return Picture(name, f"{number} is what *{name}* shows.", figure)


def events(directory: Path) -> EventAccumulator:
    return EventAccumulator(str(directory)).Reload()


def event_files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*tfevents*"))


# --- TensorBoard


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event files are named by the second in which they begin; here each is begun a second after the one before."""
    seconds = iter(range(2_000_000_000, 2_000_001_000))

    class Clock:
        @staticmethod
        def time() -> int:
            return next(seconds)

    monkeypatch.setattr(event_file_writer, "time", Clock)


def test_tensorboard_shows_the_same_pictures_as_the_files(tmp_path: Path) -> None:
    pictures = [picture("one", 1), picture("two", 2)]
    save(pictures, tmp_path)
    assert show_in_tensorboard(pictures, tmp_path, 7)
    shown = events(tmp_path)
    assert shown.Tags()["images"] == ["one", "two"]
    for name in ("one", "two"):
        (image,) = shown.Images(name)
        assert image.step == 7
        pixels = imread(io.BytesIO(image.encoded_image_string))
        assert (pixels == imread(tmp_path / f"{name}.png")).all()
        assert (image.height, image.width) == pixels.shape[:2] == (300, 450)
        assert shown.SummaryMetadata(name).summary_description.endswith(f"is what *{name}* shows.")


@pytest.mark.usefixtures("clock")
def test_showing_again_replaces_what_was_shown(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.log_metrics({"train/nll": 2.5}, 3)
    board.finalize("success")
    (of_run,) = event_files(tmp_path)
    for step, name in ((3, "old"), (5, "new")):
        show_in_tensorboard([picture(name)], tmp_path, step)
    first, emptied, now = event_files(tmp_path)
    assert now.endswith(".pictures")
    assert first == of_run
    assert (tmp_path / emptied).stat().st_size == 0
    shown = events(tmp_path)
    assert shown.Tags()["images"] == ["new"]
    assert [event.step for event in shown.Scalars("train/nll")] == [3]
    show_in_tensorboard([picture("newest")], tmp_path, 6)
    # nothing heaps up
    assert len(event_files(tmp_path)) == 3


def test_a_directory_where_a_run_goes_on_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    show_in_tensorboard([picture("old")], tmp_path, 3)
    before = event_files(tmp_path)
    with held(tmp_path, "trains"), caplog.at_level(logging.WARNING):
        assert not show_in_tensorboard([picture("new")], tmp_path, 5)
    assert event_files(tmp_path) == before
    (message,) = caplog.messages
    assert str(tmp_path) in message
    assert "another process trains there" in message


def test_a_directory_that_is_gone_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: cannot be written: "):
        show_in_tensorboard([picture("one")], tmp_path / "file", 1)


@pytest.mark.usefixtures("clock")
def test_tensorboard_that_watches_sees_run_pictures_and_the_run_that_goes_on(tmp_path: Path) -> None:
    # TensorBoard's own reader of a directory, where it has none in another language
    watcher = DirectoryWatcher(str(tmp_path), EventFileLoader, IsTensorFlowEventsFile)

    def news() -> list[tuple[str, int]]:
        return [(value.tag, event.step) for event in watcher.Load() for value in event.summary.value]

    board = TensorBoard(tmp_path)
    board.log_metrics({"train/nll": 2.5}, 0)
    saved = board.state_dict()
    board.log_metrics({"train/nll": 2.4}, 1)
    board.finalize("success")
    assert news() == [("train/nll", 0), ("train/nll", 1)]
    show_in_tensorboard([picture("one")], tmp_path, 1)
    assert news() == [("one", 1)]
    show_in_tensorboard([picture("two")], tmp_path, 1)
    assert news() == [("two", 1)]
    # the run goes on from the checkpoint before step 1, and its pictures show what is no longer so
    again = TensorBoard(tmp_path)
    again.load_state_dict(saved)
    again.log_metrics({"train/nll": 2.3}, 1)
    again.finalize("success")
    assert news() == [("train/nll", 1)]
    assert not any(path.stat().st_size for path in tmp_path.glob("*.pictures"))
    show_in_tensorboard([picture("three")], tmp_path, 1)
    assert news() == [("three", 1)]
    shown = events(tmp_path)
    assert shown.Tags()["images"] == ["three"]
    assert [(event.step, round(event.value, 1)) for event in shown.Scalars("train/nll")] == [(0, 2.5), (1, 2.3)]
