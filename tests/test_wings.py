"""Checks the order of the package's wings: imports run downwards only, and each name is used for one thing."""

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "makemore"
# the lowest first; a module or a folder may import what stands before it
ORDER = [
    *("errors", "system", "overrides"),
    *("data", "models", "checkpoints", "inference", "pictures", "training", "runs", "sweeps"),
    *("report", "export", "playground", "cli"),
]
MODULES = {
    path: ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
}


def imports_of(path: Path) -> Iterator[str]:
    """Yield the modules of the package that a module imports, wherever in it, for types too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("makemore."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "makemore":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES.values() else str(node.module)


def wing_of(module: str) -> str:
    """Return the module or the folder at the top of the package that a module belongs to."""
    return module.split(".")[1]


def test_the_order_names_every_module_and_folder_at_the_top() -> None:
    found = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert found == {*ORDER, "__init__"}
    assert len(found) <= 16


def test_imports_run_downwards() -> None:
    upwards = [
        f"{name} imports {imported}"
        for path, name in MODULES.items()
        if name != "makemore"
        for imported in imports_of(path)
        if ORDER.index(wing_of(imported)) > ORDER.index(wing_of(name))
    ]
    assert upwards == []


def test_no_modules_import_each_other() -> None:
    graph = {
        name: {imported for imported in imports_of(path) if imported != name}
        for path, name in MODULES.items()
        if name != "makemore"
    }
    TopologicalSorter(graph).prepare()


def test_no_name_of_a_module_is_used_twice() -> None:
    names = Counter(path.stem for path in MODULES if path.stem != "__init__")
    names.update(path.parent.name for path in MODULES if path.stem == "__init__" and path.parent != SOURCE)
    assert [name for name, count in names.items() if count > 1] == []


def test_no_public_class_has_the_name_of_another() -> None:
    classes = Counter(
        node.name
        for path in MODULES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in classes.items() if count > 1] == []
