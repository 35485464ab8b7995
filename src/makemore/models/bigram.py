"""The neural bigram: a weight matrix of the logits of the next token, a row per token (L0, L1, L4)."""

import torch
from torch import Tensor, nn

from makemore.errors import one_of
from makemore.models.network import Network, register


@register("bigram")
class Bigram(Network):
    """A bigram model whose logits are rows of W; the lessons' one-hot product is 27 times slower.

    Args:
        init: "normal" is the lessons' draw from N(0, 1), to the bit; "scaled" starts near an NLL of log V.
    """

    block_size = 1

    def __init__(self, vocab_size: int, generator: torch.Generator, init: str = "scaled") -> None:
        super().__init__()
        one_of("model.init", init, ("scaled", "normal"))
        self.vocab_size = vocab_size
        scale = 1.0 if init == "normal" else 0.01
        self.W = nn.Parameter(torch.randn((vocab_size, vocab_size), generator=generator) * scale)

    def forward(self, contexts: Tensor) -> Tensor:
        """Return logits (B, V) for contexts (B, 1)."""
        return self.W[contexts[:, 0]]
