"""Checks that the wheel holds src/ and nothing else: no scripts, no benchmarks, no lessons."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_all_of_src_and_nothing_else(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    built = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("makemore_lightning-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = {path.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*") if path.is_file()}
    assert names == {path.as_posix() for path in source if "__pycache__" not in path.parts}
    assert {Path(name).parts[0] for name in names} == {"makemore", "hydra_plugins"}
    assert not [name for name in names if "benchmark" in name or "lesson" in name]
