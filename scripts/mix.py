"""Mix trained models into one: python scripts/mix.py PATH... [top=5] [output=DIR].

Each PATH is a checkpoint, the directory of a run, or that of a sweep, of which the `top` best jobs are taken. All were
trained on the same text with the same splits. The mixture's probabilities are the weighted mean of theirs; the weights
are fitted on the validation split. It is written to DIR, by default logs/mixtures/<time>, which evaluate.py, score.py,
sample.py and report.py take like the directory of a run.
"""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from datetime import datetime
from pathlib import Path

from makemore.cli.command import exit_on_error
from makemore.errors import UserError


def main(paths: list[str], top: str, output: str | None) -> None:
    """Write the mixture, and print its parts and their weights, and its NLLs."""
    from makemore.checkpoints import newest_first
    from makemore.cli.finding import models_to_mix
    from makemore.inference.mixing import mix, print_mix
    from makemore.overrides import set_threads

    set_threads(1)
    if not top.isdecimal() or int(top) < 1:
        raise UserError(f"top must be a whole number above 0, not {top!r}")
    directory = Path(output or f"logs/mixtures/{datetime.now():%Y-%m-%d_%H-%M-%S-%f}")
    if newest_first(directory):
        raise UserError(f"{directory}: holds checkpoints already; choose another output=")
    found = mix(models_to_mix(paths, int(top)))
    print_mix(found)
    print(found.write(directory))


def parsed(arguments: list[str]) -> Namespace:
    """Return the arguments of the command line."""
    keys = dict(each.split("=", 1) for each in arguments if each.startswith(("top=", "output=")))
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a checkpoint, or the directory of a run or a sweep")
    rest = [each for each in arguments if not each.startswith(("top=", "output="))]
    return Namespace(**vars(parser.parse_args(rest)), top=keys.get("top", "5"), output=keys.get("output"))


if __name__ == "__main__":
    with exit_on_error():
        main(**vars(parsed(sys.argv[1:])))
