"""User errors, and the argument checks that raise them.

A `UserError` becomes one line on standard error and exit code 2 (see `makemore.cli.command`); any other exception is a
bug and keeps its traceback.
"""

import math
import re
import sys
from collections.abc import Sequence
from typing import Any


class UserError(ValueError):
    """An error that the user can fix: its message says in one line what is wrong, where, and how to fix it."""


class DivergedError(UserError):
    """A loss, a weight or a probability is no longer finite."""


def whole_number(key: str, value: Any, at_least: int = 0, at_most: int = 2**63 - 1) -> int:
    """Return `value` if it is an integer in [at_least, at_most]; raise `UserError` naming `key` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"{key} must be a whole number, not {value!r}")
    if not at_least <= value <= at_most:
        limit = f"at least {at_least}" if value < at_least else f"at most {at_most}"
        raise UserError(f"{key} must be {limit}, not {value}")
    return value


def real_number(
    key: str, value: Any, at_least: float = -math.inf, above: float = -math.inf, below: float = math.inf
) -> float:
    """Return `value` as a float if finite, `>= at_least`, `> above` and `< below`; else `UserError`, naming `key`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise UserError(f"{key} must be a finite number, not {value!r}")
    if value < at_least:
        raise UserError(f"{key} must be at least {at_least:g}, not {value:g}")
    if value <= above:
        raise UserError(f"{key} must be above {above:g}, not {value:g}")
    if value >= below:
        raise UserError(f"{key} must be below {below:g}, not {value:g}")
    return float(value)


def one_of(key: str, value: Any, choices: Sequence[str | None]) -> Any:
    """Return `value` if it is one of `choices`; raise `UserError` naming `key` and the choices otherwise."""
    if not isinstance(value, str | None) or value not in choices:
        names = ", ".join("null" if choice is None else choice for choice in choices)
        raise UserError(f"{key} must be one of {names}, not {value!r}")
    return value


def as_text(key: str, value: Any) -> str:
    """Return `value` if it is a string; raise `UserError` otherwise: Hydra parses `1`, `true` and `null`."""
    if not isinstance(value, str):
        raise UserError(f"{key}: {value!r} is not text to Hydra; put it in quotes, within quotes of the shell")
    return value


def true_or_false(key: str, value: Any) -> bool:
    """Return `value` if it is a boolean; raise `UserError` otherwise: to Hydra, `no` is a string."""
    if not isinstance(value, bool):
        raise UserError(f"{key} must be true or false, not {value!r}")
    return value


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type's name if there is no message; without passwords."""
    return without_password((str(error).strip().splitlines() or [type(error).__name__])[0])


def without_password(text: str) -> str:
    """Return a text in which URLs have no user and password."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)
