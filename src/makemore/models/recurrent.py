"""Recurrent networks: tanh, GRU and LSTM layers over the embedded tokens of a line."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from makemore.errors import whole_number
from makemore.models.dropout import Dropout
from makemore.models.network import register
from makemore.models.sequence import Places, SequenceNetwork, State, data_of


class Recurrent(SequenceNetwork):
    """Embedding, recurrent layers of one kind, and an output layer.

    Args:
        block_size: the most tokens that a prediction depends on.
        embedding_dim: E, the dimension of the embedding.
        hidden_dim: H, the number of units in each layer.
        num_layers: the number of recurrent layers.
        dropout: the probability to drop an input of a layer, recurrent or output (Zaremba et al. 2014).
    """

    layer: ClassVar[Callable[..., nn.RNNBase]]

    def __init__(
        self,
        vocab_size: int,
        generator: torch.Generator,
        block_size: int = 32,
        embedding_dim: int = 64,
        hidden_dim: int = 64,
        num_layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.block_size = whole_number("model.block_size", block_size, at_least=1)
        whole_number("model.embedding_dim", embedding_dim, at_least=1)
        whole_number("model.hidden_dim", hidden_dim, at_least=1)
        whole_number("model.num_layers", num_layers, at_least=1, at_most=100)
        self.dropouts = nn.ModuleList(Dropout(dropout, layer) for layer in range(num_layers + 1))
        self.takes_key = dropout > 0
        self.embed = nn.Embedding(vocab_size, embedding_dim)
        inputs = [embedding_dim] + [hidden_dim] * (num_layers - 1)
        self.layers = nn.ModuleList(self.layer(size, hidden_dim, batch_first=True) for size in inputs)
        self.output = nn.Linear(hidden_dim, vocab_size)

    @property
    def embedding(self) -> Tensor:
        """The embedding (V, E) of the tokens."""
        return self.embed.weight

    def forward(self, tokens: Tensor | PackedSequence, key: Tensor | None = None) -> Tensor:
        """Return the logits after each token."""
        numbers = Places(tokens).numbers if key is not None else None
        x = self.embed(data_of(tokens))
        for layer, dropout in zip(self.layers, self.dropouts, strict=False):
            x = dropout(x, key, numbers)
            given = PackedSequence(x, tokens.batch_sizes) if isinstance(tokens, PackedSequence) else x
            x = data_of(layer(given)[0])
        return self.output(self.dropouts[-1](x, key, numbers))  # type: ignore[no-any-return]

    def step(self, tokens: Tensor, state: State | None) -> tuple[Tensor, State]:
        """See `SequenceNetwork`; the state has the hidden states (B, H) of each layer, and the cells of an LSTM."""
        x, new = self.embed(tokens).unsqueeze(1), []
        each = 1 if state is None else len(state) // len(self.layers)
        for number, layer in enumerate(self.layers):
            before: Any = None
            if state is not None:
                before = tuple(part.unsqueeze(0) for part in state[number * each : (number + 1) * each])
                before = before if each > 1 else before[0]
            x, after = layer(x, before)
            new += [part.squeeze(0) for part in (after if isinstance(after, tuple) else (after,))]
        return self.output(x.squeeze(1)), tuple(new)


@register("rnn")
class RNN(Recurrent):
    """The simple recurrent network with tanh units (Elman 1990)."""

    layer = nn.RNN


@register("gru")
class GRU(Recurrent):
    """The gated recurrent unit (Cho et al. 2014)."""

    layer = nn.GRU


@register("lstm")
class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""

    layer = nn.LSTM
