"""`makemore report`: tables, charts and pictures of runs, checkpoints and sweeps, as one HTML file."""

import argparse
from pathlib import Path

from makemore.cli.command import exit_on_error

_HELP = """\
Report on a run, a checkpoint or a sweep, or on several together.

It prints the table of NLLs, in nats a character, and writes report.html, one file with nothing outside it: what was
run, on which text, the table, curves, pictures, names and the commands to run it again. The pictures are beside it as
PNG and SVG: in pictures/ for runs and checkpoints; for sweeps, of the NLL against each swept key (nll_by_KEY) and each
pair of them (nll_by_KEY_and_KEY), with the table as sweep.csv."""
_EXAMPLES = """\
examples:
  makemore report logs/train/runs/first                       a run, in its directory
  makemore report logs/train/runs/first/checkpoints/best-*    a checkpoint, in RUN_DIR/report-CHECKPOINT
  makemore report logs/sweep_lr/multiruns/*                   sweeps together, in ./report
  makemore report logs/train/runs/first --output page         in page/
  makemore report logs/mixtures/*                             mixtures, in ./report

From a checkout, python scripts/report.py is the same command. The rest is in docs/report.md."""


def main() -> None:
    """Write the report and print the table, as the command line says."""
    with exit_on_error():
        _report(_parsed())


def _report(arguments: argparse.Namespace) -> None:
    from makemore.cli.own_models import import_own_models
    from makemore.overrides import set_threads
    from makemore.report.write_report import write_report

    # what is computed is small, and quicker so
    set_threads(1)
    import_own_models()
    write_report(arguments.paths, arguments.output)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=_HELP, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = "a checkpoint, or the directory of a run or of a sweep"
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help=what)
    where = (
        "for the files; the directory of the run or the sweep, RUN_DIR/report-CHECKPOINT for a checkpoint of a run, "
    )
    where += "or ./report for several and for a checkpoint alone"
    parser.add_argument("--output", type=Path, metavar="DIR", help=where)
    return parser.parse_args()
