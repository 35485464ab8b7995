"""`makemore report`: tables, charts and pictures of runs, checkpoints and sweeps, as one HTML file."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from makemore.cli.command import exit_on_error, split_keys

_HELP = """\
Report on a run, a checkpoint or a sweep, or on several together.

It prints the table of NLLs, in nats a character, and writes report.html, one file with nothing outside it: what was
run, on which text, the table, curves, pictures, names and the commands to run it again. The pictures are beside it as
PNG and SVG: in pictures/ for runs and checkpoints; for sweeps, of the NLL against each swept key (nll_by_KEY) and each
pair of them (nll_by_KEY_and_KEY), with the table as sweep.csv."""
_EXAMPLES = """\
keys:
  output=DIR     for the files; --output DIR is the same
  which=null     of a run: last or best by validation, in RUN_DIR/report-CHECKPOINT; null is what it hands on

examples:
  makemore report logs/train/runs/first                       a run, in its directory
  makemore report logs/train/runs/first/checkpoints/best-*    a checkpoint, in RUN_DIR/report-CHECKPOINT
  makemore report logs/sweep_lr/multiruns/*                   sweeps together, in ./report
  makemore report logs/train/runs/first output=page           in page/
  makemore report latest                                      the newest run below logs/

From a checkout, python scripts/report.py is the same command. The rest is in docs/report.md."""


def main() -> None:
    """Write the report and print the table, as the command line says."""
    with exit_on_error():
        _report(_parsed(sys.argv[1:]))


def _report(arguments: Namespace) -> None:
    from makemore.cli.finding import find_checkpoint, find_named
    from makemore.overrides import set_threads
    from makemore.report.write_report import write_report
    from makemore.runs.own_models import import_own_models

    # what is computed is small, and quicker so
    set_threads(1)
    import_own_models()
    which = arguments.which
    # without it, a run and a sweep stay what they are: the report is on all of them
    paths = [find_named(path) if which is None else find_checkpoint(path, which) for path in arguments.paths]
    write_report(paths, None if arguments.output is None else Path(arguments.output).expanduser())


def _parsed(arguments: list[str]) -> Namespace:
    keys, rest = split_keys(arguments, ("output", "which"))
    parser = ArgumentParser(description=_HELP, epilog=_EXAMPLES, formatter_class=RawDescriptionHelpFormatter)
    what = "a checkpoint, the directory of a run, a sweep or an export, latest, or a pattern in quotes"
    parser.add_argument("paths", nargs="+", metavar="PATH", help=what)
    where = (
        "for the files; the directory of the run or the sweep, RUN_DIR/report-CHECKPOINT for a checkpoint of a run, "
    )
    where += "or ./report for several and for a checkpoint alone"
    parser.add_argument("--output", default=keys.get("output"), metavar="DIR", help=where)
    which = keys.get("which", "null")
    return Namespace(
        **vars(parser.parse_args([each.removeprefix("ckpt_path=") for each in rest])),
        which=None if which == "null" else which,
    )
