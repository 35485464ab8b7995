"""Write docs/lessons.md, every figure of the lessons beside ours: python scripts/lessons.py (about a minute).

It needs the lessons' own file, which is downloaded unless MAKEMORE_NAMES is the path of a copy.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from makemore.cli.command import exit_on_error

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main() -> None:
    """Run every lesson, and write the page and the picture of the learning-rate range test."""
    from lesson_figures.comparison import page
    from lesson_figures.experiments import Lessons

    with tempfile.TemporaryDirectory() as directory:
        lessons = Lessons(["data=makemore"], Path(directory))
        figures = [*lessons.counting(), *lessons.bigram(), *lessons.first_words(), *lessons.whole_file()]
        (picture,) = Path(directory).glob("*/lr_range.png")
        shutil.copy(picture, DOCS / "lr_range.png")
    (DOCS / "lessons.md").write_text(page(figures), encoding="utf-8")
    disagreeing = [figure.what for figure in figures if not figure.agrees]
    print(f"{len(figures)} figures, {len(disagreeing)} of them not the lesson's", *disagreeing, sep="\n  ")


def parse() -> None:
    """Answer --help, and refuse every other argument: there are none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()


if __name__ == "__main__":
    with exit_on_error():
        parse()
        main()
