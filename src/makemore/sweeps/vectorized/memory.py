"""How many members fit: what one costs in memory and open files, and how much of both there is."""

import ctypes
from contextlib import suppress
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from makemore.data.batches import Block, FullBatches, Minibatches
from makemore.data.datamodule import TextDataModule
from makemore.sweeps.vectorized.layout import PERIOD, Layout
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.stack import Stack

# of the memory that is free, what a group may take: the rest is for the text, blocks, and an estimate that is too low
_SHARE = 0.5
# bytes of a group's tensors on a CPU: where there are more, each operator waits for memory (docs/vectorized.md)
_TENSORS = 2**28
# bytes of Python's objects a member: configs, the model, TensorBoard's writer and its thread
_OBJECTS = 3 * 2**20
# open files a member: TensorBoard's, metrics.csv, the lock, and one that is being written
_FILES = 4
# that the process has beside
_OTHER_FILES = 128


def most_members(member: Member, data: TextDataModule, device: torch.device, parts: int) -> int:
    """Return how many members like this one fit on a device where so many parts run at a time; at least one."""
    tensors, free = tensor_bytes(member, data), _SHARE * psutil.virtual_memory().available / parts
    if device.type == "cuda":
        on_device = _SHARE * torch.cuda.mem_get_info(device)[0] / tensors
        most = min(on_device, free / _OBJECTS)
    else:
        most = min(free / (tensors + _OBJECTS), _TENSORS / tensors)
    most = max(1, min(int(most), _files() // _FILES))
    # so that the next wave begins in the first row
    return most - most % PERIOD if most > PERIOD else most


def tensor_bytes(member: Member, data: TextDataModule) -> int:
    """Return what a member's tensors take: its state three times, and all that a step makes.

    The state stands in the stack, in what a block is taken back to, and for a moment in what the stack is made of. Of
    what a step makes, a part is free again before its end, so this is more than there is at once.
    """
    model = member.model
    block: Block
    if data.batch_size is None:
        counted = data.corpus.windows("train", model.block_size).counted()
        block = FullBatches.of(counted, model.vocabulary.size)
    else:
        tokens = torch.zeros((1, 1, data.batch_size, model.block_size + 1), dtype=torch.int64)
        block = Minibatches(0, tokens[..., :-1], tokens[..., -1])
    stack = Stack([model.network], [member.optimizer], [model.l2], block.members_dim, Layout([0], 1))
    batch = tuple(tensor[0] for tensor in block.stacked())
    with _Made() as made, torch.no_grad():
        stack.gradients(stack.update.parameters, stack.constants, block.nll, batch)
    return 3 * sum(tensor.nbytes for tensor in stack.changing()) + int(made.nbytes)


class _Made(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that operators make."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nbytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not result._is_view():
            self.nbytes += result.nbytes
        return result


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, where it is GNU's.

    It would give the temporary tensors of each step back to the system, which clears every page of the next step's.
    """
    trim_threshold, mmap_threshold = -1, -3
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(trim_threshold, 2**31 - 1)
        # the most that it takes
        libc.mallopt(mmap_threshold, 2**25)


def _files() -> int:
    """Return how many files a group may open, after asking for as many as the system allows."""
    try:
        import resource  # not on Windows
    except ImportError:
        return 2048 - _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return (2**20 if soft == resource.RLIM_INFINITY else soft) - _OTHER_FILES
