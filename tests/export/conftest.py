"""What the tests of exports share."""

from functools import cache

import pytest


@pytest.fixture(scope="session", autouse=True)
def _one_registry() -> None:
    """Let torch.onnx build the table of its operators once, which takes two seconds each time."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))  # type: ignore[method-assign]
