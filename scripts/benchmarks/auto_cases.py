"""The rows of `compile=auto`, by model, against `compile=false`; they need the extra `xla`."""

import os
from functools import partial

from benchmarks.measure import Case
from benchmarks.runs import whole_run
from benchmarks.setting import Setting

# so many that XLA is chosen, and enough of those that nothing compiles
_STEPS = {"windows": 10_000, "lines": 200}
_MODELS = {
    **dict.fromkeys(("bigram", "bow", "mlp", "wavenet"), "windows"),
    **dict.fromkeys(("gru", "lstm", "rnn", "transformer"), "lines"),
}


def auto_cases(setting: Setting) -> list[Case]:
    """Return the rows of whole runs of the models that are trained step by step."""
    return [_case(setting, model, _STEPS[reads]) for model, reads in _MODELS.items()]


def _case(setting: Setting, model: str, steps: int) -> Case:
    run = [setting.data, f"model={model}", f"trainer.max_steps={steps}", "patience=null"]
    ours, baseline = (whole_run([*run, f"compile={how}"], steps) for how in ("auto", "false"))
    work = f"model={model}, whole run of {steps:,} steps, compile=auto; compile=false"
    # a run compiles its program each time
    prepare = partial(os.environ.__setitem__, "JAX_ENABLE_COMPILATION_CACHE", "false")
    return Case(f"auto-{model}", work, ours, baseline, 1.02, 3, "s/step", prepare)
