"""Checks what the argument checks accept, what they refuse, and that a refusal is a `UserError` naming the key."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from makemore.errors import UserError, first_line, one_of, real_number, whole_number

anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()),
)


@pytest.mark.parametrize(("value", "at_least", "at_most"), [(0, 0, 9), (9, 0, 9), (-3, -3, -3), (2**63 - 1, 0, 2**63)])
def test_a_whole_number_within_its_limits_is_returned(value: int, at_least: int, at_most: int) -> None:
    assert whole_number("key", value, at_least, at_most) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "seed must be a whole number, not True"),
        (2.0, "seed must be a whole number, not 2.0"),
        ("2", "seed must be a whole number, not '2'"),
        (None, "seed must be a whole number, not None"),
        ([2], r"seed must be a whole number, not \[2\]"),
        (-1, "seed must be at least 0, not -1"),
        (2**63, "seed must be at most 9223372036854775807, not 9223372036854775808"),
    ],
)
def test_a_whole_number_is_refused_with_its_key_and_value(value: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"^{message}$"):
        whole_number("seed", value)


def test_the_limit_that_was_passed_is_the_one_named() -> None:
    with pytest.raises(UserError, match=r"^threads must be at least 1, not 0$"):
        whole_number("threads", 0, at_least=1, at_most=4)
    with pytest.raises(UserError, match=r"^threads must be at most 4, not 5$"):
        whole_number("threads", 5, at_least=1, at_most=4)


@pytest.mark.parametrize("value", [0, 1, 0.5, 1e300, -7])
def test_a_real_number_is_returned_as_a_float(value: float) -> None:
    number = real_number("key", value)
    assert type(number) is float
    assert number == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "0.1", None, [0.1], 1j])
def test_what_is_not_a_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match=r"^model\.l2 must be a finite number, not "):
        real_number("model.l2", value)


def test_at_least_admits_its_limit_and_above_does_not() -> None:
    assert real_number("l2", 0, at_least=0) == 0
    with pytest.raises(UserError, match=r"^l2 must be at least 0, not -0\.1$"):
        real_number("l2", -0.1, at_least=0)
    with pytest.raises(UserError, match=r"^temperature must be above 0, not 0$"):
        real_number("temperature", 0, above=0)
    assert real_number("temperature", 5e-324, above=0) == 5e-324


def test_one_of_returns_the_choice_and_names_all_of_them() -> None:
    assert one_of("by", "line", ("line", "example")) == "line"
    assert one_of("normalize", None, (None, "NFC")) is None
    with pytest.raises(UserError, match=r"^by must be one of line, example, not 'word'$"):
        one_of("by", "word", ("line", "example"))
    with pytest.raises(UserError, match=r"^normalize must be one of null, NFC, not 'nfc'$"):
        one_of("normalize", "nfc", (None, "NFC"))


def outcome(check: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a check returns, or the message of its `UserError`."""
    try:
        return check(*arguments)
    except UserError as error:
        return str(error)


@given(anything)
@example(10**400)
@example(-(10**400))
def test_whatever_is_given_is_returned_or_a_user_error_of_one_line(value: Any) -> None:
    for check, arguments in ((whole_number, ()), (real_number, ()), (one_of, (("a", None),))):
        returned = outcome(check, "key", value, *arguments)
        if isinstance(returned, str) and returned != value:
            assert re.fullmatch("key must be .*", returned)
        else:
            assert returned in (value, check is real_number and float(value))


def test_a_user_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="seed"):
        whole_number("seed", -1)


def test_a_message_has_no_password_of_a_url() -> None:
    error = ConnectionError("API request to http://ann:s@cret@host:5000/api failed, by a@b\nmore")
    assert first_line(error) == "API request to http://host:5000/api failed, by a@b"
