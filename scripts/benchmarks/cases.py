"""All rows of the table in the order of measurement; those of commands and of the big file are defined here."""

from fnmatch import fnmatch

from benchmarks.auto_cases import auto_cases
from benchmarks.big_file import BigFile
from benchmarks.commands import TRAIN, command, first_step
from benchmarks.measure import Case
from benchmarks.model_cases import data_cases, model_cases
from benchmarks.sequence_cases import sequence_cases
from benchmarks.setting import FULL, Setting
from benchmarks.training_cases import bigram_cases, compiled_cases, mlp_cases
from benchmarks.vectorized_cases import vectorized_cases, vectorized_compiled_case
from benchmarks.xla_cases import xla_cases
from makemore.errors import UserError


def cases(setting: Setting, only: str = "") -> list[Case]:
    """Return the rows whose name contains `only`.

    Args:
        setting: the inputs they share.
        only: a part of a name, with the wildcards * and ?.

    Raises:
        UserError: no row matches.
    """
    rows = [*mlp_cases(setting), *bigram_cases(setting), *data_cases(setting), *model_cases(setting)]
    rows += sequence_cases(setting)
    rows += [*vectorized_cases(setting), *command_cases(setting), *big_file_cases(setting)]
    if setting.sizes.compiled:
        # last, so that the state compiling leaves in this process slows down no other row
        rows += [
            *xla_cases(setting),
            *auto_cases(setting),
            *compiled_cases(setting),
            vectorized_compiled_case(setting),
        ]
    chosen = [row for row in rows if fnmatch(row.name, f"*{only}*")]
    if not chosen:
        raise UserError(f"there is no row {only}; there are {', '.join(row.name for row in rows)}")
    return chosen


def command_cases(setting: Setting) -> list[Case]:
    """Return the rows of commands, each against importing torch, lightning and hydra."""
    repeats = setting.sizes.command_repeats
    imports = command("-c", "import torch, lightning, hydra")
    return [
        Case(
            "command-help",
            "train.py --help; importing torch, lightning and hydra",
            command(TRAIN, "--help"),
            imports,
            at_most=0.5,
            repeats=repeats,
        ),
        Case(
            "command-first-step",
            "train.py until its first step is done; importing torch, lightning and hydra",
            first_step("experiment=lessons/mlp", setting.data),
            imports,
            at_most=1.5,
            repeats=repeats,
        ),
    ]


def big_file_cases(setting: Setting) -> list[Case]:
    """Return the rows of the big file; their targets apply to the number of lines of a full benchmark."""
    big, lines = BigFile(setting), setting.sizes.lines
    full = lines >= FULL.lines
    return [
        Case(
            "file-first-load",
            f"loading {lines:,} lines, nothing cached",
            big.first_load,
            at_most=60 if full else None,
            repeats=1,
            prepare=lambda: big.path,
        ),
        Case(
            "file-second-load",
            f"loading {lines:,} lines again, in a new process",
            big.second_load,
            at_most=3 if full else None,
            repeats=min(3, setting.sizes.repeats),
            prepare=lambda: big.loaded,
        ),
        Case(
            "file-memory",
            f"most memory of a training run on {lines:,} lines, nothing cached",
            big.peak_memory,
            at_most=1.5 if full else None,
            repeats=1,
            unit="GB",
            prepare=lambda: big.path,
        ),
    ]
