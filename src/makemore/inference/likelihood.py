"""Log-probabilities of a network on counted windows, and the exact NLL: a sum over characters, not a mean of means."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from makemore.data.windows import CountedWindows
from makemore.errors import DivergedError
from makemore.inference.prefix_tree import prefix_trees
from makemore.models.network import Network, evaluating
from makemore.models.sequence import SequenceNetwork

# contexts evaluated at once: logits of 16,384 x 27 float32 are 1.8 MB; fewer where their logits would be more numbers
_ROWS = 2**14
_NUMBERS = 2**21
NO_PROBABILITIES = "the model gives no probabilities, its weights are too large; train with a lower optimizer.lr"


@dataclass(frozen=True)
class NLL:
    """A sum of negative log-likelihoods, in nats, over a number of characters, including the ends of items."""

    total: float
    characters: int

    @property
    def nats(self) -> float:
        """Mean NLL, nats a character; inf if a character has probability 0."""
        return self.total / self.characters

    @property
    def bits_per_char(self) -> float:
        """Mean NLL, bits a character."""
        return self.nats / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(mean NLL): the number of equally likely characters that would be as hard to predict."""
        return math.exp(self.nats) if self.nats < 700 else math.inf


@dataclass(frozen=True)
class Predictions:
    """Log-probabilities (R, V), in nats, of every token after each context (R, T) of a chunk of counted windows.

    For each pair, (P,): the row of its context, ascending; its token; its count; the log-probability of its token; and
    where in the windows these pairs are.
    """

    contexts: Tensor
    log_probs: Tensor
    pairs: Tensor | slice
    rows: Tensor
    targets: Tensor
    counts: Tensor
    chosen: Tensor


@torch.no_grad()
def log_probs(
    network: Network, windows: CountedWindows, rows: int, dtype: torch.dtype | None = None
) -> Iterator[Predictions]:
    """Yield the predictions of a network for counted windows on its device, in chunks of at most `rows` contexts.

    The network is put into evaluation mode meanwhile, and is given the last `block_size` tokens of each context; the
    contexts may be longer. `dtype` is that of the softmax, None that of the logits.

    Raises:
        DivergedError: a log-probability is not a number.
    """
    if isinstance(network, SequenceNetwork):
        chunks = _by_prefix(network, windows, rows)
    else:
        chunks = _by_context(network, windows, rows)
    with evaluating(network):
        for contexts, logits, row, pairs in chunks:
            found = F.log_softmax(logits, dim=-1, dtype=dtype)
            targets = windows.pair_target[pairs]
            # a flat index is faster than a pair of indices
            chosen = found.flatten()[row * network.vocab_size + targets]
            if chosen.isnan().any():
                raise DivergedError(NO_PROBABILITIES)
            yield Predictions(contexts, found, pairs, row, targets, windows.pair_count[pairs], chosen)


# contexts of a chunk, the logits after them, and the pairs: the row of each in the chunk, and its place in the windows
_Chunk = tuple[Tensor, Tensor, Tensor, Tensor | slice]


def _by_context(network: Network, windows: CountedWindows, rows: int) -> Iterator[_Chunk]:
    for first in range(0, len(windows.contexts), rows):
        # pairs are in the order of their contexts
        bounds = torch.tensor([first, first + rows], device=windows.pair_context.device)
        pairs = slice(*torch.searchsorted(windows.pair_context, bounds).tolist())
        contexts = windows.contexts[first : first + rows].long()
        logits = network(contexts[:, contexts.shape[1] - network.block_size :])
        yield contexts, logits, windows.pair_context[pairs].long() - first, pairs


def _by_prefix(network: SequenceNetwork, windows: CountedWindows, rows: int) -> Iterator[_Chunk]:
    device = windows.contexts.device
    size = min(network.block_size, windows.contexts.shape[1])
    contexts = windows.contexts[:, windows.contexts.shape[1] - size :].cpu().numpy()
    for tree in prefix_trees(contexts, windows.start, rows):
        chosen = torch.from_numpy(tree.chosen).to(device)
        bounds = torch.stack([chosen, chosen + 1]).to(windows.pair_context.dtype)
        firsts, ends = torch.searchsorted(windows.pair_context, bounds)
        counts = ends - firsts
        row = torch.arange(len(chosen), device=device).repeat_interleave(counts)
        # the pairs of each chosen context, one after another
        pairs = torch.arange(len(row), device=device) + (firsts - counts.cumsum(0) + counts)[row]
        yield windows.contexts[chosen].long(), tree.logits(network, device), row, pairs


def most_rows(network: Network) -> int:
    """Return how many contexts to evaluate at once."""
    return min(_ROWS, max(_NUMBERS // network.vocab_size, 1))


def exact_nll(network: Network, windows: CountedWindows) -> NLL:
    """Return the NLL of all examples of `windows`, summed in float64; raise `DivergedError` as `log_probs` does."""
    total = 0.0
    for part in log_probs(network, windows, most_rows(network)):
        total -= float((part.chosen.cpu().double() * part.counts.cpu()).sum())
    return NLL(total, windows.total)
