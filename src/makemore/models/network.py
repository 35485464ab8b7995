"""The registry of networks: plain `nn.Module`s, contexts (B, T) in, logits (B, V) out.

A file in this package that registers a class is all that a new model needs here. Checkpoints name a model by its
registered name, and nothing that a checkpoint names is ever instantiated otherwise.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from makemore import models
from makemore.data.windows import CountedWindows
from makemore.errors import UserError, one_of


class Network(nn.Module):
    """A language model: `forward(tokens)` maps int64 tokens (B, T) to logits (*targets.shape, V).

    Attributes:
        reads: what `tokens` are. "windows": contexts, each with one target (B,), the token after it.
        block_size: T, the length of a context; 0 for none.
        vocab_size: V.
    """

    reads = "windows"
    block_size: int
    vocab_size: int

    @property
    def embedding(self) -> Tensor | None:
        """The vectors (V, E) that stand for the tokens; None where there are none."""
        return None


class Counted(Network):
    """A network that is trained by counting, in one step over the whole training split."""

    def count(self, windows: CountedWindows) -> None:
        """Take the counts of `windows`, whose contexts are `block_size` long, in place of any before."""
        raise NotImplementedError

    def most_common(self) -> list[tuple[tuple[int, ...], int]]:
        """Return each counted n-gram, as its tokens, with its count, the most common first, then in token order."""
        raise NotImplementedError


def tanh_activations(network: Network, tokens: Tensor) -> dict[str, Tensor]:
    """Return the outputs (B, ..., H) of the `nn.Tanh` layers of a network for tokens (B, T), by the layers' names."""
    found: dict[str, Tensor] = {}
    names: dict[nn.Module, str] = {
        layer: name for name, layer in network.named_modules() if isinstance(layer, nn.Tanh)
    }

    def keep(layer: nn.Module, _: Any, output: Tensor) -> None:
        found[names[layer]] = output

    hooks = [layer.register_forward_hook(keep) for layer in names]
    try:
        network(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return found


@contextmanager
def evaluating(network: Network) -> Iterator[None]:
    """Put a network into evaluation mode within the block: no dropout, the kept statistics of batch norm."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


_REGISTRY: dict[str, type[Network]] = {}
_N = TypeVar("_N", bound=type[Network])


def register(name: str) -> Callable[[_N], _N]:
    """Register a `Network` class, whose constructor takes `vocab_size`, `generator` and its own arguments."""

    def add(network: _N) -> _N:
        assert name not in _REGISTRY
        _REGISTRY[name] = network
        return network

    return add


def architectures() -> list[str]:
    """Return the registered names."""
    for module in pkgutil.iter_modules(models.__path__):
        importlib.import_module(f"{models.__name__}.{module.name}")
    return sorted(_REGISTRY)


def build(architecture: str, vocab_size: int, arguments: dict[str, Any], seed: int) -> Network:
    """Return a new network with initial weights that are a function of the seed.

    Args:
        architecture: a registered name.
        vocab_size: V.
        arguments: what the class takes beside `vocab_size` and `generator`.
        seed: of the generator of the initial weights, whether the class draws from it or leaves that to torch.nn.

    Raises:
        UserError: an unknown name, an unknown argument, or one out of range.
    """
    one_of("model.architecture", architecture, architectures())
    network = _REGISTRY[architecture]
    known = [name for name in inspect.signature(network).parameters if name not in ("vocab_size", "generator")]
    if unknown := sorted(set(arguments) - set(known)):
        raise UserError(f"model {architecture} takes no {', '.join(unknown)}; it takes {', '.join(known)}")
    # torch's own, from which the layers of torch.nn draw too; whoever else uses it finds it as it was
    with torch.random.fork_rng(devices=[]):
        generator = torch.default_generator.manual_seed(seed)
        return network(vocab_size=vocab_size, generator=generator, **arguments)


def restore(architecture: str, vocab_size: int, arguments: dict[str, Any], state: dict[str, Tensor]) -> Network:
    """Return a network with the weights in `state`, which are all the memory that it takes.

    Args:
        architecture: as for `build`.
        vocab_size: as for `build`.
        arguments: as for `build`.
        state: its `state_dict`, kept as it is.

    Raises:
        UserError: as `build`.
        ValueError, RuntimeError: the weights are not those of such a network.
    """
    # without numbers, however many the arguments ask for
    with torch.device("meta"):
        network = build(architecture, vocab_size, arguments, seed=0)
    wanted = network.state_dict()
    network.load_state_dict(state, assign=True)
    for name, tensor in network.state_dict().items():
        # assigning checks neither; what is contiguous has all its numbers in the file
        if tensor.dtype != wanted[name].dtype or not tensor.is_contiguous():
            raise ValueError(f"{name} is not a plain tensor of {wanted[name].dtype}")
    return network
