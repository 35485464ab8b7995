"""A picture: a matplotlib figure with its name and its caption, as files and in TensorBoard."""

import io
import logging
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from matplotlib.figure import Figure
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from torch.utils.tensorboard import SummaryWriter

from makemore.files import PICTURES_SUFFIX, HeldError, held, replacing, writing

log = logging.getLogger(__name__)
_DPI = 150


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


def save(pictures: Iterable[Picture], directory: Path) -> list[Path]:
    """Write pictures as PNG and SVG, and return the paths of both.

    Raises:
        UserError: one cannot be written.
    """
    paths = []
    for picture in pictures:
        paths += [directory / f"{picture.name}.png", directory / f"{picture.name}.svg"]
        with writing(paths[-2]), replacing(paths[-2]) as file:
            file.write(picture.png)
        save_figure(picture.figure, paths[-1])
    return paths


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure in the format that a path ends with, whole or not at all; return the path.

    Raises:
        UserError: it cannot be written.
    """
    with writing(path), replacing(path) as file:
        _draw(figure, file, path.suffix[1:])
    return path


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
        with writing(run_dir), held(run_dir, "trains"):
            _replace_events(pictures, run_dir, step)
    except HeldError as error:
        log.warning("%s; TensorBoard has no pictures of it", error)
        return False
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
