"""Make the object that a config group describes."""

from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf.errors import OmegaConfBaseException

from makemore.errors import UserError, first_line
from makemore.system.hydra_release import INSTANTIATE_ARGUMENTS


def instantiate(config: Any, key: str, **arguments: Any) -> Any:
    """Instantiate a config group; an error of its target becomes a `UserError`."""
    try:
        return hydra.utils.instantiate(config, **arguments, **INSTANTIATE_ARGUMENTS, _convert_="all")
    except OmegaConfBaseException:
        # of a reference, which names its key
        raise
    except Exception as error:
        # Hydra 1.3 wraps what a target raises; 1.4, and `_partial_` that is neither true nor false, do not
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        if isinstance(cause, UserError):
            raise cause from None
        raise UserError(f"{key}: {first_line(cause)}") from error
