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


def test_the_readme_names_every_module() -> None:
    readme = (ROOT / "README.md").read_text()
    for path in (ROOT / "src" / "makemore").rglob("*.py"):
        name = str(path.relative_to(ROOT / "src" / "makemore"))
        if path.name != "__init__.py":
            assert name in readme or (path.parent.name == "models" and path.name in readme), name
