"""A picture: a matplotlib figure with its name and caption, written to files and into TensorBoard."""

import io
import logging
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from torch.utils.tensorboard import SummaryWriter

from makemore.pictures.style import STYLE
from makemore.system.files import PICTURES_SUFFIX, HeldError, held, replacing, writing

log = logging.getLogger(__name__)
_DPI = 150


@dataclass(frozen=True)
class Picture:
    """A figure, the name of its files and of its image in TensorBoard, and a caption of one sentence."""

    name: str
    caption: str
    figure: Figure

    @cached_property
    def png(self) -> bytes:
        """The content of the PNG file, which TensorBoard shows too."""
        return self.rendered("png")

    @cached_property
    def svg(self) -> bytes:
        """The content of the SVG file, which pages show too."""
        return self.rendered("svg")

    @property
    def is_wide(self) -> bool:
        """Whether it needs the width of a page."""
        return bool(self.figure.get_size_inches()[0] > 8)

    def rendered(self, file_format: str) -> bytes:
        """Return the content of a file in a format of matplotlib's."""
        file = io.BytesIO()
        # ticks are made now
        with matplotlib.rc_context(STYLE), warnings.catch_warnings():
            # a character that the font lacks is drawn as a box
            warnings.filterwarnings("ignore", "Glyph")
            self.figure.savefig(file, format=file_format, dpi=_DPI)
        return file.getvalue()


def save(pictures: Iterable[Picture], directory: Path) -> list[Path]:
    """Write PNG and SVG files, each whole or not at all; return their paths; raise `UserError` if one cannot be."""
    paths = []
    for picture in pictures:
        for suffix, content in (("png", picture.png), ("svg", picture.svg)):
            path = directory / f"{picture.name}.{suffix}"
            with writing(path), replacing(path) as file:
                file.write(content)
            paths.append(path)
    return paths


def add_to_tensorboard(writer: SummaryWriter, pictures: Iterable[Picture], step: int) -> None:
    """Write the PNG of each picture as a TensorBoard image of a step, with its caption."""
    for picture in pictures:
        width, height = (int(_DPI * inches) for inches in picture.figure.get_size_inches())
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=picture.png)
        metadata = SummaryMetadata(summary_description=picture.caption)
        summary = Summary(value=[Summary.Value(tag=picture.name, metadata=metadata, image=image)])
        writer._get_file_writer().add_summary(summary, step)  # type: ignore[no-untyped-call]


def show_in_tensorboard(pictures: Iterable[Picture], run_dir: Path, step: int) -> None:
    """Write TensorBoard images into a run's directory, in place of those written so before.

    They have an event file of their own, newer than those of the run: TensorBoard reads the files of a directory in
    the order of their times and does not return to an earlier one. Files with older images are emptied, as they are
    when a run is resumed. While another process holds the directory, nothing is written but a warning; `UserError` if
    the images cannot be written.
    """
    try:
        with writing(run_dir), held(run_dir, "trains"):
            older = list(run_dir.glob(f"events.out.tfevents.*{PICTURES_SUFFIX}"))
            with SummaryWriter(str(run_dir), filename_suffix=PICTURES_SUFFIX) as writer:
                add_to_tensorboard(writer, pictures, step)
            for path in older:
                # TensorBoard's reader in Python cannot get past a file that disappears while it is at it
                if path.stat().st_size:
                    os.truncate(path, 0)
                else:
                    path.unlink()
    except HeldError as error:
        log.warning("%s; its pictures are not in TensorBoard", error)
