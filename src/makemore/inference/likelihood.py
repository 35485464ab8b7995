"""Log-probabilities and the exact NLL, whatever the batch size: sums over characters, never means of batch means."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from makemore.data.windows import CountedWindows
from makemore.errors import DivergedError
from makemore.models.network import Network, evaluating

# Rows of logits in memory at once: 16,384 x 27 float32 are 1.8 MB.
_ROWS = 2**14
NO_PROBABILITIES = "the model gives no probabilities, its weights are too large; train with a lower optimizer.lr"


@dataclass(frozen=True)
class NLL:
    """A sum of negative log-likelihoods, in nats, over a number of characters (each item's end is one)."""

    total: float
    characters: int

    @property
    def nats(self) -> float:
        """Mean NLL, nats a character; inf where something was given probability 0."""
        return self.total / self.characters

    @property
    def bits_per_char(self) -> float:
        """Mean NLL, bits a character."""
        return self.nats / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(mean NLL): how many equally likely characters would be as hard to guess."""
        return math.exp(self.nats) if self.nats < 700 else math.inf

    def as_dict(self, split: str) -> dict[str, float | bool | None]:
        """Return the metrics as JSON can hold them: an infinite NLL is null with a flag."""
        values = {"nll": self.nats, "bits_per_char": self.bits_per_char, "perplexity": self.perplexity}
        metrics: dict[str, float | bool | None] = {
            f"{split}/{name}": value if math.isfinite(value) else None for name, value in values.items()
        }
        return metrics | {f"{split}/infinite": True} if math.isinf(self.nats) else metrics


@dataclass(frozen=True)
class Predictions:
    """Log-probabilities, in nats, of all tokens after each of some contexts, and of those that follow in the text.

    Args:
        contexts: (R, T) as int64.
        log_probs: (R, V) of every token after each context.
        rows: (P,) the context of each pair of a context and a token that follows it, ascending.
        targets: (P,) that token.
        counts: (P,) how often.
        chosen: (P,) its log-probability.
    """

    contexts: Tensor
    log_probs: Tensor
    rows: Tensor
    targets: Tensor
    counts: Tensor
    chosen: Tensor


@torch.no_grad()
def log_probs(
    network: Network, windows: CountedWindows, rows: int, dtype: torch.dtype | None = None
) -> Iterator[Predictions]:
    """Yield what a network predicts for counted windows, in chunks of at most `rows` contexts.

    Args:
        network: on the device of the windows; it reads the last `block_size` tokens of each context.
        windows: each context is evaluated once.
        rows: contexts whose logits are in memory at once.
        dtype: of the softmax; None is that of the logits.

    The network is evaluated in evaluation mode, and has its mode back afterwards.

    Raises:
        DivergedError: the network gives no probabilities, as after a step that was too long.
    """
    for first in range(0, len(windows.contexts), rows):
        # the pairs are in the order of their contexts
        bounds = torch.tensor([first, first + rows], device=windows.pair_context.device)
        pairs = slice(*torch.searchsorted(windows.pair_context, bounds).tolist())
        contexts = windows.contexts[first : first + rows].long()
        with evaluating(network):
            logits = network(contexts[:, contexts.shape[1] - network.block_size :])
        found = F.log_softmax(logits, dim=-1, dtype=dtype)
        row, targets = windows.pair_context[pairs].long() - first, windows.pair_target[pairs]
        # one flat index is found faster than a pair of them
        chosen = found.flatten()[row * network.vocab_size + targets]
        if chosen.isnan().any():
            raise DivergedError(NO_PROBABILITIES)
        yield Predictions(contexts, found, row, targets, windows.pair_count[pairs], chosen)


def exact_nll(network: Network, windows: CountedWindows) -> NLL:
    """Return the NLL of all examples of `windows`, each distinct context evaluated once, summed in float64.

    Raises:
        DivergedError: the network gives no probabilities.
    """
    total = 0.0
    for part in log_probs(network, windows, _ROWS):
        total -= float((part.chosen.cpu().double() * part.counts.cpu()).sum())
    return NLL(total, windows.total)
