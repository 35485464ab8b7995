"""LightningModules from checkpoints: those of a run, and those that a Trainer of one's own has written."""

import re
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from makemore.checkpoints import RECORD_KEY, find, naming_damage, read
from makemore.errors import UserError, first_line

_M = TypeVar("_M")
_HPARAMS = "hyper_parameters"


def load_module(cls: type[_M], path: str | Path, strict: bool = True, **arguments: Any) -> _M:
    """Make a LightningModule with the weights of a checkpoint; `arguments` replace those that it has.

    A checkpoint of a run has the network and the vocabulary; one of a Trainer of one's own has all hyperparameters. An
    average of the weights that is loaded into a module without one becomes its weights, as it is what is evaluated.

    Raises:
        UserError: no such checkpoint, one that is damaged or not ours, or arguments that do not suit it.
    """
    path = find(path)
    checkpoint = read(path)
    with naming_damage(path):
        record = checkpoint[RECORD_KEY]
        model = record["model"]
        kept = {"architecture": model["architecture"], "vocabulary": record["vocabulary"]} | model["arguments"]
        state: dict[str, Tensor] = dict(checkpoint["state_dict"])
    module: Any = cls(**(kept | checkpoint.get(_HPARAMS, {}) | arguments))
    if not hasattr(module, "average") and any(name.startswith("average.") for name in state):
        own = {name: tensor for name, tensor in state.items() if not name.startswith("network.")}
        state = {re.sub("^average[.]", "network.", name): tensor for name, tensor in own.items()}
    try:
        module.load_state_dict(state, strict=strict)
    except RuntimeError as error:
        raise UserError(f"{path}: has weights of another shape or name: {first_line(error)}") from error
    made: _M = module
    return made
