"""The pictures of a trained model and of its training: which there are, as files, and in TensorBoard."""

import csv
import io
import logging
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import IO

from matplotlib.figure import Figure
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from torch.utils.tensorboard import SummaryWriter

from makemore import plots
from makemore.atomic import replacing
from makemore.checkpoint import TrainedModel
from makemore.data.corpus import Corpus
from makemore.data.vocabulary import Vocabulary
from makemore.diagnosis import Diagnosis, diagnose
from makemore.errors import UserError
from makemore.run_directory import PICTURES_SUFFIX, HeldError, held

log = logging.getLogger(__name__)
# Made-up items whose lengths are compared with those of the text, and the characters of one and of all.
_ITEMS, _LONGEST, _CHARACTERS = 2000, 1000, 200_000
# Characters in the plane of an embedding, more of which hide each other.
_POINTS = 100
_DPI = 150
Curves = dict[str, tuple[list[float], list[float]]]


@dataclass(frozen=True)
class Picture:
    """A picture with its name, under which its files are, and a sentence on what it shows."""

    name: str
    caption: str
    figure: Figure

    @cached_property
    def png(self) -> bytes:
        """It as PNG, as files and TensorBoard have it."""
        file = io.BytesIO()
        _draw(self.figure, file, "png")
        return file.getvalue()


def bigram_picture(found: Diagnosis, vocabulary: Vocabulary) -> Picture:
    """Return the lessons' heat map of the bigrams of a split."""
    labels = [vocabulary.labels[token] for token in found.tokens]
    caption = f"How often each character stands before each other one in the {found.split} split."
    return Picture("bigrams", caption, plots.bigram_matrix(found.counted, labels))


def range_test_picture(rates: Sequence[float], losses: Sequence[float]) -> Picture:
    """Return the picture of a learning-rate range test: ascending rates and the NLL at each, nats a character."""
    caption = "Loss against the learning rate, which rose at each step; beyond the suggested one nothing is gained."
    return Picture("lr_range", caption, plots.learning_rate_range(rates, losses))


def pictures_of_model(model: TrainedModel, corpus: Corpus) -> Iterator[Picture]:
    """Yield what one can see of a model on its text: on validation, or on training where there is no such split."""
    split = "val" if corpus.size("val") else "train"
    found = diagnose(model.network, corpus, split)
    every = model.vocabulary.labels
    labels = [every[token] for token in found.tokens]
    yield bigram_picture(found, model.vocabulary)
    yield Picture(
        "network_beside_counts",
        "What follows each character: as counted, and as the model expects on the same text.",
        plots.network_beside_counts(found, labels),
    )
    if model.network.embedding is not None:
        vectors = model.network.embedding.detach().double().numpy()
        shown = range(len(every)) if len(every) <= _POINTS else found.tokens
        figure = plots.embedding(vectors[shown], [every[token] for token in shown])
        yield Picture("embedding", "The characters where the embedding has put them.", figure)
    yield Picture(
        "nll_by_place_and_character",
        "Where the model is surprised: by the place in the item, and by the character.",
        plots.nll_by_place_and_character(found, dict(enumerate(every))),
    )
    yield Picture(
        "calibration",
        "How often the likeliest character was right, against its probability; the error is the mean gap.",
        plots.calibration(found.calibration, split),
    )
    yield Picture("confusion", "What is expected where a character is right.", plots.confusion(found, labels))
    real = corpus.lengths - 1
    # a model that has learnt little ends few of its items
    longest = min(2 * int(real.max()) + 10, _LONGEST)
    made_up = model.sample(min(_ITEMS, _CHARACTERS // longest), max_length=longest)
    figure = plots.lengths([len(item) for item in made_up], real.tolist())
    yield Picture(
        "lengths", f"How long made-up items are, none of which may have more than {longest:,} characters.", figure
    )


def pictures_of_training(curves: Curves) -> Iterator[Picture]:
    """Yield what one can see of a training run in its log: the loss, and the range test where it was one."""
    if any(name in curves for name in ("train/nll", "val/nll")):
        yield Picture("loss", "NLL of minibatches and of validation.", plots.loss_curve(curves))
    losses = dict(zip(*curves.get("train/nll", ([], [])), strict=True))
    rates = {step: rate for step, rate in zip(*curves.get("lr", ([], [])), strict=True) if step in losses}
    if len(rates) > 2 and all(before < after for before, after in pairwise(rates.values())):
        yield range_test_picture(list(rates.values()), [losses[step] for step in rates])


def read_curves(path: Path) -> Curves:
    """Return the columns of a run's `metrics.csv`, each with its steps, without what is missing or not finite."""
    curves: Curves = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                if name != "step" and text and math.isfinite(value := float(text)):
                    steps, values = curves.setdefault(name, ([], []))
                    steps.append(int(row["step"]))
                    values.append(value)
    return curves


def save(pictures: Iterable[Picture], directory: Path) -> list[Path]:
    """Write pictures as PNG and SVG, and return the paths of both.

    Raises:
        UserError: one cannot be written.
    """
    paths = []
    for picture in pictures:
        paths += [directory / f"{picture.name}.png", directory / f"{picture.name}.svg"]
        with _writing(paths[-2]) as file:
            file.write(picture.png)
        save_figure(picture.figure, paths[-1])
    return paths


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure in the format that a path ends with, whole or not at all; return the path.

    Raises:
        UserError: it cannot be written.
    """
    with _writing(path) as file:
        _draw(figure, file, path.suffix[1:])
    return path


@contextmanager
def _writing(path: Path) -> Iterator[IO[bytes]]:
    try:
        with replacing(path) as file:
            yield file
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def add_to_tensorboard(writer: SummaryWriter, pictures: Iterable[Picture], step: int) -> None:
    """Write pictures as images of a step, each under its name and with its caption, the same as in its PNG."""
    for picture in pictures:
        width, height = (int(_DPI * inches) for inches in picture.figure.get_size_inches())
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=picture.png)
        metadata = SummaryMetadata(summary_description=picture.caption)
        summary = Summary(value=[Summary.Value(tag=picture.name, metadata=metadata, image=image)])
        writer._get_file_writer().add_summary(summary, step)  # type: ignore[no-untyped-call]


def show_in_tensorboard(pictures: Iterable[Picture], run_dir: Path, step: int) -> bool:
    """Write pictures into a run's directory as TensorBoard images, in place of those written so before.

    They are in an event file of their own, younger than those of the run, since TensorBoard reads a directory's files
    in the order of their times and does not come back to one. The file before is emptied, as it is when a run goes on.

    Args:
        pictures: of the run.
        run_dir: its directory.
        step: that of the weights which they show.

    Returns:
        whether they were written; they are not, and that is said, while another process holds the directory.

    Raises:
        UserError: they cannot be written.
    """
    try:
        with held(run_dir, "trains"):
            _replace_events(pictures, run_dir, step)
    except HeldError as error:
        log.warning("%s; TensorBoard has no pictures of it", error)
        return False
    except OSError as error:
        raise UserError(f"{run_dir}: cannot be written: {error.strerror}") from error
    return True


def _replace_events(pictures: Iterable[Picture], run_dir: Path, step: int) -> None:
    before = list(run_dir.glob(f"events.out.tfevents.*{PICTURES_SUFFIX}"))
    with SummaryWriter(str(run_dir), filename_suffix=PICTURES_SUFFIX) as writer:
        add_to_tensorboard(writer, pictures, step)
    for path in before:
        # where TensorBoard has no reader of files but Python's, it would not get past one that is gone
        if path.stat().st_size:
            os.truncate(path, 0)
        else:
            path.unlink()


def _draw(figure: Figure, file: IO[bytes], kind: str) -> None:
    with warnings.catch_warnings():
        # the font has not all characters; it draws a box
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(file, format=kind, dpi=_DPI)
