"""Negative log-likelihood, exact whatever the batch size: sums over characters, never averages of batch means."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from makemore.data.windows import CountedWindows
from makemore.errors import DivergedError
from makemore.models.network import Network, evaluating

# Rows of logits in memory at once: 16,384 x 27 float32 are 1.8 MB.
_ROWS = 2**14


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


@torch.no_grad()
def exact_nll(network: Network, windows: CountedWindows) -> NLL:
    """Return the NLL of all examples of `windows`, each distinct context evaluated once, summed in float64.

    The network is evaluated in evaluation mode, and has its mode back afterwards.

    Raises:
        DivergedError: the network gives no probabilities, as after a step that was too long.
    """
    total = 0.0
    for first in range(0, len(windows.contexts), _ROWS):
        # the pairs are in the order of their contexts
        bounds = torch.tensor([first, first + _ROWS], device=windows.pair_context.device)
        begin, end = torch.searchsorted(windows.pair_context, bounds).tolist()
        with evaluating(network):
            log_probs = F.log_softmax(network(windows.contexts[first : first + _ROWS].long()), dim=-1)
        # one flat index is found faster than a pair of them
        pairs = (windows.pair_context[begin:end].long() - first) * log_probs.shape[1] + windows.pair_target[begin:end]
        chosen = log_probs.flatten()[pairs]
        total -= float((chosen.cpu().double() * windows.pair_count[begin:end].cpu()).sum())
    if math.isnan(total):
        raise DivergedError("the NLL is not a number, the weights are too large; train with a lower optimizer.lr")
    return NLL(total, windows.total)
