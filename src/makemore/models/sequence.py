"""The contract of networks over whole lines: logits after every token, from all tokens before it in the line.

Batches are padded, (B, T), where shapes must not vary (compiled steps, members of a group), and packed without padding
otherwise: half of a padded batch of names is padding.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from makemore.errors import real_number, whole_number
from makemore.models.dropout import places_of
from makemore.models.network import Network

# of the tokens so far: tensors with a row for each sequence in their first dimension
State = tuple[Tensor, ...]


class SequenceNetwork(Network):
    """A network that reads lines from their start token on.

    `forward(tokens, key)` maps tokens to the logits of the token after each: (B, T) to (B, T, V), or a
    `PackedSequence` of N tokens to (N, V) in its order. No logit depends on a later token. `key`, a () int64 number of
    the step, determines the masks of dropout; None is no dropout.
    """

    reads = "lines"

    @abstractmethod
    def forward(self, tokens: Tensor | PackedSequence, key: Tensor | None = None) -> Tensor:
        """Return the logits after each token."""

    @abstractmethod
    def step(self, tokens: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Return the logits (B, V) after tokens (B,) and the new state; `state` None is the start of the sequences.

        Repeated over the tokens of a sequence it gives what `forward` does. A state is never changed in place.
        """


class EmbeddedSequenceNetwork(SequenceNetwork):
    """A sequence network whose first layer is an embedding of the tokens.

    Args:
        vocab_size: V, the number of tokens.
        block_size: the most tokens that a prediction depends on.
        embedding_dim: E, the dimension of the embedding.
        dropout: the probability to drop a number.
    """

    def __init__(self, vocab_size: int, block_size: int, embedding_dim: int, dropout: float) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.block_size = whole_number("model.block_size", block_size, at_least=1)
        self.takes_key = real_number("model.dropout", dropout, at_least=0, below=1) > 0
        self.embed = nn.Embedding(vocab_size, whole_number("model.embedding_dim", embedding_dim, at_least=1))

    @property
    def embedding(self) -> Tensor:
        """The embedding (V, E) of the tokens."""
        return self.embed.weight


class Places:
    """Where the tokens of a batch are: row and position of each, int32, and how to pad and pack numbers of them."""

    def __init__(self, tokens: Tensor | PackedSequence) -> None:
        if isinstance(tokens, PackedSequence):
            device = tokens.data.device
            sizes = tokens.batch_sizes.to(device)
            self.shape: tuple[int, int] | None = (int(tokens.batch_sizes[0]), len(tokens.batch_sizes))
            self.positions = torch.arange(self.shape[1], dtype=torch.int32, device=device).repeat_interleave(sizes)
            starts = (sizes.cumsum(0) - sizes).to(torch.int32)
            self.rows = torch.arange(len(tokens.data), dtype=torch.int32, device=device) - starts[self.positions]
            self._index = self.rows.long() * self.shape[1] + self.positions
        else:
            self.shape = None
            self.positions = torch.arange(tokens.shape[1], dtype=torch.int32, device=tokens.device)
            self.rows = torch.arange(tokens.shape[0], dtype=torch.int32, device=tokens.device).unsqueeze(1)

    @property
    def numbers(self) -> Tensor:
        """The number of each place, for dropout: (B, T), or (N,) if packed."""
        return places_of(self.rows, self.positions)

    def padded(self, x: Tensor) -> Tensor:
        """Return numbers (N, H) of packed tokens as (B, T, H), zero beyond the ends; padded ones as they are."""
        if self.shape is None:
            return x
        rows, length = self.shape
        return x.new_zeros(rows * length, x.shape[-1]).index_copy(0, self._index, x).view(rows, length, -1)

    def packed(self, x: Tensor) -> Tensor:
        """Undo `padded`."""
        return x if self.shape is None else x.flatten(0, 1).index_select(0, self._index)


def data_of(tokens: Tensor | PackedSequence) -> Tensor:
    """Return the tokens themselves: (B, T), or (N,) if packed."""
    return tokens.data if isinstance(tokens, PackedSequence) else tokens
