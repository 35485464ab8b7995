"""The rows of training against the lessons' loops: the MLP, eager and compiled, and the neural bigram."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.baselines import adamw_loop, bigram_loop, mlp_loop
from benchmarks.commands import ticks_of
from benchmarks.measure import Case, Measurement, timed
from benchmarks.runs import fit_alone, later_steps, unseen_work, whole_run
from benchmarks.setting import Setting
from benchmarks.step_clock import first_block
from benchmarks.stock import fit_stock

_ADAMW = ("optimizer=adamw", "optimizer.lr=0.003")


def mlp_cases(setting: Setting) -> list[Case]:
    """Return the rows of whole runs of the MLP: against the lesson's loop, SGD and AdamW, and stock Lightning."""
    sizes = setting.sizes

    def prepare() -> None:
        assert setting.examples
        # imports and caches of the process are not part of a run
        whole_run([*mlp_overrides(setting), "trainer.max_steps=10"])()

    def case(name: str, work: str, overrides: Sequence[str], baseline: Measurement, at_most: float) -> Case:
        ours = whole_run([*mlp_overrides(setting), *overrides], sizes.steps)
        return Case(name, work, ours, baseline, at_most, sizes.repeats, "s/step", prepare)

    def stock(directory: Path) -> object:
        return fit_stock(setting.initial(), *setting.examples, sizes.stock_steps, directory)

    sgd, adamw = lesson_steps(setting)
    work = f"MLP, SGD, whole run of {sizes.steps:,} steps"
    return [
        case("mlp", f"{work}; the lesson's loop", (), sgd, 1.0),
        case("mlp-adamw", f"{work.replace('SGD', 'AdamW')}; the lesson's loop with AdamW", _ADAMW, adamw, 1.0),
        case(
            "mlp-stock",
            f"{work}; stock Lightning, {sizes.stock_steps:,} steps",
            (),
            unseen_work(stock, sizes.stock_steps),
            0.2,
        ),
        case(
            "mlp-watched",
            f"{work}, all in TensorBoard; with watch=none",
            (),
            whole_run([*mlp_overrides(setting), "watch=none"], sizes.steps),
            1.05,
        ),
    ]


def compiled_cases(setting: Setting) -> list[Case]:
    """Return the rows of compiled runs of the MLP: the steps after the first block, and the first block."""
    repeats, overrides = setting.sizes.repeats, [*mlp_overrides(setting), "compile=true"]

    def case(name: str, optimizer: str, ours: Sequence[str], baseline: Measurement) -> Case:
        work = f"MLP, {optimizer}, compiled, a step after the first block; the lesson's loop"
        return Case(name, work, later_steps(ours), baseline, 0.35, repeats, "s/step", lambda: setting.examples)

    sgd, adamw = lesson_steps(setting)
    return [
        case("compiled", "SGD", overrides, sgd),
        case("compiled-adamw", "AdamW", [*overrides, *_ADAMW], adamw),
        *first_block_cases(setting, "compiled", overrides, "TORCHINDUCTOR_CACHE_DIR", cold_repeats=1),
    ]


def first_block_cases(
    setting: Setting,
    name: str,
    overrides: Sequence[str],
    cache_variable: str,
    cold_repeats: int,
    cold_target: float | None = None,
) -> list[Case]:
    """Return the rows of the first compiled block, with nothing in the directory that a variable names, and cached."""
    kept, repeats = setting.directory / name, min(3, setting.sizes.repeats)

    def seconds(directory: Path) -> float:
        _, ticks = ticks_of([*overrides, "trainer.max_steps=250"], {cache_variable: str(directory)})
        return first_block(ticks)

    def cold() -> float:
        return seconds(Path(tempfile.mkdtemp(dir=setting.directory)))

    def cached() -> float:
        return seconds(kept)

    work = f"the first block of 250 steps, {overrides[-1]}"
    return [
        Case(f"{name}-cold", f"{work}, nothing cached", cold, None, cold_target, min(cold_repeats, repeats)),
        Case(f"{name}-cached", f"{work}, cached", cached, repeats=repeats, prepare=cached),
    ]


def bigram_cases(setting: Setting) -> list[Case]:
    """Return the rows of the neural bigram, 100 full-batch steps."""
    sizes, steps = setting.sizes, 100
    overrides = ["experiment=lessons/bigram", setting.data, f"trainer.max_steps={steps}"]

    def loop() -> object:
        return bigram_loop(*setting.pairs, setting.corpus.vocabulary.size, sizes.bigram_steps)

    def prepare() -> None:
        assert setting.pairs
        whole_run(overrides)()

    def case(name: str, what: str, ours: Measurement, at_most: float | None) -> Case:
        work = f"neural bigram, {what} of {steps} full-batch steps; the lesson's loop, {sizes.bigram_steps} steps"
        baseline = timed(loop, sizes.bigram_steps)
        return Case(name, work, ours, baseline, at_most, min(3, sizes.repeats), "s/step", prepare)

    return [
        case("bigram", "Trainer.fit", fit_alone(overrides, steps), 0.01),
        case("bigram-run", "whole run", whole_run(overrides, steps), None),
    ]


def mlp_overrides(setting: Setting) -> list[str]:
    """Return the overrides of a run of the lessons' MLP."""
    return ["experiment=lessons/mlp", setting.data, f"trainer.max_steps={setting.sizes.steps}"]


def lesson_steps(setting: Setting) -> tuple[Measurement, Measurement]:
    """Measure a step of the lesson's loop with SGD, and with AdamW."""
    steps = setting.sizes.steps
    return (
        timed(lambda: mlp_loop(setting.initial(), *setting.examples, steps), steps),
        timed(lambda: adamw_loop(setting.initial(), *setting.examples, steps), steps),
    )
