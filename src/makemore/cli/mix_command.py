"""`makemore mix`: several trained models as one."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from datetime import datetime
from pathlib import Path

from makemore.cli.command import exit_on_error, split_keys
from makemore.errors import UserError

_HELP = """\
Mix trained models into one, whose probabilities are the weighted mean of theirs.

All were trained on the same text with the same splits; the weights are fitted on the validation split. The mixture is
written to a directory that evaluate, score, sample and report take like that of a run."""
_EXAMPLES = """\
keys:
  top=5        of a sweep, how many of its best jobs are taken
  output=DIR   for the mixture; by default logs/mixtures/TIME

examples:
  makemore mix logs/train/runs/first logs/train/runs/second
  makemore mix logs/train/runs/first/checkpoints/best-* logs/train/runs/second
  makemore mix logs/sweep_seeds/multiruns/*              the five best jobs of sweeps
  makemore mix logs/sweep_seeds/multiruns/* top=3 output=three
  makemore mix logs/train/runs/first logs/sweep_seeds/multiruns/*    a run, and the best jobs of sweeps

From a checkout, python scripts/mix.py is the same command. The rest is in the README, under Mixtures."""


def main() -> None:
    """Write the mixture, and print its parts and their weights, and its NLLs, as the command line says."""
    with exit_on_error():
        _mix(**vars(_parsed(sys.argv[1:])))


def _mix(paths: list[str], top: str, output: str | None) -> None:
    from makemore.checkpoints import newest_first
    from makemore.cli.finding import load_models
    from makemore.inference.mixing import mix, print_mix
    from makemore.overrides import set_threads
    from makemore.runs.own_models import import_own_models

    set_threads(1)
    import_own_models()
    if not top.isdecimal() or int(top) < 1:
        raise UserError(f"top must be a whole number above 0, not {top!r}")
    directory = Path(output or f"logs/mixtures/{datetime.now():%Y-%m-%d_%H-%M-%S-%f}")
    if newest_first(directory):
        raise UserError(f"{directory}: holds checkpoints already; choose another output=")
    found = mix(load_models(paths, int(top)))
    print_mix(found)
    print(found.write(directory))


def _parsed(arguments: list[str]) -> Namespace:
    keys, rest = split_keys(arguments, ("top", "output"))
    parser = ArgumentParser(description=_HELP, epilog=_EXAMPLES, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a checkpoint, or the directory of a run or a sweep")
    return Namespace(**vars(parser.parse_args(rest)), top=keys.get("top", "5"), output=keys.get("output"))
