"""Random numbers that a network draws in training, as dropout does: a function of (seed, step), like a run's examples.

torch.nn's layers draw from torch's own generators, whose history would depend on how often a run was resumed, watched
or cut into blocks. So these are seeded before each step, and have their states back afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.func import functional_call

from makemore.models import Network

# sets the draws of networks apart from those of examples (`makemore.data.batches`), which have keys of one number
_KEY = 1


class StepDraws:
    """torch's own generators, seeded for the steps of a run.

    Args:
        seed: of the run.
        device: of the network.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed = seed
        self.generators = _generators(device)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Give the generators the states back that they had before the block."""
        states = [generator.get_state() for generator in self.generators]
        try:
            yield
        finally:
            for generator, state in zip(self.generators, states, strict=True):
                generator.set_state(state)

    def begin(self, step: int) -> None:
        """Seed the generators for a step."""
        (number,) = np.random.SeedSequence(self.seed, spawn_key=(_KEY, step)).generate_state(1)
        for generator in self.generators:
            generator.manual_seed(int(number))


@dataclass(frozen=True)
class SideEffects:
    """What a forward pass in training does beside returning logits.

    Args:
        draws: it draws random numbers, as dropout does.
        changes_buffers: as batch norm does.
    """

    draws: bool
    changes_buffers: bool

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return self.draws or self.changes_buffers

    def __str__(self) -> str:
        """Name them."""
        what = {"draws random numbers": self.draws, "changes its buffers": self.changes_buffers}
        return f"{' and '.join(name for name, done in what.items() if done)} in training"


def side_effects(network: Network) -> SideEffects:
    """Return the side effects of a network in the mode that it is in, found in a forward pass that leaves none."""
    device = next(network.parameters()).device
    draws = StepDraws(0, device)
    # batch norm takes no fewer than two contexts
    contexts = torch.arange(2 * network.block_size, device=device).view(2, -1) % network.vocab_size
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with draws.restored(), torch.no_grad():
        before = [generator.get_state() for generator in draws.generators]
        functional_call(network, buffers, (contexts,))
        after = [generator.get_state() for generator in draws.generators]
    return SideEffects(
        draws=not all(map(torch.equal, before, after)),
        changes_buffers=not all(torch.equal(buffers[name], buffer) for name, buffer in network.named_buffers()),
    )


def _generators(device: torch.device) -> list[torch.Generator]:
    # what a network makes on the CPU and moves is drawn there
    on_device = [torch.cuda.default_generators[device.index]] if device.type == "cuda" else []
    return [torch.default_generator, *on_device]
