"""Report on sweeps, of one or of several together: python scripts/report.py SWEEP_DIR... [--output DIR].

It prints the table of all jobs, the best first, and writes it as sweep.csv with a picture of the NLL against each
swept key (nll_by_KEY.png) and against each pair of them (nll_by_KEY_and_KEY.png).
"""

import argparse
from pathlib import Path

from makemore.command import one_line


def main(arguments: argparse.Namespace) -> None:
    """Write and print the report."""
    from makemore.sweeps.report import report

    report(arguments.directories, arguments.output)


def parsed() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", type=Path, nargs="+", metavar="SWEEP_DIR", help="made by scripts/train.py -m")
    where = "for the files; SWEEP_DIR itself, or ./report for several sweeps"
    parser.add_argument("--output", type=Path, metavar="DIR", help=where)
    return parser.parse_args()


if __name__ == "__main__":
    with one_line():
        main(parsed())
