"""The rows of `compile=auto`, by model, against `compile=false`; they need the extra `xla`."""

from benchmarks.measure import Case
from benchmarks.runs import whole_run
from benchmarks.setting import Setting
from benchmarks.xla_cases import prepare_jax

# by model: steps for which XLA is chosen over windows, and some for lines, for which nothing is compiled
_STEPS = {
    **dict.fromkeys(("bigram", "mlp", "wavenet"), 10_000),
    **dict.fromkeys(("bow", "gru", "lstm", "rnn", "transformer"), 200),
}


def auto_cases(setting: Setting) -> list[Case]:
    """Return the rows of whole runs of the models that are trained step by step."""
    return [_case(setting, model, steps) for model, steps in _STEPS.items()]


def _case(setting: Setting, model: str, steps: int) -> Case:
    run = [setting.data, f"model={model}", f"trainer.max_steps={steps}", "patience=null"]
    ours, baseline = (whole_run([*run, f"compile={how}"], steps) for how in ("auto", "false"))
    work = f"model={model}, whole run of {steps:,} steps, compile=auto; compile=false"
    repeats = min(3, setting.sizes.repeats)
    return Case(f"auto-{model}", work, ours, baseline, 1.02, repeats, "s/step", lambda: prepare_jax(setting))
