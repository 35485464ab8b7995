"""Report on a run, a checkpoint or a sweep, or on several: python scripts/report.py PATH... [--output DIR].

It prints the table and writes report.html, one file with nothing outside it: what was run, on which text, the table,
curves, pictures, names and the commands to run it again. The pictures are beside it as PNG and SVG: in pictures/ for
runs and checkpoints; for sweeps, of the NLL against each swept key (nll_by_KEY) and each pair of them
(nll_by_KEY_and_KEY), with the table as sweep.csv.
"""

import argparse
from pathlib import Path

from makemore.cli.command import exit_on_error


def main(arguments: argparse.Namespace) -> None:
    """Write the report and print the table."""
    from makemore.overrides import set_threads
    from makemore.report.write_report import write_report

    # what is computed is small, and quicker so
    set_threads(1)
    write_report(arguments.paths, arguments.output)


def parsed() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = "a checkpoint, or the directory of a run or of a sweep (scripts/train.py -m)"
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help=what)
    where = (
        "for the files; the directory of the run or the sweep, RUN_DIR/report-CHECKPOINT for a checkpoint of a run, "
    )
    where += "or ./report for several and for a checkpoint alone"
    parser.add_argument("--output", type=Path, metavar="DIR", help=where)
    return parser.parse_args()


if __name__ == "__main__":
    with exit_on_error():
        main(parsed())
