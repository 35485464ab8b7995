"""Real engines on this machine: a SLURM and a Ray, each of two nodes with a core, and a third that may join."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_here import Ray
from slurm_here import Slurm, lacking, wait_until

BEGIN, LATE = ["n1", "n2"], "n3"


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A SLURM whose node n3 does not run yet."""
    if (reason := lacking()) is not None:
        pytest.skip(reason)
    # a socket's path is short
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as directory:
        started = Slurm(Path(directory), [*BEGIN, LATE], BEGIN)
        try:
            yield started
        finally:
            started.stop()


# an idle one takes a part of a core: it ends with the module
@pytest.fixture(scope="module")
def ray() -> Iterator[Ray]:
    """A Ray of a head, n1 and n2."""
    pytest.importorskip("ray.cluster_utils", reason="pip install -e '.[ray]'")
    started = Ray(BEGIN)
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[Ray | Slurm]:
    """The engine that a test is parametrised with, `ray` or `slurm`, again with n1 and n2 when it has ended."""
    found: Ray | Slurm = request.getfixturevalue(request.param)
    yield found
    for node in found.up() - set(BEGIN):
        found.kill_node(node)
    # SLURM gives jobs to a dead node until it has found it dead
    wait_until(lambda: found.up() <= set(BEGIN))
    for node in set(BEGIN) - found.up():
        found.start(node)
