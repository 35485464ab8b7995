"""Try the gradients of one member, to find out what a step takes and does."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from makemore.data.batches import FullBatches, Minibatches
from makemore.sweeps.vectorized.layout import Layout
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.stack import Stack, blank_minibatches


def try_step(member: Member, layout: Layout, watched: TorchDispatchMode) -> Stack:
    """Return a stack whose rows are all those of a member, after the gradients of a step, which a mode has watched."""
    model, block = member.model, blank_block(member, layout.total)
    options = [model.step_options()]
    stack = Stack([model.network], [member.optimizer], options, [model.l2], block.members_dim, layout)
    batch = tuple(tensor[0] for tensor in block.stacked())
    with watched, torch.no_grad():
        stack.gradients(block.nll, stack.update.parameters, stack.buffers, stack.constants, batch)
    return stack


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
