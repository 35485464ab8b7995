"""Pictures of matplotlib on a page, and beside it as files."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from makemore.pictures import Picture, save_figure
from makemore.report.page import Image


def saved(pictures: Iterable[Picture], directory: Path) -> tuple[list[Image], list[Path]]:
    """Write pictures as PNG and SVG; return them for a page, and the paths of the files.

    Raises:
        UserError: one cannot be written.
    """
    images, paths = [], []
    for picture in pictures:
        png = save_figure(picture.figure, directory / f"{picture.name}.png")
        images.append(Image(picture.caption, png.read_bytes()))
        paths += [png, save_figure(picture.figure, directory / f"{picture.name}.svg")]
    return images, paths


def embedded(pictures: Iterable[Picture]) -> list[Image]:
    """Return pictures for a page that stand nowhere else."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "picture.png"
        return [Image(picture.caption, save_figure(picture.figure, path).read_bytes()) for picture in pictures]
