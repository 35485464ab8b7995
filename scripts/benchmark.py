"""Measure the project against the lessons' own loops: python scripts/benchmark.py [--quick] (35 or 2 minutes).

It needs no network: the text is the copy of the lessons' file at MAKEMORE_NAMES, or else data/names.txt.
"""

import argparse
import sys
from pathlib import Path

from makemore.cli.command import collect_rarely, exit_on_error
from makemore.overrides import set_threads

THREADS = 1


def main(arguments: argparse.Namespace) -> None:
    """Measure the rows one after another, and print and write the table."""
    from benchmarks.cases import cases
    from benchmarks.measure import measure
    from benchmarks.report import Report, write
    from benchmarks.setting import new_setting, reductions

    # as a command does
    collect_rarely()
    set_threads(THREADS)
    rows = []
    with new_setting(arguments.quick, arguments.lines) as setting:
        for case in cases(setting, arguments.only):
            print(f"{case.name}: {case.work}", file=sys.stderr)
            rows.append(measure(case))
        report = Report(setting.text, THREADS, reductions(setting.sizes), rows)
    report.show()
    write(arguments.output, report.as_json())
    if arguments.markdown is not None:
        write(arguments.markdown, report.markdown())


def parsed() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="do less work, and say what was reduced")
    parser.add_argument(
        "--only", default="", metavar="NAME", help="only rows whose name contains this; * matches anything"
    )
    parser.add_argument("--lines", type=int, help="lines of the big file (10,000,000, or 200,000 with --quick)")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmark.json"), help="where to write everything as JSON (%(default)s)"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="where to write the table as Markdown")
    return parser.parse_args()


if __name__ == "__main__":
    with exit_on_error():
        main(parsed())
