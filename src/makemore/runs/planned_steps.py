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
# the number of intervals of a run, where these are left to its steps
_INTERVALS = {"val_every": 15, "log_every": 30}


def planned(cfg: DictConfig, lines: float) -> DictConfig:
    """Return a config with numbers where conf/train.yaml, composed, has `auto`; raise `UserError` for other words.

    `lines` is the number of lines that are trained on. `trainer.max_steps` follows its root, and `val_every` and
    `log_every` are shares of `trainer.max_steps`.
    """
    if cfg.trainer.max_steps != AUTO and not shares_of_steps(cfg):
        return cfg
    found = cfg.copy()
    with open_dict(found):
        if found.trainer.max_steps == AUTO:
            found.trainer.max_steps = max(_UNIT, round(_STEPS_BY_ROOT * math.sqrt(lines) / _UNIT) * _UNIT)
        steps = whole_number("trainer.max_steps", found.trainer.max_steps, at_least=1)
        for key in shares_of_steps(cfg):
            found[key] = max(1, steps // _INTERVALS[key])
    return found


def shares_of_steps(cfg: DictConfig) -> list[str]:
    """Return the keys of a config that are shares of its steps."""
    return [key for key in _INTERVALS if cfg[key] == AUTO]
