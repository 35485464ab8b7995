"""Checks that the ranges of dependencies leave out releases known to be bad, and hold the locked versions."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ALL = [
    line for lines in (PROJECT["dependencies"], *EXTRAS.values()) for line in lines if not line.startswith("makemore")
]
DEPENDENCIES = {Requirement(line).name: Requirement(line) for line in ALL}
# each `name==version`, for some with a marker, and the hashes of its files, which stand on lines of their own
LOCK = (ROOT / "constraints.txt").read_text().replace("\\\n", "").splitlines()
LOCK = [line for line in LOCK if not line.startswith("#")]
LINES = [line.partition(" ")[0] for line in LOCK]
LOCKED = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in LINES)}

BAD = {
    # malicious uploads, and holes in weights_only loading before 2.6.6
    "lightning": ["2.4.0", "2.6.2", "2.6.3", "2.6.5"],
    # holes in weights_only loading
    "torch": ["2.5.1", "2.9.1"],
    # a bypass of instantiate's target policy, and a release candidate that its plugins do not work with
    "hydra-core": ["1.3.2", "1.3.7", "1.4.0rc3"],
    # symbolic links are followed: CVE-2025-68146, CVE-2026-22701
    "filelock": ["3.20.0", "3.20.2"],
    # cannot hold a study of the Optuna that Hydra's sweeper takes
    "sqlalchemy": ["2.0.0"],
}


@pytest.mark.parametrize(("name", "version"), [(name, version) for name, all_of in BAD.items() for version in all_of])
def test_a_release_known_to_be_bad_is_left_out(name: str, version: str) -> None:
    assert version not in DEPENDENCIES[name].specifier


@pytest.mark.parametrize("line", ALL)
def test_the_locked_version_of_each_dependency_is_in_its_range(line: str) -> None:
    requirement = Requirement(line)
    assert LOCKED[canonicalize_name(requirement.name)] in requirement.specifier


def test_what_is_locked_is_locked_to_one_release() -> None:
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in LINES)


def test_each_file_of_what_is_locked_has_its_hash() -> None:
    assert len(set(LINES)) == len(LINES)
    unhashed = [line for line in LOCK if not re.fullmatch(r"\S+( ; .+?)?( +--hash=sha256:[0-9a-f]{64})+", line)]
    assert not unhashed


def test_the_launchers_and_the_sweeper_come_together_and_all_extras_are_tested() -> None:
    sweeps, *_ = EXTRAS["sweeps"]
    others = {"sweeps", "wandb", "mlflow", "xla", "export", "playground", "dev"}
    assert Requirement(sweeps).extras == EXTRAS.keys() - others
    assert Requirement(EXTRAS["dev"][0]).extras == others - {"mlflow", "dev"}
    # the tests have the part of MLflow that a run needs, in the same range
    assert DEPENDENCIES["mlflow-skinny"].specifier == DEPENDENCIES["mlflow"].specifier


@pytest.mark.full
def test_what_is_installed_fits_together() -> None:
    check = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout


def test_the_workflows_use_actions_by_digest() -> None:
    lines = [
        line.strip()
        for path in (ROOT / ".github" / "workflows").glob("*.yml")
        for line in path.read_text().splitlines()
        if "uses:" in line
    ]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"- uses: [\w./-]+@[0-9a-f]{40} # v[\d.]+", line)] == []
