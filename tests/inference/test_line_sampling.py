"""Checks sampling from networks over lines against the plain loop, which runs the whole prefix for each character."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.vocabulary import Vocabulary
from makemore.inference.sampling import Distributions, SamplingOptions, sample
from makemore.models.network import Network, build


def network_of(size: int, block_size: int, seed: int) -> Network:
    network = build("gru", size, {"block_size": block_size, "embedding_dim": 3, "hidden_dim": 5}, seed)
    with torch.no_grad():
        network.output.bias.add_(torch.randn(size, generator=torch.Generator().manual_seed(seed)))  # type: ignore[union-attr, operator]
    return network


def one_after_another(
    network: Network, vocabulary: Vocabulary, n: int, seed: int, options: SamplingOptions
) -> list[str]:
    """Draw as L4 does: each character from the distribution after the last `block_size` tokens."""
    network, generator = network.double(), torch.Generator().manual_seed(seed)
    distribution, found = Distributions(vocabulary, options), []
    for _ in range(n):
        tokens = [vocabulary.start, *vocabulary.encode(options.prompt)]
        while len(tokens) - 1 < options.max_length:
            with torch.no_grad():
                logits = network(torch.tensor([tokens[-network.block_size :]]))[:, -1]
            uniform = torch.rand(1, dtype=torch.float64, generator=generator)
            token = int(torch.searchsorted(distribution(logits)[0], uniform, right=True))
            if token == vocabulary.end:
                break
            tokens.append(token)
        found.append(vocabulary.decode(tokens[1:]))
    return found


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    block_size=st.integers(1, 12),
    boundary=st.sampled_from(["shared", "separate"]),
    prompt=st.sampled_from(["", "a", "abcabc"]),
    temperature=st.sampled_from([1.0, 0.7]),
    top_k=st.sampled_from([None, 2]),
    max_length=st.sampled_from([6, 7, 30]),
)
def test_names_are_those_of_the_plain_loop(
    seed: int, block_size: int, boundary: str, prompt: str, temperature: float, top_k: int | None, max_length: int
) -> None:
    vocabulary = Vocabulary("abc", boundary)
    network = network_of(vocabulary.size, block_size, seed)
    options = SamplingOptions(prompt, temperature, top_k, max_length)
    names = sample(network, vocabulary, 12, seed, options)
    assert names == one_after_another(network, vocabulary, 12, seed, options)
    assert sample(network, vocabulary, 5, seed, options) == names[:5]


@pytest.mark.parametrize("arguments", [{"num_heads": 2, "embedding_dim": 8, "num_layers": 1}])
def test_so_are_those_of_a_transformer(arguments: dict[str, int]) -> None:
    vocabulary = Vocabulary("abc")
    network = build("transformer", 4, {"block_size": 10, **arguments}, 0)
    options = SamplingOptions(max_length=30)
    assert sample(network, vocabulary, 60, 1, options) == one_after_another(network, vocabulary, 60, 1, options)
