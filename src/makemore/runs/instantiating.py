"""Make the object that a config group describes."""

from typing import Any

import hydra
from hydra.errors import InstantiationException

from makemore.errors import UserError, first_line
from makemore.system.hydra_release import INSTANTIATE_ARGUMENTS


def instantiate(config: Any, key: str, **arguments: Any) -> Any:
    """Instantiate a config group; an error of its target becomes a `UserError`."""
    try:
        return hydra.utils.instantiate(config, **arguments, **INSTANTIATE_ARGUMENTS, _convert_="all")
    except (InstantiationException, TypeError) as error:
        # a TypeError is of a `_partial_` or `_recursive_` that is neither true nor false
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        raise UserError(f"{key}: {first_line(cause)}") from error
