"""Checks what commands print to be pasted."""

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import MissingConfigException
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from makemore.overrides import EXTRAS, describe, override


@pytest.mark.parametrize("path", ["/logs/train/2018_a-b.c", "../a+b"])
def test_a_plain_value_is_printed_plainly(path: str) -> None:
    assert override("resume", path) == f"resume={path}"


@example("${x}\\${")
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_what_is_pasted_is_what_is_meant(name: str) -> None:
    (word,) = shlex.split(override("resume", f"/logs/{name}"))
    (parsed,) = OverridesParser.create().parse_overrides([word])
    # as a config has it, where an escaped reference is none
    assert dict(OmegaConf.create({parsed.key_or_group: parsed.value()})) == {"resume": f"/logs/{name}"}


def test_what_is_wrong_at_a_glance_is_said_without_the_heavy_imports() -> None:
    line = (
        "import sys, makemore.cli.before_run; print([name for name in ('torch', 'lightning') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


@pytest.mark.parametrize(("name", "extra"), EXTRAS.items())
def test_what_is_not_installed_is_said_with_the_extra_that_brings_it(
    name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = MissingConfigException("Could not find it", missing_cfg_file=name)
    assert describe(error) == f"{name} is not installed; it comes with pip install -e '.[{extra}]'"
    monkeypatch.setattr("makemore.overrides.IS_INSTALLED", True)
    assert describe(error) == f"{name} is not installed; it comes with pip install 'makemore-lightning[{extra}]'"
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert extra in project["optional-dependencies"]
