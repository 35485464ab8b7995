"""The numbers that a config leaves to the size of its text, by the value `auto`: the steps of a run, and dropout."""

import math

from omegaconf import DictConfig, OmegaConf, open_dict

from makemore.errors import whole_number

AUTO = "auto"

# the steps that suit an LSTM on data/names.txt, and the tokens that this has for training; see docs/own_text.md
_STEPS, _TOKENS = 1500, 183_900
# steps in multiples of it, and at the least
_UNIT = 50
# the number of intervals of a run, where these are left to its steps
_INTERVALS = {"val_every": 15, "log_every": 30}
# tenths of the numbers dropped, at the most
_MOST_TENTHS = 4


def planned(cfg: DictConfig, tokens: int) -> DictConfig:
    """Return a config with numbers where conf/train.yaml, composed, has `auto`; raise `UserError` for other words.

    `tokens` is the number of tokens that are trained on, which `trainer.max_steps` and `model.dropout` follow;
    `val_every` and `log_every` are shares of `trainer.max_steps`.
    """
    has_dropout_to_plan = OmegaConf.select(cfg, "model.dropout") == AUTO
    if cfg.trainer.max_steps != AUTO and not shares_of_steps(cfg) and not has_dropout_to_plan:
        return cfg
    found = cfg.copy()
    with open_dict(found):
        if has_dropout_to_plan:
            found.model.dropout = dropout_for(tokens)
        if found.trainer.max_steps == AUTO:
            found.trainer.max_steps = steps_for(tokens)
        steps = whole_number("trainer.max_steps", found.trainer.max_steps, at_least=1)
        for key in shares_of_steps(cfg):
            found[key] = max(1, steps // _INTERVALS[key])
    return found


def steps_for(tokens: int) -> int:
    """Return the steps for so many tokens: as their cube root for fewer than the names have, as the root for more."""
    share = tokens / _TOKENS
    return max(_UNIT, round(_STEPS * max(math.cbrt(share), math.sqrt(share)) / _UNIT) * _UNIT)


def dropout_for(tokens: int) -> float:
    """Return the probability to drop a number: a tenth for each time that a text is half as long as the names."""
    halvings = round(math.log2(_TOKENS / tokens))
    return min(max(halvings, 0), _MOST_TENTHS) / 10


def shares_of_steps(cfg: DictConfig) -> list[str]:
    """Return the keys of a config that are shares of its steps."""
    return [key for key in _INTERVALS if cfg[key] == AUTO]
