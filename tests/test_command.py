"""Checks what commands print to be pasted."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from makemore.command import override


@pytest.mark.parametrize("path", ["/logs/train/2018_a-b.c", "../a+b"])
def test_a_plain_value_is_printed_plainly(path: str) -> None:
    assert override("resume", path) == f"resume={path}"


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_what_is_pasted_is_what_is_meant(name: str) -> None:
    (word,) = shlex.split(override("resume", f"/logs/{name}"))
    (parsed,) = OverridesParser.create().parse_overrides([word])
    assert (parsed.key_or_group, parsed.value()) == ("resume", f"/logs/{name}")
