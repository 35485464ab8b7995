"""Run lessons and write their figures beside ours into docs/lessons.md: python scripts/lessons.py [SECTION ...].

Sections: counting, bigram and mlp (L0 to L4, a minute together, the default); part2, part3 and part5 (the larger
networks of the lectures: about 2, 8 and 17 minutes of one core). The other sections stay as they are. It needs the
lessons' own file, which is downloaded unless MAKEMORE_NAMES is the path of a copy.
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from makemore.cli.command import exit_on_error
from makemore.errors import one_of

DOCS = Path(__file__).resolve().parents[1] / "docs"
QUICK = ("counting", "bigram", "mlp")
NAMES = (*QUICK, "part2", "part3", "part5")


def main(names: Sequence[str]) -> None:
    """Run the lessons of some sections, and write their figures and the picture of the range test."""
    from lesson_figures.experiments import Lessons
    from lesson_figures.guide import SECTIONS, with_figures

    page = DOCS / "lessons.md"
    with tempfile.TemporaryDirectory() as directory:
        lessons = Lessons(["data=makemore"], Path(directory))
        found = {name: SECTIONS[name](lessons) for name in names}
        for picture in Path(directory).glob("*/lr_range.png"):
            shutil.copy(picture, DOCS / "lr_range.png")
    text = page.read_text(encoding="utf-8")
    for name, figures in found.items():
        text = with_figures(text, name, figures)
    page.write_text(text, encoding="utf-8")
    every = [figure for figures in found.values() for figure in figures]
    disagreeing = [figure.what for figure in every if not figure.agrees]
    print(f"{len(every)} figures, {len(disagreeing)} of them not the lesson's", *disagreeing, sep="\n  ")


def parse() -> list[str]:
    """Return the sections that are asked for, QUICK for none; answer --help, and refuse all else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    return [one_of("SECTION", name, NAMES) for name in parser.parse_args().sections] or list(QUICK)


if __name__ == "__main__":
    with exit_on_error():
        main(parse())
