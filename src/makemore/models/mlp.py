"""The MLP over a context window: embedding, tanh hidden layer, output (Bengio et al. 2003, section 2; L2)."""

import torch
from torch import Tensor, nn

from makemore.errors import one_of, whole_number
from makemore.models.network import Network, register


@register("mlp")
class MLP(Network):
    """Concatenated embeddings of the context, a tanh hidden layer, and an output layer.

    Args:
        block_size: T, the length of the context.
        embedding_dim: E, the dimension of the embedding.
        hidden_dim: H, the number of tanh units.
        init: "normal" is the lesson's draw, to the bit: C, W1, b1, W2, b2 in this order, all from N(0, 1).
            "scaled" draws the weights alone, with the tanh gain 5/3 over sqrt(fan-in) for the hidden layer
            (He et al. 2015, section 2.2), and an output so small that training starts near an NLL of log V.
    """

    def __init__(
        self,
        vocab_size: int,
        generator: torch.Generator,
        block_size: int = 3,
        embedding_dim: int = 2,
        hidden_dim: int = 100,
        init: str = "scaled",
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.block_size = whole_number("model.block_size", block_size, at_least=1)
        whole_number("model.embedding_dim", embedding_dim, at_least=1)
        whole_number("model.hidden_dim", hidden_dim, at_least=1)
        one_of("model.init", init, ("scaled", "normal"))
        fan_in = block_size * embedding_dim

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        if init == "normal":
            c, w1, b1 = normal(vocab_size, embedding_dim), normal(fan_in, hidden_dim), normal(hidden_dim)
            w2, b2 = normal(hidden_dim, vocab_size), normal(vocab_size)
        else:
            c, w1 = normal(vocab_size, embedding_dim), normal(fan_in, hidden_dim) * (5 / 3) / fan_in**0.5
            b1, b2 = torch.zeros(hidden_dim), torch.zeros(vocab_size)
            w2 = normal(hidden_dim, vocab_size) * 0.1 / hidden_dim**0.5
        self.C, self.W1, self.b1 = nn.Parameter(c), nn.Parameter(w1), nn.Parameter(b1)
        self.W2, self.b2 = nn.Parameter(w2), nn.Parameter(b2)
        self.hidden = nn.Tanh()

    @property
    def embedding(self) -> Tensor:
        """The embedding (V, E) of the tokens."""
        return self.C

    def forward(self, contexts: Tensor) -> Tensor:
        """Return logits (B, V) for contexts (B, T)."""
        embedded = self.C[contexts].flatten(1)
        hidden = self.hidden(torch.addmm(self.b1, embedded, self.W1))
        return torch.addmm(self.b2, hidden, self.W2)
