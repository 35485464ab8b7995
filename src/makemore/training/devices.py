"""What a run on a GPU lacks on this machine, said before anything is written."""

import os

import torch

from makemore.errors import UserError, first_line


def check_accelerator(accelerator: object) -> None:
    """Raise `UserError` where a run is to be on a GPU and there is none; it says what is missing."""
    if accelerator not in ("gpu", "cuda") or torch.cuda.device_count():
        return
    if accelerator == "gpu" and torch.backends.mps.is_available():
        return
    raise UserError(f"trainer.accelerator={accelerator}: {_missing()}; trainer=default trains on the CPU")


def _missing() -> str:
    """Return what is missing for a CUDA device, as far as torch can tell."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is a build for the CPU alone; https://pytorch.org has those with CUDA"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "no CUDA device, as the environment variable CUDA_VISIBLE_DEVICES hides all"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        # no driver, one that is too old, or no card
        return f"no CUDA device: {first_line(error)}"
    return "no CUDA device"
