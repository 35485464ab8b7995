"""Checks that the wheel holds src/, conf/ and the names, and nothing else: no scripts, no benchmarks."""

import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def files(directory: str) -> set[str]:
    """Return the files below a directory of the project, by their paths in it."""
    found = {path.relative_to(ROOT / directory) for path in (ROOT / directory).rglob("*") if path.is_file()}
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


def test_the_wheel_holds_all_of_src_and_conf_the_names_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        texts = archive.read("makemore/data/names.txt")
        (entry,) = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
        assert archive.read(entry).decode() == "[console_scripts]\nmakemore = makemore.cli.main:main\n"
    conf = {f"makemore/conf/{name}" for name in files("conf")}
    assert names == files("src") | conf | {"makemore/data/names.txt"}
    assert texts == (ROOT / "data" / "names.txt").read_bytes()
    assert {Path(name).parts[0] for name in names} == {"makemore", "hydra_plugins"}
    assert not [name for name in names - conf if "benchmark" in name or "lesson" in name]
