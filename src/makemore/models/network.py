"""The contract of networks, plain `nn.Module`s that map tokens to logits, and their registry.

A new model needs only a file in this package that registers a class. Checkpoints name a model by its registered name;
nothing that a checkpoint names is instantiated otherwise.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from makemore import models
from makemore.data.windows import CountedWindows
from makemore.errors import UserError, one_of


class Network(nn.Module):
    """A language model: `forward(tokens)` maps int64 tokens (B, T) to logits (*targets.shape, V).

    Attributes:
        reads: what `tokens` are. "windows": contexts, each with one target (B,), the token after it. "lines": see
            `makemore.models.sequence`.
        takes_key: whether `forward` takes a second argument in training, a number from which it draws dropout.
        block_size: T, the length of a context, or the most tokens that a prediction depends on; 0 for none.
        vocab_size: V.
    """

    reads = "windows"
    takes_key = False
    block_size: int
    vocab_size: int

    @property
    def embedding(self) -> Tensor | None:
        """The embedding (V, E) of the tokens; None if the network has none."""
        return None


class Counted(Network):
    """A network that is trained by counting, in one step over the whole training split.

    What it has counted is in tables, buffers (N,) of any length, which loading resizes. A context has n - 1 tokens, n
    being the order; a state of another vocabulary or order is refused.
    """

    base: Tensor

    def __init__(self, vocab_size: int, order: int) -> None:
        super().__init__()
        self.vocab_size, self.order = vocab_size, order
        self.block_size = max(order - 1, 0)
        self.tables: list[list[str]] = []
        self.register_buffer("base", torch.tensor([vocab_size, order]))
        self.register_load_state_dict_pre_hook(_take_sizes)  # type: ignore[no-untyped-call]

    def register_tables(self, **tables: Tensor) -> None:
        """Register tables, as they are before counting; they always have the same length."""
        self.tables.append(list(tables))
        for name, table in tables.items():
            self.register_buffer(name, table)

    def count(self, windows: CountedWindows) -> None:
        """Count `windows`, whose contexts are `block_size` long, anew."""
        raise NotImplementedError

    def most_common(self) -> list[tuple[tuple[int, ...], int]]:
        """Return the tokens and the count of each n-gram, most common first, ties in the order of their tokens."""
        raise NotImplementedError


def _take_sizes(module: Any, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Resize the tables to those that are about to be loaded, which must be of the same V and order."""
    if state_dict[prefix + "base"].tolist() != [module.vocab_size, module.order]:
        raise ValueError("the counts are of another vocabulary or order")
    for names in module.tables:
        loaded = {name: state_dict.get(prefix + name) for name in names}
        tensors = {name: tensor for name, tensor in loaded.items() if isinstance(tensor, Tensor)}
        if any(tensor.ndim != 1 for tensor in tensors.values()) or len({*map(len, tensors.values())}) > 1:
            raise ValueError(f"{' and '.join(names)} are not of the same length")
        for name, tensor in tensors.items():
            setattr(module, name, torch.zeros_like(tensor, device=module.base.device))


def trial_tokens(network: Network) -> Tensor:
    """Return tokens (2, T) to try a network with: contexts, or lines of at most two tokens."""
    # a network over lines may take a step for each token
    length = min(network.block_size, 2) if network.reads == "lines" else network.block_size
    return torch.arange(2 * length).view(2, -1) % network.vocab_size


def tanh_activations(network: Network, tokens: Tensor | PackedSequence) -> dict[str, Tensor]:
    """Return the outputs (B, ..., H) of the `nn.Tanh` layers of a network for its tokens, by the layers' names."""
    found: dict[str, Tensor] = {}
    names = {layer: name for name, layer in network.named_modules() if isinstance(layer, nn.Tanh)}
    if not names:
        return found

    def keep(layer: Any, _: Any, output: Tensor) -> None:
        found[names[layer]] = output

    with ExitStack() as hooks:
        for layer in names:
            hooks.enter_context(layer.register_forward_hook(keep))
        network(tokens)
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


class _WithoutDraws(TorchFunctionMode):
    """Neither draw weights nor scale them; with tensors without storage this imports torch's compiler, in 1.5 s."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = {name: value for name, value in (kwargs or {}).items() if name != "generator"}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return given["tensor"]
        if func in (Tensor.mul, Tensor.div) and args[0].is_floating_point() and isinstance(args[1], int | float):
            return args[0]
        return func(*args, **given)


_REGISTRY: dict[str, type[Network]] = {}
_N = TypeVar("_N", bound=type[Network])


def register(name: str) -> Callable[[_N], _N]:
    """Register a `Network` class, whose constructor takes `vocab_size`, `generator` and its own arguments."""

    def add(network: _N) -> _N:
        if name in _REGISTRY:
            raise UserError(f"{network.__module__}: there is a network {name} already; register it by another name")
        _REGISTRY[name] = network
        return network

    return add


def architectures() -> list[str]:
    """Return the names of the registered networks."""
    for module in pkgutil.iter_modules(models.__path__):
        importlib.import_module(f"{models.__name__}.{module.name}")
    return sorted(_REGISTRY)


def build(architecture: str, vocab_size: int, arguments: dict[str, Any], seed: int) -> Network:
    """Build a network of a registered name, with new weights, a function of the seed.

    `arguments` are those of the class beside `vocab_size` and `generator`. The seed determines the weights whether the
    class draws them from `generator` or leaves that to torch.nn.

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
    """Build a network with the tensors of `state`, its `state_dict`, without allocating others.

    `UserError` as for `build`; `ValueError` or `RuntimeError` if the weights are not those of such a network.
    """
    # allocates nothing, whatever sizes the arguments ask for
    with torch.device("meta"), _WithoutDraws():
        network = build(architecture, vocab_size, arguments, seed=0)
    wanted = network.state_dict()
    network.load_state_dict(state, assign=True)
    for name, tensor in network.state_dict().items():
        # assigning checks neither; a contiguous tensor has all its elements in the file
        if tensor.dtype != wanted[name].dtype or not tensor.is_contiguous():
            raise ValueError(f"{name} is not a plain tensor of {wanted[name].dtype}")
    return network
