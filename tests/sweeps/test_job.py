"""Checks the files of a job's config."""

import math

from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from makemore.sweeps.job import _yaml

# read otherwise if not quoted
AMBIGUOUS = [
    "1e-3",
    "1E5",
    "+1e5",
    ".5e3",
    "1.",
    "1_000",
    "0x1f",
    "1:30",
    "y",
    "no",
    "null",
    "~",
    ".inf",
    "nan",
    "${x}",
]
TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["", "- a", "a: b", " a", "#"]
)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | st.sampled_from(AMBIGUOUS)


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "no", "~", "1e-3"]), VALUES | st.lists(VALUES)))
def test_a_saved_config_is_read_as_it_was(config: dict[str, object]) -> None:
    read = OmegaConf.to_container(OmegaConf.create(_yaml(config)), resolve=False)
    # repr tells 1 from 1.0 and from True
    assert repr(read) == repr(config)


def test_a_saved_config_is_written_as_hydra_does() -> None:
    config = {"a": {"b": [1, 1e-5, -math.inf], "c": "1e-3", "d": None, "e": True}, "f": "naïve: ${a.b}", "g": "x\ty"}
    assert _yaml(config) == OmegaConf.to_yaml(config)
