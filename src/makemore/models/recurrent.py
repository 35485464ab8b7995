"""Recurrent networks: tanh, GRU and LSTM layers over the embedded tokens of a line."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from makemore.errors import whole_number
from makemore.models.dropout import Dropout
from makemore.models.network import register
from makemore.models.sequence import EmbeddedSequenceNetwork, Places, State, data_of


class Recurrent(EmbeddedSequenceNetwork):
    """Embedding, recurrent layers of one kind, and an output layer.

    Args:
        block_size: the most tokens that a prediction depends on.
        embedding_dim: E, the dimension of the embedding.
        hidden_dim: H, the number of units in each layer.
        num_layers: the number of recurrent layers.
        dropout: the probability to drop an input of a layer, recurrent or output (Zaremba et al. 2014).
    """

    # torch's cell, and its function for packed sequences: (tokens, sizes, start, weights, ...) -> outputs, ...
    cell: ClassVar[Callable[..., nn.RNNCellBase]]
    packed: ClassVar[Callable[..., tuple[Tensor, ...]]]
    # tensors in the state of a layer
    parts = 1

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
        super().__init__(vocab_size, block_size, embedding_dim, dropout)
        self.hidden_dim = whole_number("model.hidden_dim", hidden_dim, at_least=1)
        whole_number("model.num_layers", num_layers, at_least=1, at_most=100)
        self.dropouts = nn.ModuleList(Dropout(dropout, layer) for layer in range(num_layers + 1))
        inputs = [embedding_dim] + [hidden_dim] * (num_layers - 1)
        self.layers = nn.ModuleList(self.cell(size, hidden_dim) for size in inputs)
        self.output = nn.Linear(hidden_dim, vocab_size)

    def forward(self, tokens: Tensor | PackedSequence, key: Tensor | None = None) -> Tensor:
        """Return the logits after each token."""
        numbers = Places(tokens).numbers if key is not None else None
        x = self.embed(data_of(tokens))
        for layer, dropout in zip(self.layers, self.dropouts, strict=False):
            x = dropout(x, key, numbers)
            if isinstance(tokens, PackedSequence):
                x = self._over_packed(x, tokens.batch_sizes, layer)
            else:
                state, outputs = self._start(x), []
                for inputs in x.unbind(1):
                    state = self._next(layer, inputs, state)
                    outputs.append(state[0])
                x = torch.stack(outputs, 1)
        return self.output(self.dropouts[-1](x, key, numbers))  # type: ignore[no-any-return]

    def step(self, tokens: Tensor, state: State | None) -> tuple[Tensor, State]:
        """See `SequenceNetwork`; the state has the outputs (B, H) of each layer, and the memories of an LSTM."""
        new: State = ()
        x = self.embed(tokens)
        for number, layer in enumerate(self.layers):
            before = self._start(x) if state is None else state[number * self.parts : (number + 1) * self.parts]
            after = self._next(layer, x, before)
            x = after[0]
            new += after
        return self.output(x), new

    def _start(self, x: Tensor) -> State:
        return (x.new_zeros(x.shape[0], self.hidden_dim),) * self.parts

    def _next(self, layer: nn.Module, x: Tensor, state: State) -> State:
        if self.parts == 1:
            return (layer(x, *state),)
        output, memory = layer(x, state)
        return output, memory

    def _over_packed(self, x: Tensor, sizes: Tensor, layer: nn.Module) -> Tensor:
        """Return the outputs (N, H) of a layer for packed inputs (N, E); several times as fast as cell by cell."""
        start = tuple(x.new_zeros(1, int(sizes[0]), self.hidden_dim) for _ in range(self.parts))
        given = start if self.parts > 1 else start[0]
        # with biases, one layer, no dropout, training, one direction
        return type(self).packed(x, sizes, given, list(layer.parameters()), True, 1, 0.0, True, False)[0]


@register("rnn")
class RNN(Recurrent):
    """The simple recurrent network with tanh units (Elman 1990)."""

    cell, packed = nn.RNNCell, torch.rnn_tanh


@register("gru")
class GRU(Recurrent):
    """The gated recurrent unit (Cho et al. 2014)."""

    cell, packed = nn.GRUCell, torch.gru


@register("lstm")
class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""

    cell, packed = nn.LSTMCell, torch.lstm
    parts = 2
