"""The causal bag of words of makemore: each place sees the mean of all places up to it."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from makemore.errors import whole_number
from makemore.models.dropout import Dropout
from makemore.models.network import register
from makemore.models.sequence import EmbeddedSequenceNetwork, Places, State, data_of


@register("bow")
class BagOfWords(EmbeddedSequenceNetwork):
    """Embeddings of tokens and positions, plus their mean up to each place, plus a tanh MLP of that; an output layer.

    Args:
        block_size: the most tokens that a prediction depends on.
        embedding_dim: E, the dimension of the embeddings.
        hidden_dim: H, the number of tanh units.
        dropout: the probability to drop a number of the embedding or of what a layer adds.
    """

    def __init__(
        self,
        vocab_size: int,
        generator: torch.Generator,
        block_size: int = 32,
        embedding_dim: int = 64,
        hidden_dim: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(vocab_size, block_size, embedding_dim, dropout)
        whole_number("model.hidden_dim", hidden_dim, at_least=1)
        self.dropouts = nn.ModuleList(Dropout(dropout, layer) for layer in range(3))
        self.embed_position = nn.Embedding(block_size, embedding_dim)
        self.mlp = nn.Sequential(nn.Linear(embedding_dim, hidden_dim), nn.Tanh(), nn.Linear(hidden_dim, embedding_dim))
        self.output = nn.Linear(embedding_dim, vocab_size)

    def forward(self, tokens: Tensor | PackedSequence, key: Tensor | None = None) -> Tensor:
        """Return the logits after each token."""
        places = Places(tokens)
        numbers = places.numbers if key is not None else None
        x = self.dropouts[0](self.embed(data_of(tokens)) + self.embed_position(places.positions), key, numbers)
        sums = places.packed(places.padded(x).cumsum(1))
        x = x + self.dropouts[1](sums / (places.positions.unsqueeze(-1) + 1), key, numbers)
        return self.output(x + self.dropouts[2](self.mlp(x), key, numbers))  # type: ignore[no-any-return]

    def step(self, tokens: Tensor, state: State | None) -> tuple[Tensor, State]:
        """See `SequenceNetwork`; the state has the sums (B, E), and the numbers (B,) of the tokens so far."""
        count = torch.zeros_like(tokens) if state is None else state[1]
        x = self.embed(tokens) + self.embed_position(count)
        total = x if state is None else state[0] + x
        x = x + total / (count.unsqueeze(-1) + 1)
        return self.output(x + self.mlp(x)), (total, count + 1)
