"""The numbers that a config leaves to its text, by the value `auto`: steps, units, dropout, rate, decay."""

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
_PLANNED = (
    *("model.dropout", "model.hidden_dim", "optimizer.lr", "optimizer.weight_decay", "trainer.max_steps"),
    *_INTERVALS,
)
# units a layer, and those for at least so many times the tokens of the names
_UNITS, _MORE_UNITS, _MORE_TOKENS = 128, 256, 1.5
# tenths of the numbers dropped, at the most
_MOST_TENTHS = 4
# the learning rates for data/names.txt, by architecture, which fall to half of it on short texts
_RATES = {"gru": 0.008, "lstm": 0.01}
# the optimiser whose weight decay grows on short texts, and its weight decay for data/names.txt
_DECAYS, _DECAY = "torch.optim.AdamW", 0.01


def planned(cfg: DictConfig, tokens: int) -> DictConfig:
    """Return a config with numbers where conf/train.yaml, composed, has `auto`; raise `UserError` for other words.

    `tokens` is the number of tokens that are trained on, which `trainer.max_steps`, `model.hidden_dim`,
    `model.dropout`, AdamW's `optimizer.weight_decay` and, for an LSTM or a GRU, `optimizer.lr` follow; another
    optimiser keeps its own decay. `val_every` and `log_every` are shares of `trainer.max_steps`.
    """
    left = [key for key in _PLANNED if OmegaConf.select(cfg, key) == AUTO]
    if not left:
        return cfg
    found = cfg.copy()
    with open_dict(found):
        if "model.hidden_dim" in left:
            found.model.hidden_dim = units_for(tokens)
        if "model.dropout" in left:
            found.model.dropout = dropout_for(tokens)
        if "optimizer.lr" in left and cfg.model.get("architecture") in _RATES:
            found.optimizer.lr = rate_for(cfg.model.architecture, tokens)
        if "optimizer.weight_decay" in left:
            decay = decay_for(cfg.optimizer._target_, tokens)
            if decay is None:
                del found.optimizer.weight_decay
            else:
                found.optimizer.weight_decay = decay
        if "trainer.max_steps" in left:
            found.trainer.max_steps = steps_for(tokens)
        steps = whole_number("trainer.max_steps", found.trainer.max_steps, at_least=1)
        for key in shares_of_steps(cfg):
            found[key] = max(1, steps // _INTERVALS[key])
    return found


def steps_for(tokens: int) -> int:
    """Return the steps for so many tokens: as their cube root for fewer than the names have, as the root for more."""
    share = tokens / _TOKENS
    return max(_UNIT, round(_STEPS * max(math.cbrt(share), math.sqrt(share)) / _UNIT) * _UNIT)


def units_for(tokens: int) -> int:
    """Return the units of a layer: 128, and 256 for a text of half as many tokens again as the names have, or more."""
    return _MORE_UNITS if tokens >= _MORE_TOKENS * _TOKENS else _UNITS


def dropout_for(tokens: int) -> float:
    """Return the probability to drop a number: a tenth for each time that a text is half as long as the names."""
    return round(_halvings(tokens, 0, _MOST_TENTHS)) / 10


def rate_for(architecture: str, tokens: int) -> float:
    """Return the learning rate: that for the names, falling to half of it from an eighth of their tokens to a 16th."""
    return float(f"{_RATES[architecture] * 2 ** -_halvings(tokens, 3, 4):.2g}")


def decay_for(optimizer: str, tokens: int) -> float | None:
    """Return AdamW's weight decay: 0.01 for the names, growing to 1 from a 16th of their tokens to a 64th.

    None is another optimiser's own.
    """
    return float(f"{_DECAY * 10 ** _halvings(tokens, 4, 6):.2g}") if optimizer == _DECAYS else None


def _halvings(tokens: int, first: int, last: int) -> float:
    """Return how often a text is half as long as the names, from the first on and up to the last."""
    return min(max(math.log2(_TOKENS / tokens), first), last) - first


def shares_of_steps(cfg: DictConfig) -> list[str]:
    """Return the keys of a config that are shares of its steps."""
    return [key for key in _INTERVALS if cfg[key] == AUTO]
