"""The rows of `compile=xla`, against the lessons' loops, plain PyTorch and plain JAX; they need the extra `xla`."""

import os
from functools import cache
from typing import Any

from benchmarks.baselines import adamw_loop, mlp_parameters
from benchmarks.measure import Case, Measurement, timed
from benchmarks.runs import later_steps, whole_run
from benchmarks.setting import Setting
from benchmarks.training_cases import first_block_cases, lesson_steps, mlp_overrides
from benchmarks.vectorized_cases import RATES, command_cases, step_case

_XLA = "compile=xla"


def xla_cases(setting: Setting) -> list[Case]:
    """Return the rows of single runs, of their first blocks, and of many at once."""
    overrides = [*mlp_overrides(setting), _XLA]
    first_blocks = first_block_cases(setting, "xla", overrides, "JAX_COMPILATION_CACHE_DIR", 3, 4.0)
    return [*_run_cases(setting), *first_blocks, *_member_cases(setting)]


def _run_cases(setting: Setting) -> list[Case]:
    sizes = setting.sizes
    overrides, (lesson, _) = [*mlp_overrides(setting), _XLA], lesson_steps(setting)
    steps = f"{sizes.large_steps:,} steps"
    large = [setting.data, "model=mlp", f"trainer.max_steps={sizes.large_steps}", _XLA]

    def plain_torch() -> object:
        parameters = mlp_parameters(setting.corpus.vocabulary.size, 4, 16, 200)
        return adamw_loop(parameters, *setting.longer_examples, sizes.large_steps, 128)

    def plain_jax() -> object:
        from benchmarks.jax_baselines import mlp_scan

        return mlp_scan(*_arrays(setting), steps=sizes.steps)

    def case(name: str, work: str, ours: Measurement, baseline: Measurement, at_most: float) -> Case:
        return Case(name, work, ours, baseline, at_most, sizes.repeats, "s/step", lambda: _prepare(setting))

    after = "MLP, SGD, compile=xla, a step after the first block"
    return [
        case(
            "xla",
            f"MLP, SGD, compile=xla, whole run of {sizes.steps:,} steps with compiling; the lesson's loop",
            whole_run(overrides, sizes.steps),
            lesson,
            0.25,
        ),
        case("xla-step", f"{after}; the lesson's loop", later_steps(overrides), lesson, 0.15),
        case("xla-step-jax", f"{after}; plain JAX", later_steps(overrides), timed(plain_jax, sizes.steps), 1.3),
        case(
            "xla-large",
            f"model=mlp, AdamW, batches of 128, compile=xla, whole run of {steps} with compiling; plain PyTorch",
            whole_run(large, sizes.large_steps),
            timed(plain_torch, sizes.large_steps),
            0.45,
        ),
    ]


def _member_cases(setting: Setting) -> list[Case]:
    sizes = setting.sizes

    def plain_jax() -> object:
        from benchmarks.jax_baselines import members_scan

        rates = [RATES[member % len(RATES)] for member in range(sizes.members)]
        return members_scan(*_arrays(setting), rates=rates, steps=sizes.member_steps)

    def case(name: str, other: str, baseline: Measurement, at_most: float) -> Case:
        how = f", {_XLA}"
        return step_case(setting, name, how, at_most, [_XLA], other, baseline, lambda: _prepare(setting))

    lesson, _ = lesson_steps(setting)
    return [
        case("vectorized-xla", "the lesson's loop", lesson, 0.11),
        case("vectorized-xla-jax", "plain JAX", timed(plain_jax, sizes.member_steps * sizes.members), 1.3),
        *command_cases(setting, "vectorized-xla", 0.1, 0.012, _XLA),
    ]


def prepare_jax(setting: Setting) -> None:
    """Let a run compile its program each time, on one thread, and do the imports."""
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    os.environ["PJRT_NPROC"] = "1"
    whole_run([*mlp_overrides(setting), _XLA, "trainer.max_steps=10"])()


def _prepare(setting: Setting) -> None:
    prepare_jax(setting)
    from benchmarks.jax_baselines import members_scan, mlp_scan

    # the calls that compile plain JAX
    sizes = setting.sizes
    mlp_scan(*_arrays(setting), steps=min(250, sizes.steps))
    members_scan(*_arrays(setting), rates=[0.1] * sizes.members, steps=min(250, sizes.member_steps))


@cache
def _arrays(setting: Setting) -> tuple[list[Any], Any, Any]:
    import jax.numpy as jnp

    contexts, targets = (jnp.asarray(tensor.numpy()) for tensor in setting.examples)
    return [jnp.asarray(p.detach().numpy()) for p in setting.initial()], contexts, targets
