"""Checks which pictures there are of a model and of a run, their files, and that TensorBoard has the same."""

import io
import logging
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from tensorboard.backend.event_processing.directory_watcher import DirectoryWatcher
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.backend.event_processing.io_wrapper import IsTensorFlowEventsFile
from tensorboard.summary.writer import event_file_writer

from makemore.data.corpus import Corpus, read_corpus
from makemore.data.options import CorpusOptions
from makemore.errors import UserError
from makemore.inference.trained_model import TrainedModel
from makemore.models.network import Counted, Network, build
from makemore.pictures.curves import Curves, read_curves
from makemore.pictures.gallery import pictures_of_model, pictures_of_training
from makemore.pictures.picture import Picture, save, show_in_tensorboard
from makemore.system.files import held
from makemore.training.loggers import TensorBoard


def picture(name: str, number: int = 1) -> Picture:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot(range(number + 1))
    return Picture(name, f"{number} is what *{name}* shows.", figure)


def events(directory: Path) -> EventAccumulator:
    return EventAccumulator(str(directory)).Reload()


def event_files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*tfevents*"))


def model_of(directory: Path, corpus: Corpus, network: Network) -> TrainedModel:
    named = "mlp", dict[str, object]()  # which no picture shows
    return TrainedModel(directory, *named, network, corpus.vocabulary, corpus.options, corpus.sha256, 3)


def corpus_of(directory: Path, lines: list[str], **options: object) -> Corpus:
    path = directory / "text.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return read_corpus(CorpusOptions(str(path), **options))  # type: ignore[arg-type]


# --- which there are

OF_EVERY_MODEL = {
    "bigrams",
    "network_beside_counts",
    "nll_by_place_and_character",
    "calibration",
    "confusion",
    "lengths",
}
LINES = ["anna", "bob", "eve", "dan", "ed", "ada", "bea", "ned", "nan", "abe"]


@pytest.fixture
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw with a ninth of the pixels."""
    monkeypatch.setattr("makemore.pictures.picture._DPI", 50)


@pytest.mark.usefixtures("_coarse")
@pytest.mark.parametrize(
    ("architecture", "arguments", "has_embedding"),
    [
        ("kneser_ney", {"order": 4}, False),
        ("mlp", {"block_size": 2, "embedding_dim": 1, "hidden_dim": 4}, True),
        *(
            pytest.param(*case, marks=pytest.mark.full)
            for case in (
                ("ngram", {"order": 4}, False),
                ("ngram", {"order": 0}, False),
                ("ngram", {"order": 1}, False),
                ("bigram", {}, False),
                ("mlp", {"block_size": 3, "embedding_dim": 7, "hidden_dim": 4}, True),
            )
        ),
    ],
)
def test_any_model_has_its_pictures(
    architecture: str, arguments: dict[str, int], has_embedding: bool, tmp_path: Path
) -> None:
    corpus = corpus_of(tmp_path, LINES, by="example" if architecture == "bigram" else "line")
    network = build(architecture, corpus.vocabulary.size, arguments, 0)
    if isinstance(network, Counted):
        network.count(corpus.windows("train", network.block_size).counted())
    pictures = list(pictures_of_model(model_of(tmp_path, corpus, network), corpus))
    assert {picture.name for picture in pictures} == OF_EVERY_MODEL | ({"embedding"} if has_embedding else set())
    assert "the whole text" in pictures[0].caption
    for made in pictures:
        assert made.png.startswith(b"\x89PNG")


@pytest.mark.full
@pytest.mark.usefixtures("_coarse")
def test_a_text_without_validation_is_seen_on_training(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, ["a"], splits=(1, 0, 0))
    network = build("bigram", corpus.vocabulary.size, {}, 0)
    pictures = list(pictures_of_model(model_of(tmp_path, corpus, network), corpus))
    assert "train split" in pictures[1].figure.get_suptitle()
    paths = save(pictures, tmp_path / "pictures")
    assert len(paths) == 2 * len(OF_EVERY_MODEL)
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == sorted(path.name for path in paths)
    assert all(path.stat().st_size > 1000 for path in paths)


def test_a_model_that_never_ends_an_item_is_drawn_in_bounded_time(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, ["ab" * 300, "ab" * 301, "b"], splits=(1, 0, 0))
    network = build("bigram", corpus.vocabulary.size, {}, 0)
    with torch.no_grad():
        network.get_parameter("W")[:, corpus.vocabulary.end] = -1e9
    *_, lengths = pictures_of_model(model_of(tmp_path, corpus, network), corpus)
    assert lengths.name == "lengths"
    labels = [text.get_text() for text in lengths.figure.axes[0].get_legend().get_texts()]  # type: ignore[union-attr]
    # 200,000 characters in all
    assert labels == ["text: 3, mean 401.00", "sampled: 200, mean 1000.00"]


@pytest.mark.full
def test_thousands_of_characters_are_drawn_by_the_most_common(tmp_path: Path) -> None:
    alphabet = [chr(0x4E00 + number) for number in range(2000)]
    lines = ["".join(alphabet[first : first + 5]) for first in range(0, 2000, 5)]
    corpus = corpus_of(tmp_path, lines, splits=(1, 0, 0))
    network = build("mlp", corpus.vocabulary.size, {"hidden_dim": 4}, 0)
    pictures = {picture.name: picture for picture in pictures_of_model(model_of(tmp_path, corpus, network), corpus)}
    assert len(pictures["embedding"].figure.axes[0].texts) <= 41
    assert len(pictures["bigrams"].figure.axes[0].texts) <= 2 * 41**2
    # boxes for what the font has not
    assert len(save([pictures["embedding"], pictures["confusion"]], tmp_path / "pictures")) == 4


def test_training_has_its_loss_and_a_range_test_its_picture_too(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    header = "step,train/loss,train/nll,train/penalty,lr,val/nll\n"
    path.write_text(header + "0,3.3,3.3,0,0.001,\n1,3.0,3.0,0,0.01,\n2,,nan,0,0.1,\n3,2.0,2.0,0,1.0,\n4,,,,,2.5\n")
    curves = read_curves(path)
    assert curves["train/nll"] == ([0, 1, 3], [3.3, 3.0, 2.0])
    assert curves["val/nll"] == ([4], [2.5])
    loss, ramp = pictures_of_training(curves)
    assert (loss.name, ramp.name) == ("loss", "lr_range")
    # a rate whose loss is no number has no place in it
    assert list(ramp.figure.axes[0].lines[0].get_xdata()) == [0.001, 0.01, 1.0]


@pytest.mark.parametrize("rates", [[0.1, 0.1, 0.1], [0.1, 0.2, 0.1], [0.1, 0.2]])
def test_a_rate_that_does_not_rise_is_no_range_test(rates: list[float]) -> None:
    steps = list(range(len(rates)))
    curves: Curves = {"train/nll": ([*map(float, steps)], [3.0] * len(rates)), "lr": ([*map(float, steps)], rates)}
    assert [picture.name for picture in pictures_of_training(curves)] == ["loss"]


def test_a_log_of_nothing_has_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,train/loss,train/nll,train/penalty,lr,val/nll\n")
    assert list(pictures_of_training(read_curves(tmp_path / "metrics.csv"))) == []


def test_a_picture_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"one\.png: cannot be written: "):
        save([picture("one")], tmp_path / "file")
    (tmp_path / "one.svg").mkdir()
    with pytest.raises(UserError, match=r"one\.svg: cannot be written: "):
        save([picture("one")], tmp_path)


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
    show_in_tensorboard(pictures, tmp_path, 7)
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
        show_in_tensorboard([picture("new")], tmp_path, 5)
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
