"""The numbers of steps that a config leaves to the size of its text, by the value `auto`."""

import math

from omegaconf import DictConfig, open_dict

from makemore.errors import whole_number

AUTO = "auto"

# The steps after which an LSTM has learnt what it can, or overfits, grow about as the root of the lines (see
# docs/own_text.md): 1,500 for the 25,800 lines that data/names.txt has for training.
_STEPS_BY_ROOT = 1500 / math.sqrt(25_800)
# steps in multiples of it, and at the least
_UNIT = 50
# of a run, where val_every and log_every are left to its steps
_VALIDATIONS = 15
_ROWS = 30


def planned(cfg: DictConfig, lines: float) -> DictConfig:
    """Return a config with numbers where conf/train.yaml, composed, has `auto`; raise `UserError` for other words.

    `lines` is the number of lines that are trained on. `trainer.max_steps` follows its root, and `val_every` and
    `log_every` are shares of `trainer.max_steps`.
    """
    keys = (cfg.trainer, "max_steps"), (cfg, "val_every"), (cfg, "log_every")
    if not any(group[key] == AUTO for group, key in keys):
        return cfg
    found = cfg.copy()
    with open_dict(found):
        if found.trainer.max_steps == AUTO:
            found.trainer.max_steps = max(_UNIT, round(_STEPS_BY_ROOT * math.sqrt(lines) / _UNIT) * _UNIT)
        steps = whole_number("trainer.max_steps", found.trainer.max_steps, at_least=1)
        for key, parts in (("val_every", _VALIDATIONS), ("log_every", _ROWS)):
            if found[key] == AUTO:
                found[key] = max(1, steps // parts)
    return found
