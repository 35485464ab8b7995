"""`makemore export`: a trained model as files that others can use."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from importlib.util import find_spec
from pathlib import Path

from makemore.cli.command import exit_on_error, split_keys
from makemore.errors import UserError

_HELP = """\
Export a trained model as files that others can use.

The directory has the tensors as safetensors with a JSON of the architecture, the vocabulary and the options, which
makemore.load, evaluate, score and sample take like a checkpoint; the model as ONNX, compared with the checkpoint by
onnxruntime on 1,000 contexts; a model card in the form that model hubs take; of a bigram also its table as CSV."""
_EXAMPLES = """\
keys:
  output=DIR     for the export; one of the same run is replaced, anything else is left alone
  which=null     of a run: null is what it hands on (its result=), best the lowest validation NLL, last the newest
  license=ID     of the text, as model hubs name it, for the card

examples:
  makemore export logs/train/runs/first output=first
  makemore export latest output=newest                          the newest run below logs/
  makemore export logs/sweep_lr/multiruns/first output=best     the best job of a sweep
  makemore export logs/train/runs/first which=last output=last license=cc0-1.0
  makemore export logs/train/runs/first/mixture output=mixture  with Kneser-Ney

From a checkout, python scripts/export.py is the same command. The rest is in docs/export.md."""
# what the extra brings
_PACKAGES = ("safetensors", "onnx", "onnxscript", "onnxruntime")


def main() -> None:
    """Write the export, and print its files with their sizes, as the command line says."""
    with exit_on_error():
        _export(_parsed(sys.argv[1:]))


def _export(arguments: Namespace) -> None:
    from makemore.cli.finding import find_checkpoint
    from makemore.overrides import install, set_threads
    from makemore.runs.own_models import import_own_models

    if arguments.output is None:
        raise UserError("output=DIR must be given, the directory to write")
    if missing := [package for package in _PACKAGES if find_spec(package) is None]:
        raise UserError(f"export needs the package {missing[0]}: {install('export')}")
    from makemore.export.write_export import print_export, write_export

    set_threads(1)
    import_own_models()
    output = Path(arguments.output).expanduser()
    print_export(write_export(find_checkpoint(arguments.path, arguments.which), output, arguments.license))
    print(output)


def _parsed(arguments: list[str]) -> Namespace:
    keys: dict[str, str | None] = {"which": None, "output": None, "license": None}
    given, rest = split_keys(arguments, keys)
    keys |= {key: None if value == "null" else value for key, value in given.items()}
    parser = ArgumentParser(description=_HELP, epilog=_EXAMPLES, formatter_class=RawDescriptionHelpFormatter)
    what = "a checkpoint, or the directory of a run or a sweep, or latest; ckpt_path=PATH is the same"
    parser.add_argument("path", metavar="PATH", help=what)
    return Namespace(**keys, **vars(parser.parse_args([each.removeprefix("ckpt_path=") for each in rest])))
