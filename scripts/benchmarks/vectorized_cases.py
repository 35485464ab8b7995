"""The rows of the vectorised launcher: the cost of each of many configurations trained at once."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from omegaconf import DictConfig, OmegaConf

from benchmarks import stock
from benchmarks.commands import TRAIN, command
from benchmarks.measure import Case, Measurement
from benchmarks.runs import composed, unseen_terminal
from benchmarks.setting import FULL, Setting
from benchmarks.step_clock import Tick, after_first_block
from benchmarks.training_cases import lesson_steps
from makemore.runs.assemble import assemble
from makemore.runs.train import open_run
from makemore.sweeps.vectorized.group import Group
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.memory import keep_freed_memory
from makemore.sweeps.vectorized.train_group import train_group

# The lesson's learning rate and those around it, each with the same number of seeds.
RATES = (0.03, 0.1, 0.3, 1)


def vectorized_cases(setting: Setting) -> list[Case]:
    """Return the rows of whole commands, a configuration, and of steps on one thread, a member."""
    commands = [*command_cases(setting, "vectorized", 0.2, 0.06), _halving_case(setting)]
    return [_lesson_case(setting, "vectorized", "", 0.3, []), *commands]


def command_cases(setting: Setting, name: str, at_most: float, stock_at_most: float, *overrides: str) -> list[Case]:
    """Return the rows of the whole command of the vectorised launcher: by the basic one, and by stock Lightning."""
    sizes = setting.sizes
    steps, repeats = sizes.member_steps, min(3, sizes.command_repeats)
    full = sizes.members >= FULL.members and steps >= FULL.member_steps
    examples = setting.directory / "examples.pt"

    def prepare_stock() -> None:
        torch.save([setting.initial(), *setting.examples], examples)

    def case(name: str, other: str, baseline: Measurement, at_most: float, prepare: Callable[[], object]) -> Case:
        how = " ".join(["hydra/launcher=vectorized", *overrides])
        work = f"{sizes.members} configurations of the MLP, {steps:,} steps, by {how}, all cores"
        work = f"{work}: the command, a configuration; {other}"
        ours = _sweep(setting, "hydra/launcher=vectorized", *overrides)
        target = at_most if full else None
        return Case(name, work, ours, baseline, target, repeats, "s/run", prepare)

    alone = command("-m", stock.__name__, str(examples), str(steps))
    of_stock = "stock Lightning, a process each, one core"
    return [
        case(f"{name}-command", "by the basic launcher, one core", _sweep(setting), at_most, lambda: None),
        case(f"{name}-command-stock", of_stock, alone, stock_at_most, prepare_stock),
    ]


def _halving_case(setting: Setting) -> Case:
    """Return the row of the same command with halving at a sixteenth and a quarter of the steps; by all to the end."""
    sizes = setting.sizes
    first = sizes.member_steps // 16
    given = ("hydra/launcher=vectorized", f"val_every={first}", "patience=null")
    work = f"{sizes.members} configurations of the MLP, {sizes.member_steps:,} steps, halved twice, all cores"
    work = f"{work}: the command, a configuration; all to the end"
    ours = _sweep(setting, *given, f"hydra.launcher.halving.first={first}")
    repeats = min(3, sizes.command_repeats)
    return Case("vectorized-halving", work, ours, _sweep(setting, *given), repeats=repeats, unit="s/run")


def vectorized_compiled_case(setting: Setting) -> Case:
    """Return the row of compiled steps."""
    return _lesson_case(setting, "vectorized-compiled", ", compiled", 0.2, ["compile=true"])


def _lesson_case(setting: Setting, name: str, how: str, at_most: float, overrides: Sequence[str]) -> Case:
    lesson, _ = lesson_steps(setting)
    return step_case(setting, name, how, at_most, overrides, "the lesson's loop", lesson, lambda: setting.examples)


def step_case(
    setting: Setting,
    name: str,
    how: str,
    at_most: float,
    overrides: Sequence[str],
    other: str,
    baseline: Measurement,
    prepare: Callable[[], object],
) -> Case:
    """Return the row of the steps of a group on one thread, a member, against some other steps."""
    sizes = setting.sizes
    work = f"{sizes.members} MLPs at once, SGD{how}, one thread, a step a member after the first block; {other}"
    ours = member_steps([*member_overrides(setting), *overrides], sizes.members)
    # small groups gain less
    target = at_most if sizes.members >= FULL.members else None
    return Case(name, work, ours, baseline, target, sizes.repeats, "s/step", prepare)


def member_overrides(setting: Setting) -> list[str]:
    """Return the overrides of a member's run of the lessons' MLP."""
    steps = setting.sizes.member_steps
    block = f"steps_per_execution={min(250, steps // 2)}"
    return ["experiment=lessons/mlp", setting.data, f"trainer.max_steps={steps}", block]


def _sweep(setting: Setting, *overrides: str) -> Measurement:
    """Measure the command that trains all configurations, in seconds a configuration."""
    members, steps = setting.sizes.members, setting.sizes.member_steps
    swept = [f"optimizer.lr={','.join(map(str, RATES))}", f"seed=range({members // len(RATES)})"]
    whole = command(TRAIN, "-m", "sweep=lr", setting.data, f"trainer.max_steps={steps}", *swept, *overrides)
    return lambda: whole() / members


def member_steps(overrides: Sequence[str], members: int) -> Measurement:
    """Measure a group from the end of its first block to the end of its last, in seconds a step a member.

    Drawing the rows and logging are included, starting and ending the run are not. It uses this process's threads.
    """

    def seconds() -> float:
        keep_freed_memory()
        cfg = composed(overrides)
        with tempfile.TemporaryDirectory() as directory, unseen_terminal(), _block_ends() as ends:
            group: list[Member] = []
            for place, each in enumerate(_configurations(cfg, members)):
                parts = assemble(each, Path(directory, str(place)), group[0].parts if group else None)
                group.append(Member(parts, place, *open_run(parts)))
            train_group(group)
        _, ended = ends[-1]
        return after_first_block(ends, ended) / members

    return seconds


def _configurations(cfg: DictConfig, members: int) -> Iterator[DictConfig]:
    for number in range(members):
        configuration = cfg.copy()
        configuration.seed = number // len(RATES)
        OmegaConf.update(configuration, "optimizer.lr", RATES[number % len(RATES)])
        yield configuration


@contextmanager
def _block_ends() -> Iterator[list[Tick]]:
    """Record when the blocks of a group trained within the `with` statement end, and their start."""
    ends: list[Tick] = [(0, time.time())]
    training_step = Group.training_step

    def noted(group: Group, *arguments: Any) -> dict[str, Any]:
        outputs = training_step(group, *arguments)
        ends.append((group.trainer.global_step, time.time()))
        return outputs

    with patch.object(Group, "training_step", noted):
        yield ends
