"""Checks the hierarchical network: part 5's sizes, its formula by loops, its start near log V, and bad lengths."""

import math

import pytest
import torch
import torch.nn.functional as F

from makemore.errors import UserError
from makemore.models.network import build, restore, tanh_activations
from makemore.models.wavenet import WaveNet
from makemore.training.draws import renewed_buffers, side_effects


def contexts_of(batch: int, block_size: int, vocab_size: int = 27) -> torch.Tensor:
    return torch.randint(0, vocab_size, (batch, block_size), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize(
    ("embedding_dim", "hidden_dim", "parameters"),
    [(10, 68, 22_397), (24, 128, 76_579)],  # part 5: 22K, 76,579
)
def test_the_lectures_sizes(embedding_dim: int, hidden_dim: int, parameters: int) -> None:
    network = WaveNet(27, torch.Generator(), 8, embedding_dim, hidden_dim)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_each_level_fuses_pairs_of_neighbours() -> None:
    network = WaveNet(5, torch.Generator().manual_seed(1), block_size=4, embedding_dim=2, hidden_dim=3)
    for _ in range(3):
        network(contexts_of(6, 4, 5))
    network.eval()
    contexts = contexts_of(6, 4, 5)
    first, second = network.levels

    def fused(level, left, right):  # type: ignore[no-untyped-def]
        norm, values = level.norm, torch.cat([left, right]) @ level.W
        return torch.tanh((values - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.gain + norm.bias)

    logits = []
    for context in contexts:
        a, b, c, d = network.C[context]
        hidden = fused(second, fused(first, a, b), fused(first, c, d))
        logits.append(hidden @ network.W + network.b)
    torch.testing.assert_close(network(contexts), torch.stack(logits))


@pytest.mark.parametrize("block_size", [2, 4, 16])
def test_it_has_a_level_for_each_halving_and_starts_near_log_v(block_size: int) -> None:
    network = build("wavenet", 27, {"block_size": block_size}, seed=0)
    contexts, targets = contexts_of(2000, block_size), contexts_of(2000, 1).flatten()
    assert F.cross_entropy(network(contexts), targets).item() == pytest.approx(math.log(27), abs=0.05)
    shapes = [tuple(values.shape) for values in tanh_activations(network, contexts).values()]
    halvings = [block_size >> level for level in range(1, int(math.log2(block_size)) + 1)]
    assert shapes == [(2000, length, 128) for length in halvings]


@pytest.mark.parametrize(("block_size", "mend"), [(3, "2 or 4"), (6, "4 or 8"), (9, "8 or 16")])
def test_a_block_size_that_is_no_power_of_two_is_an_error_with_its_mend(block_size: int, mend: str) -> None:
    with pytest.raises(UserError, match=rf"model\.block_size must be a power of two, not {block_size}.*take {mend}"):
        WaveNet(27, torch.Generator(), block_size)


@pytest.mark.parametrize(
    ("name", "value"), [("block_size", 1), ("block_size", 8.0), ("embedding_dim", 0), ("hidden_dim", None)]
)
def test_a_size_must_be_a_whole_number(name: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"model\.{name} must be"):
        WaveNet(27, torch.Generator(), **{name: value})  # type: ignore[arg-type]


def test_it_is_restored_with_its_running_statistics() -> None:
    network = build("wavenet", 7, {"hidden_dim": 8}, seed=0)
    assert renewed_buffers(network)
    assert side_effects(network) == []
    network(contexts_of(9, 8, 7))
    again = restore("wavenet", 7, {"hidden_dim": 8}, network.state_dict())
    contexts = contexts_of(5, 8, 7)
    assert torch.equal(again.eval()(contexts), network.eval()(contexts))
