"""The MLP over a context window: embedding, tanh hidden layers, output (Bengio et al. 2003, section 2; L2).

The lectures' part 3 examines its initial weights and adds batch norm.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from makemore.errors import one_of, true_or_false, whole_number
from makemore.models.batch_norm import BatchNorm
from makemore.models.network import Network, register


class _Scale(NamedTuple):
    """Draws of a layer from N(0, 1): weights times gain / fan-in ** power, biases times bias; none for a bias of 0."""

    gain: float
    power: float
    bias: float


# of the hidden layers and of the output
_INITS = {
    "scaled": (_Scale(5 / 3, 0.5, 0), _Scale(0.1, 0.5, 0)),
    "normal": (_Scale(1, 0, 1), _Scale(1, 0, 1)),
    "small_output": (_Scale(1, 0, 1), _Scale(0.01, 0, 0)),
    "small_hidden": (_Scale(0.2, 0, 0.01), _Scale(0.01, 0, 0)),
    "kaiming": (_Scale(5 / 3, 0.5, 0.01), _Scale(0.01, 0, 0)),
}


@register("mlp")
class MLP(Network):
    """Concatenated embeddings of the context, tanh hidden layers, and an output layer.

    Weights are drawn in the order C, W1, b1, W2, b2, ...; the last are those of the output.

    Args:
        block_size: T, the length of the context.
        embedding_dim: E, the dimension of the embedding.
        hidden_dim: H, the number of tanh units in a layer.
        init: "normal" is the lesson's draw, to the bit: all from N(0, 1).
            "scaled" draws the weights alone, with the tanh gain 5/3 over sqrt(fan-in) for the hidden layers
            (He et al. 2015, section 2.2), and an output so small that training starts near an NLL of log V.
            The others are part 3's, in its order, each after "normal": "small_output" has output weights times 0.01,
            and no bias there; "small_hidden" also has hidden weights times 0.2 and biases times 0.01; "kaiming" has
            5/3 over sqrt(fan-in) in place of that 0.2.
        num_layers: hidden layers.
        batch_norm: normalise before each tanh, in place of the hidden biases (part 3).
        output_norm: normalise the logits too, in place of the output bias, with a gain that starts at 0.1 (part 3).
        momentum: see `BatchNorm`.
    """

    def __init__(
        self,
        vocab_size: int,
        generator: torch.Generator,
        block_size: int = 3,
        embedding_dim: int = 2,
        hidden_dim: int = 100,
        init: str = "scaled",
        num_layers: int = 1,
        batch_norm: bool = False,
        output_norm: bool = False,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.block_size = whole_number("model.block_size", block_size, at_least=1)
        whole_number("model.embedding_dim", embedding_dim, at_least=1)
        whole_number("model.hidden_dim", hidden_dim, at_least=1)
        whole_number("model.num_layers", num_layers, at_least=1, at_most=100)
        true_or_false("model.batch_norm", batch_norm)
        true_or_false("model.output_norm", output_norm)
        hidden, output = _INITS[one_of("model.init", init, tuple(_INITS))]

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        self.C = nn.Parameter(normal(vocab_size, embedding_dim))
        fan_in = block_size * embedding_dim
        layers = [(hidden_dim, hidden, batch_norm)] * num_layers + [(vocab_size, output, output_norm)]
        for layer, (size, scale, norm) in enumerate(layers, 1):
            setattr(self, f"W{layer}", nn.Parameter(normal(fan_in, size) * scale.gain / fan_in**scale.power))
            setattr(self, f"norm{layer}", BatchNorm(size, momentum) if norm else None)
            if not norm:
                setattr(
                    self, f"b{layer}", nn.Parameter(normal(size) * scale.bias if scale.bias else torch.zeros(size))
                )
            fan_in = size
        if output_norm:
            nn.init.constant_(getattr(self, f"norm{len(layers)}").gain, 0.1)
        # the name of a single one is older
        self._tanhs = [f"hidden{layer}" for layer in range(1, len(layers))] if num_layers > 1 else ["hidden"]
        for name in self._tanhs:
            setattr(self, name, nn.Tanh())

    @property
    def embedding(self) -> Tensor:
        """The embedding (V, E) of the tokens."""
        return self.C

    def forward(self, contexts: Tensor) -> Tensor:
        """Return logits (B, V) for contexts (B, T)."""
        values = self.C[contexts].flatten(1)
        for layer, tanh in enumerate(self._tanhs, 1):
            values = getattr(self, tanh)(self._linear(layer, values))
        return self._linear(len(self._tanhs) + 1, values)

    def _linear(self, layer: int, values: Tensor) -> Tensor:
        weight, norm = getattr(self, f"W{layer}"), getattr(self, f"norm{layer}")
        if norm is None:
            return torch.addmm(getattr(self, f"b{layer}"), values, weight)
        normalised: Tensor = norm(values @ weight)
        return normalised
