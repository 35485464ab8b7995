"""Fixtures that every test may use, and the tiers: the default one, --full and --slow."""

import csv
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

import jax_process
import shortcuts

FIXTURES = Path(__file__).parent / "fixtures"
ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run everything that CI runs")
    parser.addoption("--slow", action="store_true", help="run the long trials too")


def pytest_configure(config: pytest.Config) -> None:
    # of each property that does not say how many; no test depends on the speed of a machine
    settings.register_profile("makemore", max_examples=100 if config.getoption("--slow") else 40, deadline=None)
    settings.load_profile("makemore")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for tier in ("full", "slow"):
        if not config.getoption(f"--{tier}"):
            for item in items:
                if tier in item.keywords:
                    item.add_marker(pytest.mark.skip(reason=f"run with --{tier}"))


def pytest_collection_finish() -> None:
    # each run collects garbage at its end, for which it need not look at all that was imported
    gc.collect()
    gc.freeze()


shortcuts.install()
# a tenth of the time of a process that imports torch, JAX and Lightning
gc.set_threshold(100_000)


@pytest.fixture(scope="session", autouse=True)
def _few_names() -> None:
    shortcuts.sample_less()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither tests nor the commands that they start read or leave anything in the caches of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("caches")))
        patch.setenv("WANDB_DATA_DIR", str(tmp_path_factory.mktemp("wandb")))
        # compiling takes long: once for all worker processes
        of_worker = tmp_path_factory.getbasetemp()
        of_all = of_worker.parent if "PYTEST_XDIST_WORKER" in os.environ else of_worker
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(of_all / "compiled"))
        yield


@pytest.fixture(scope="session")
def in_jax_process() -> Iterator[Callable[..., Any]]:
    """Call a function of a module in a process that may use JAX, and return what it returns."""
    with jax_process.executor() as executor:
        yield lambda function, *arguments, **options: executor.submit(function, *arguments, **options).result()


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave pictures empty, which take a second each to draw, and sample few items for them."""
    monkeypatch.setattr(
        "makemore.pictures.picture.Picture.rendered", lambda _picture, file_format: file_format.encode()
    )
    monkeypatch.setattr("makemore.pictures.gallery._SAMPLES", 20)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the project as it is."""
    directory = tmp_path_factory.mktemp("wheel")
    line = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    built = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = directory.glob("makemore_lightning-*.whl")
    return wheel


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 200 names of the text that the project ships."""
    path = tmp_path_factory.mktemp("text") / "names.txt"
    names = ROOT / "data" / "names.txt"
    path.write_text("\n".join(names.read_text().split("\n")[:200]) + "\n")
    return path


@pytest.fixture(scope="session")
def bigram_pairs() -> list[tuple[str, str, int]]:
    """The lessons' bigram table: first, second ('.' is the boundary), count."""
    with (FIXTURES / "seed_bigram_counts.csv").open(newline="") as file:
        return [(row["first"], row["second"], int(row["count"])) for row in csv.DictReader(file)]


@pytest.fixture(scope="session")
def lesson_text(bigram_pairs: list[tuple[str, str, int]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of 32,033 lines with exactly the lessons' bigram counts: an Eulerian circuit of their table.

    Hierholzer's algorithm from the boundary; each return to it ends a line.
    """
    following: dict[str, list[str]] = {}
    for first, second, count in bigram_pairs:
        following.setdefault(first, []).extend([second] * count)
    stack, circuit = ["."], []
    while stack:
        if following[stack[-1]]:
            stack.append(following[stack[-1]].pop())
        else:
            circuit.append(stack.pop())
    path = tmp_path_factory.mktemp("lessons") / "eulerian.txt"
    path.write_text("".join(reversed(circuit)).strip(".").replace(".", "\n") + "\n")
    return path
