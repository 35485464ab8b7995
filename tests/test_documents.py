"""Checks what the documents say that a test can know."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("scripts/**/*.py"), *ROOT.glob("conf/**/*.yaml")]
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_tensorboard_stays_on_this_machine(path: Path) -> None:
    for line in re.findall(r".*tensorboard --logdir.*", path.read_text()):
        assert "--host 127.0.0.1" in line


def test_the_readme_and_contributing_name_every_wing() -> None:
    wings = {path.parent.name for path in (ROOT / "src" / "makemore").glob("*/__init__.py")}
    for document in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text()
        assert [wing for wing in wings if f"{wing}/" not in text] == []
