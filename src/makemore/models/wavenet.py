"""The hierarchical network of the lectures' part 5: neighbours fused in pairs (WaveNet, van den Oord et al. 2016)."""

import torch
from torch import Tensor, nn

from makemore.errors import UserError, whole_number
from makemore.models.batch_norm import BatchNorm
from makemore.models.network import Network, register


class Fusion(nn.Module):
    """A level of the hierarchy: each two neighbours through a linear layer, batch norm and tanh."""

    def __init__(self, fan_in: int, hidden_dim: int, momentum: float, generator: torch.Generator) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn((fan_in, hidden_dim), generator=generator) * (5 / 3) / fan_in**0.5)
        self.norm = BatchNorm(hidden_dim, momentum)
        self.tanh = nn.Tanh()

    def forward(self, values: Tensor) -> Tensor:
        """Return (B, T / 2, H) for values (B, T, C)."""
        pairs = values.reshape(values.shape[0], values.shape[1] // 2, -1)
        fused: Tensor = self.tanh(self.norm(pairs @ self.W))
        return fused


@register("wavenet")
class WaveNet(Network):
    """Embeddings of the context, fused in pairs until one vector is left, and an output layer.

    Weights start as those of the MLP do with `init="scaled"`. Batch norm takes its statistics over batch and
    positions, as part 5 ends with; those of its hierarchy before, of each position apart, are a mistake there.

    Args:
        block_size: T, the length of the context, a power of two: level l has T / 2^l vectors.
        embedding_dim: E, the dimension of the embedding.
        hidden_dim: H, the number of tanh units in each vector.
        momentum: see `BatchNorm`.
    """

    def __init__(
        self,
        vocab_size: int,
        generator: torch.Generator,
        block_size: int = 8,
        embedding_dim: int = 24,
        hidden_dim: int = 128,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.block_size = whole_number("model.block_size", block_size, at_least=2)
        if block_size & (block_size - 1):
            near = 2 ** (block_size.bit_length() - 1)
            mend = f"neighbours are fused in pairs; take {near} or {2 * near}"
            raise UserError(f"model.block_size must be a power of two, not {block_size}: {mend}")
        whole_number("model.embedding_dim", embedding_dim, at_least=1)
        whole_number("model.hidden_dim", hidden_dim, at_least=1)
        self.C = nn.Parameter(torch.randn((vocab_size, embedding_dim), generator=generator))
        sizes = [embedding_dim] + [hidden_dim] * (block_size.bit_length() - 2)
        self.levels = nn.Sequential(*(Fusion(2 * size, hidden_dim, momentum, generator) for size in sizes))
        self.W = nn.Parameter(torch.randn((hidden_dim, vocab_size), generator=generator) * 0.1 / hidden_dim**0.5)
        self.b = nn.Parameter(torch.zeros(vocab_size))

    @property
    def embedding(self) -> Tensor:
        """The embedding (V, E) of the tokens."""
        return self.C

    def forward(self, contexts: Tensor) -> Tensor:
        """Return logits (B, V) for contexts (B, T)."""
        return torch.addmm(self.b, self.levels(self.C[contexts]).flatten(1), self.W)
