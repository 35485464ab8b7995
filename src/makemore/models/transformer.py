"""The transformer: pre-norm blocks of causal self-attention and an MLP (Vaswani et al. 2017; Radford et al. 2019)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from makemore.errors import UserError, one_of, true_or_false, whole_number
from makemore.models.dropout import Dropout
from makemore.models.network import register
from makemore.models.sequence import EmbeddedSequenceNetwork, Places, State, data_of

_MLP_FACTOR = 4


@register("transformer")
class Transformer(EmbeddedSequenceNetwork):
    """Embeddings of tokens and positions, blocks, and an output layer; the defaults are those of makemore.

    Args:
        block_size: the most tokens that a prediction depends on.
        embedding_dim: E, the width of all layers.
        num_layers: the number of blocks.
        num_heads: the heads of attention, which divide E.
        positions: "learned" (an embedding of positions) or "rotary" (Su et al. 2021).
        tied: whether the output layer has the weights of the embedding (Press and Wolf 2017).
        dropout: the probability to drop a number of the embedding or of what a layer adds.
    """

    def __init__(
        self,
        vocab_size: int,
        generator: torch.Generator,
        block_size: int = 32,
        embedding_dim: int = 64,
        num_layers: int = 4,
        num_heads: int = 4,
        positions: str = "learned",
        tied: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(vocab_size, block_size, embedding_dim, dropout)
        whole_number("model.num_layers", num_layers, at_least=1, at_most=100)
        whole_number("model.num_heads", num_heads, at_least=1)
        one_of("model.positions", positions, ("learned", "rotary"))
        self.tied = true_or_false("model.tied", tied)
        if embedding_dim % num_heads:
            raise UserError(f"model.num_heads={num_heads} does not divide model.embedding_dim={embedding_dim}")
        if positions == "rotary" and embedding_dim // num_heads % 2:
            size = f"model.embedding_dim={embedding_dim} by model.num_heads={num_heads}"
            raise UserError(f"model.positions=rotary turns pairs, and {size} is an odd number a head")
        self.embed_position = nn.Embedding(block_size, embedding_dim) if positions == "learned" else None
        self.dropout = Dropout(dropout, 0)
        self.blocks = nn.ModuleList(
            Block(embedding_dim, num_heads, positions == "rotary", dropout, layer) for layer in range(num_layers)
        )
        self.norm = nn.LayerNorm(embedding_dim)
        self.output = nn.Linear(embedding_dim, vocab_size, bias=False)
        # numbers of a place keep a variance near 1 through the layers (LeCun et al. 1998; Radford et al. 2019, section
        # 2.3); small logits, so that training starts near an NLL of log V
        for name, parameter in self.named_parameters():
            if name.startswith("embed"):
                nn.init.normal_(parameter, std=embedding_dim**-0.5 if tied else 1.0)
            elif name == "output.weight":
                nn.init.normal_(parameter, std=0.02)
            elif parameter.ndim > 1:
                added = name.endswith(("attention.output.weight", "mlp.2.weight"))
                nn.init.normal_(parameter, std=(parameter.shape[1] * (2 * num_layers if added else 1)) ** -0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        if tied:
            _tie(self)
            # loading may put other tensors in their place
            self.register_load_state_dict_post_hook(_tie)  # type: ignore[no-untyped-call]

    def forward(self, tokens: Tensor | PackedSequence, key: Tensor | None = None) -> Tensor:
        """Return the logits after each token."""
        places = Places(tokens)
        numbers = places.numbers if key is not None else None
        x = self.dropout(self._embedded(data_of(tokens), places.positions), key, numbers)
        for block in self.blocks:
            x = block(x, places, key, numbers)
        return self.output(self.norm(x))  # type: ignore[no-any-return]

    def step(self, tokens: Tensor, state: State | None) -> tuple[Tensor, State]:
        """See `SequenceNetwork`; the state has the keys and values (B, heads, t, D) of each block."""
        position = torch.tensor([0 if state is None else state[0].shape[2]], device=tokens.device)
        x, new = self._embedded(tokens, position), []
        block: Any
        for number, block in enumerate(self.blocks):
            before = None if state is None else state[2 * number : 2 * number + 2]
            x, after = block.step(x, position, before)
            new += after
        return self.output(self.norm(x)), tuple(new)

    def _embedded(self, tokens: Tensor, positions: Tensor) -> Tensor:
        x: Tensor = self.embed(tokens)
        return x if self.embed_position is None else x + self.embed_position(positions)


def _tie(network: Any, *_: Any) -> None:
    """Let the output layer have the weights of the embedding."""
    network.output.weight = network.embed.weight


class Block(nn.Module):
    """Attention and an MLP, each of which adds to the normed numbers of a place (Xiong et al. 2020)."""

    def __init__(self, embedding_dim: int, num_heads: int, rotary: bool, dropout: float, layer: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(embedding_dim), nn.LayerNorm(embedding_dim)
        self.attention = Attention(embedding_dim, num_heads, rotary)
        inner = _MLP_FACTOR * embedding_dim
        self.mlp = nn.Sequential(nn.Linear(embedding_dim, inner), nn.GELU("tanh"), nn.Linear(inner, embedding_dim))
        self.dropout1, self.dropout2 = Dropout(dropout, 2 * layer + 1), Dropout(dropout, 2 * layer + 2)

    def forward(self, x: Tensor, places: Places, key: Tensor | None, numbers: Tensor | None) -> Tensor:
        """Return the new numbers (B, T, E), or (N, E) if packed."""
        x = x + self.dropout1(self.attention(self.norm1(x), places), key, numbers)
        return x + self.dropout2(self.mlp(self.norm2(x)), key, numbers)  # type: ignore[no-any-return]

    def step(self, x: Tensor, position: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Return the new numbers (B, E) of the next place, and the keys and values of all so far."""
        added, new = self.attention.step(self.norm1(x), position, state)
        x = x + added
        return x + self.mlp(self.norm2(x)), new


class Attention(nn.Module):
    """Causal self-attention of several heads."""

    def __init__(self, embedding_dim: int, num_heads: int, rotary: bool) -> None:
        super().__init__()
        self.num_heads, self.rotary = num_heads, rotary
        self.input = nn.Linear(embedding_dim, 3 * embedding_dim)
        self.output = nn.Linear(embedding_dim, embedding_dim)

    def forward(self, x: Tensor, places: Places) -> Tensor:
        """Return what each place takes from itself and those before it."""
        query, key, value = self._heads(places.padded(self.input(x)))
        if self.rotary:
            positions = torch.arange(query.shape[2], device=x.device)
            query, key = rotated(query, positions), rotated(key, positions)
        found = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.output(places.packed(found.transpose(1, 2).flatten(2)))  # type: ignore[no-any-return]

    def step(self, x: Tensor, position: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Return what the next place takes, and keys and values (B, heads, t, D) with its own."""
        query, key, value = self._heads(self.input(x).unsqueeze(1))
        if self.rotary:
            query, key = rotated(query, position), rotated(key, position)
        if state is not None:
            key, value = torch.cat((state[0], key), 2), torch.cat((state[1], value), 2)
        found = F.scaled_dot_product_attention(query, key, value)
        return self.output(found.transpose(1, 2).flatten(1)), (key, value)

    def _heads(self, x: Tensor) -> list[Tensor]:
        """Return queries, keys and values (B, heads, T, D) of (B, T, 3 E)."""
        rows, length, _ = x.shape
        return [part.view(rows, length, self.num_heads, -1).transpose(1, 2) for part in x.chunk(3, 2)]


def rotated(x: Tensor, positions: Tensor) -> Tensor:
    """Turn the pairs of numbers of each place (..., T, D) by angles that grow with its position (T,)."""
    half = x.shape[-1] // 2
    frequencies = 10000 ** (-torch.arange(half, dtype=x.dtype, device=x.device) / half)
    angles = positions.to(x.dtype).unsqueeze(-1) * frequencies
    cos, sin = angles.cos(), angles.sin()
    first, second = x[..., :half], x[..., half:]
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)
