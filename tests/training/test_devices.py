"""What a GPU lacks is said in one line, before anything is written."""

import pytest
import torch

from makemore.errors import UserError
from makemore.training.devices import check_accelerator


@pytest.fixture(autouse=True)
def _no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
def test_a_build_for_the_cpu_is_named(accelerator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(UserError, match=rf"^trainer.accelerator={accelerator}: torch \S+ is a build for the CPU"):
        check_accelerator(accelerator)


def no_driver() -> None:
    raise RuntimeError("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU\nand more")


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "init", no_driver)
    with pytest.raises(UserError, match="no CUDA device: Found no NVIDIA driver") as refusal:
        check_accelerator("gpu")
    assert "\n" not in str(refusal.value)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    with pytest.raises(UserError, match="no CUDA device; trainer=default trains on the CPU"):
        check_accelerator("gpu")


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_devices_are_said_to_be_hidden(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES hides all"):
        check_accelerator("gpu")


def test_a_device_that_is_there_or_not_asked_for_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    for accelerator in ("cpu", "auto", "mps", None):
        check_accelerator(accelerator)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    check_accelerator("gpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_accelerator("gpu")
    check_accelerator("cuda")
