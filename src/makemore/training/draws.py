"""Seed the random numbers of a network in training, such as dropout's, as a function of (seed, step).

Layers of torch.nn draw from torch's own generators, whose states depend on how often a run was resumed, watched or cut
into blocks. So these are seeded before each step, and their states are restored afterwards.
"""

from contextlib import AbstractContextManager

import numpy as np
import torch
from torch.func import functional_call

from makemore.models.network import Network, trial_tokens

# separates these streams from those of examples (`makemore.data.batches`), whose keys have one number
_KEY = 1
# side effects of a forward pass, as dropout and batch norm have them
DRAWS, CHANGES_BUFFERS = "draws random numbers", "changes its buffers"


class StepDraws:
    """torch's own generators, on the CPU and on the network's device, seeded for the steps of a run."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed = seed
        self.cuda = [device.index] if device.type == "cuda" else []
        # some networks draw on the CPU and move the numbers
        self.generators = [torch.default_generator, *(torch.cuda.default_generators[index] for index in self.cuda)]

    def restored(self) -> AbstractContextManager[None]:
        """Restore the states of the generators after the block."""
        return torch.random.fork_rng(self.cuda)

    def begin(self, step: int) -> None:
        """Seed the generators for a step."""
        (number,) = np.random.SeedSequence(self.seed, spawn_key=(_KEY, step)).generate_state(1)
        for generator in self.generators:
            generator.manual_seed(int(number))


def side_effects(network: Network) -> list[str]:
    """Return what else a forward pass of a network does in its present mode: DRAWS, CHANGES_BUFFERS, both or none."""
    device = next(network.parameters()).device
    draws = StepDraws(0, device)
    # for a forward pass that leaves no trace
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with draws.restored(), torch.no_grad():
        before = [generator.get_state() for generator in draws.generators]
        functional_call(network, dict(buffers), (trial_tokens(network).to(device),))
        drawn = not all(map(torch.equal, before, [generator.get_state() for generator in draws.generators]))
    # in place; a network that sets a buffer to another tensor has left this one alone
    changed = not all(torch.equal(buffers[name], buffer) for name, buffer in network.named_buffers())
    return [effect for effect, found in ((DRAWS, drawn), (CHANGES_BUFFERS, changed)) if found]


def renewed_buffers(network: Network) -> list[str]:
    """Return the names of the buffers that a forward pass in training sets to new tensors, as `BatchNorm` does."""
    tokens = trial_tokens(network).to(next(network.parameters()).device)
    given = dict(network.named_buffers())
    # it writes the buffers that the network ends with into the dict
    passed = dict(given)
    with StepDraws(0, tokens.device).restored(), torch.no_grad():
        functional_call(network, passed, (tokens,))
    return [name for name, buffer in given.items() if passed[name] is not buffer]
