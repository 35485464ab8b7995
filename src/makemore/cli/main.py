"""The `makemore` command: hand its arguments to the command that the first of them names.

What there is, and what is wrong with a name, is said without heavy imports.
"""

import difflib
import os
import sys
from importlib import import_module
from importlib.metadata import version

COMMANDS = {
    "train": "train a model on a text; with -m a sweep of models",
    "evaluate": "exact NLL of a trained model, on its own splits or on another text",
    "score": "probability of each character of given words",
    "sample": "new items, one a line",
    "report": "tables, charts and pictures of runs and sweeps, as one HTML file",
    "mix": "several trained models as one",
    "export": "a trained model as files for others: safetensors, ONNX, a model card",
    "playground": "a page that answers what is typed",
}
# those with overrides, which Hydra's shell completion knows
HYDRA_COMMANDS = ("train", "evaluate", "score", "sample")


def main() -> None:
    """Run the command that the arguments name; without one, say which there are."""
    name, *rest = sys.argv[1:] or ["--help"]
    # messages and errors name the command as it was typed
    program = f"makemore {name}"
    if name in ("-sc", "--shell-completion"):
        # a shell completes after the first word alone
        name, rest, program = _to_complete(), sys.argv[1:], "makemore"
        if not name:
            return
    if name in ("-h", "--help"):
        print(_usage())
    elif name == "--version":
        print(f"makemore-lightning {version('makemore-lightning')}")
    elif name in COMMANDS:
        sys.argv = [program, *rest]
        import_module(f"makemore.cli.{name}_command").main()
    else:
        print("error:", _unknown(name), file=sys.stderr)
        raise SystemExit(2)


def _usage() -> str:
    lines = [f"  {name:12}{what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "Train, compare and sample small character-level language models.",
            *("", "usage: makemore COMMAND ...", "", *lines, ""),
            "makemore COMMAND --help has examples and keys. To begin with: makemore train",
        ]
    )


def _unknown(name: str) -> str:
    if name.startswith("-") or "=" in name:
        return f"{name} comes after a command, as in makemore train {name}; makemore --help lists the commands"
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
    return f"there is no command {name}; {mend}"


def _to_complete() -> str:
    """Return the command whose overrides a shell wants to complete, and take its name out of COMP_LINE.

    A command's name itself is completed here; then, and where there is nothing to complete, the answer is "".
    """
    line = os.environ.get("COMP_LINE")
    if line is None:
        # to install it, any of them serves
        return HYDRA_COMMANDS[0]
    program, _, typed = line.lstrip().partition(" ")
    name, space, overrides = typed.lstrip().partition(" ")
    if not space:
        print(*(command for command in COMMANDS if command.startswith(name)), sep="\n")
    if not space or name not in HYDRA_COMMANDS:
        return ""
    os.environ["COMP_LINE"] = f"{program} {overrides}"
    return name
