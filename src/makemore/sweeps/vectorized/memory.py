"""Estimate how many members fit: the memory and open files that one takes, and how much of both is free."""

import ctypes
from contextlib import suppress
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from makemore.data.batches import FullBatches, Minibatches
from makemore.sweeps.vectorized.layout import PERIOD, Layout
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.stack import Stack, blank_minibatches

# share of the free memory that a group may take; the rest is for the text, blocks, and errors of the estimate
_SHARE = 0.5
# most bytes of a group's tensors on a CPU: beyond them each operator waits for memory (docs/vectorized.md)
_TENSORS = 2**28
# bytes of Python objects a member: configs, the model, TensorBoard's writer and its thread
_OBJECTS = 3 * 2**20
# open files a member: TensorBoard's, metrics.csv, the lock, and one being written
_FILES = 4


def most_members(member: Member, device: torch.device, processes: int) -> int:
    """Return how many members like this one fit on a device that so many processes share; at least one."""
    tensors, free = tensor_bytes(member), _SHARE * psutil.virtual_memory().available / processes
    if device.type == "cuda":
        most = min(_SHARE * torch.cuda.mem_get_info(device)[0] / tensors, free / _OBJECTS)
    else:
        most = min(free / (tensors + _OBJECTS), _TENSORS / tensors)
    most = max(1, min(int(most), _files() // _FILES))
    # so that the next wave begins in the first row
    return most - most % PERIOD if most > PERIOD else most


def tensor_bytes(member: Member) -> int:
    """Return the bytes of a member's tensors: its state three times, and all that a step makes.

    The state is in the stack, in the snapshot before a block, and for a moment in what the stack is made of. A part of
    what a step makes is freed before its end, so this is more than there is at once.
    """
    model, block = member.model, blank_block(member)
    options = [model.step_options()]
    stack = Stack([model.network], [member.optimizer], options, [model.l2], block.members_dim, Layout([0], 1))
    batch = tuple(tensor[0] for tensor in block.stacked())
    with _AllocationCounter() as made, torch.no_grad():
        stack.gradients(block.nll, stack.update.parameters, stack.buffers, stack.constants, batch)
    return 3 * sum(tensor.nbytes for tensor in stack.changing()) + int(made.nbytes)


def blank_block(member: Member, members: int = 1) -> FullBatches | Minibatches:
    """Return a block of one step of members like this one, as large as in training, to try a step with."""
    data, network = member.parts.data, member.model.network
    size = data.corpus.context_size(network)
    if network.reads == "lines":
        batch_size = data.batch_size or len(data.corpus.lines("train", network.block_size))
        return blank_minibatches(batch_size, network, size, members)
    if data.batch_size is None:
        return FullBatches.of(data.corpus.windows("train", size).counted(), member.model.vocabulary.size)
    return blank_minibatches(data.batch_size, network, size, members)


class _AllocationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
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
    """Let the GNU C library keep freed memory.

    It would return the temporary tensors of each step to the system, which clears each page anew for the next step.
    """
    trim_threshold, mmap_threshold = -1, -3
    # another library, or Windows
    with suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        # their upper limits
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(mmap_threshold, 2**25)


def _files() -> int:
    """Return how many files a group may open, after raising the limit as far as the system allows."""
    try:
        import resource
    except ImportError:
        # Windows, which has no such limit
        return 2**20
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    # the process has others than those of the members
    return (2**20 if soft == resource.RLIM_INFINITY else soft) - 128
