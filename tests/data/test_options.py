"""What decides a text and its splits: ratios, and values out of range."""

from typing import Any

import pytest

from makemore.data.options import CorpusOptions, check_ratios
from makemore.errors import UserError


@pytest.mark.parametrize(
    "ratios",
    [
        (0.8, 0.1),
        (0.8, 0.1, 0.05, 0.05),
        (),
        (1.1, -0.1, 0),
        (float("nan"), 0.5, 0.5),
        (float("inf"), 0, 0),
        ("a", 0, 0),
    ],
)
def test_ratios_that_are_not_three_numbers_are_refused(ratios: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match=r"data\.splits must be three ratios"):
        check_ratios(ratios)


@pytest.mark.parametrize("ratios", [(0.8, 0.1, 0.2), (0.8, 0.1, 0), (8, 1, 1), (0.333, 0.333, 0.333)])
def test_ratios_that_do_not_sum_to_one_are_refused(ratios: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match=r"data\.splits must sum to 1"):
        check_ratios(ratios)


def test_ratios_without_training_are_refused() -> None:
    with pytest.raises(UserError, match="train"):
        check_ratios((0, 0.5, 0.5))


@pytest.mark.parametrize("ratios", [(0.8, 0.1, 0.1), (1, 0, 0), (0.9, 0, 0.1), (0.34, 0.33, 0.33)])
def test_ratios_are_given_back(ratios: tuple[float, ...]) -> None:
    assert check_ratios(ratios) == ratios


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": 2018}, r"data\.path"),
        ({"path": None}, r"data\.path"),
        ({"val_path": 2018}, r"data\.val_path"),
        ({"test_path": True}, r"data\.test_path"),
        ({"splits": (0.8, 0.1, 0.2)}, r"data\.splits"),
        ({"splits": (0.8, 0.2)}, r"data\.splits"),
        ({"split_seed": -1}, r"data\.split_seed"),
        ({"split_seed": 2**63}, r"data\.split_seed"),
        ({"split_seed": 1.5}, r"data\.split_seed"),
        ({"by": "word"}, r"data\.by must be one of line, shuffle, randperm, example"),
        ({"boundary": "none"}, r"data\.boundary "),
        ({"boundary_at": "middle"}, r"data\.boundary_at "),
        ({"normalize": "NFE"}, r"data\.normalize must be one of null, NFC"),
        ({"max_lines": 0}, r"data\.max_lines"),
        ({"max_length": 0}, r"data\.max_length must be at least 1"),
        ({"max_length": "long"}, r"data\.max_length must be a whole number"),
    ],
)
def test_options_out_of_range_are_errors_naming_their_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CorpusOptions(**{"path": "names.txt"} | change)
