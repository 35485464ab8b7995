"""Try the gradients of one member, to find out what a step takes and does."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from makemore.data.batches import Block, FullBatches
from makemore.sweeps.vectorized.layout import Layout
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.stack import Stack, blank_minibatches


def try_step(member: Member, layout: Layout, watched: TorchDispatchMode) -> Stack:
    """Return a stack whose rows are all those of a member, after the gradients of a step, which a mode has watched."""
    model, data = member.model, member.parts.data
    network, size = model.network, data.corpus.context_size(model.network)
    block: Block
    if network.reads == "lines":
        batch_size = data.batch_size or len(data.corpus.lines("train", network.block_size))
        block = blank_minibatches(batch_size, network, size)
    elif data.batch_size is None:
        block = FullBatches.of(data.corpus.windows("train", size).counted(), model.vocabulary.size)
    else:
        block = blank_minibatches(data.batch_size, network, size)
    stack = Stack([network], [member.optimizer], [model.step_options()], [model.l2], block.members_dim, layout)
    batch = tuple(tensor[0] for tensor in block.stacked())
    if block.members_dim is not None:
        batch = tuple(tensor.expand(layout.total, *tensor.shape[1:]) for tensor in batch)
    with watched, torch.no_grad():
        stack.gradients(block.nll, stack.update.parameters, stack.buffers, stack.constants, batch)
    return stack
