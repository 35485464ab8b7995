"""Checks what all networks over lines promise: causal, step by step as all at once, packed as padded, and dropout."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from makemore.errors import UserError
from makemore.models.dropout import Dropout, places_of
from makemore.models.network import build, restore
from makemore.models.sequence import SequenceNetwork

V = 7
SMALL: dict[str, dict[str, Any]] = {
    "rnn": {"embedding_dim": 4, "hidden_dim": 6, "num_layers": 2},
    "gru": {"embedding_dim": 4, "hidden_dim": 6, "num_layers": 2},
    "lstm": {"embedding_dim": 4, "hidden_dim": 6, "num_layers": 2},
    "bow": {"embedding_dim": 4, "hidden_dim": 6},
    "transformer": {"embedding_dim": 8, "num_layers": 2, "num_heads": 2},
    "transformer rotary tied": {
        "embedding_dim": 8,
        "num_layers": 1,
        "num_heads": 2,
        "positions": "rotary",
        "tied": True,
    },
}
ALL = pytest.mark.parametrize("name", SMALL)


def small(name: str, seed: int = 3, **arguments: Any) -> SequenceNetwork:
    network = build(name.split(maxsplit=1)[0], V, {"block_size": 9, **SMALL[name], **arguments}, seed)
    assert isinstance(network, SequenceNetwork)
    with torch.no_grad():
        for parameter in network.parameters():
            # large enough that every place matters
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    return network.double()


def random_tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


@ALL
@settings(max_examples=10)
@given(length=st.integers(1, 9), rows=st.integers(1, 4), seed=st.integers(0, 100))
def test_steps_give_what_the_whole_line_gives(name: str, length: int, rows: int, seed: int) -> None:
    network, tokens = small(name, seed), random_tokens(rows, length, seed=seed)
    state, found = None, []
    for column in tokens.T:
        kept = None if state is None else [part.clone() for part in state]
        logits, after = network.step(column, state)
        assert state is None or kept is None or all(map(torch.equal, state, kept)), "the state was changed in place"
        state = after
        assert all(len(part) == rows for part in state)
        found.append(logits)
    torch.testing.assert_close(torch.stack(found, 1), network(tokens), rtol=1e-10, atol=1e-10)


@ALL
def test_no_logit_depends_on_a_later_token(name: str) -> None:
    network, tokens = small(name), random_tokens(1, 9)
    logits = network(tokens)
    for place in range(9):
        changed = tokens.clone()
        changed[0, place] = (changed[0, place] + 1) % V
        after = network(changed)
        assert torch.equal(after[0, :place], logits[0, :place])
        # every later place sees the change
        assert ((after - logits)[0, place:].abs().amax(-1) > 0).all()


@ALL
@settings(max_examples=10)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), dropout=st.booleans())
def test_packed_lines_give_what_padded_ones_give(name: str, lengths: list[int], dropout: bool) -> None:
    lengths = sorted(lengths, reverse=True)
    network = small(name, dropout=0.4)
    key = torch.tensor(12345) if dropout else None
    lines = [random_tokens(length, seed=length) for length in lengths]
    padded = torch.zeros(len(lines), lengths[0], dtype=torch.int64)
    for row, line in enumerate(lines):
        padded[row, : len(line)] = line
    packed = pack_sequence(lines)
    of_packed, of_padded = network(packed, key), network(padded, key)
    wanted = pack_sequence([of_padded[row, :length] for row, length in enumerate(lengths)]).data
    torch.testing.assert_close(of_packed, wanted, rtol=1e-10, atol=1e-10)


@ALL
def test_dropout_acts_with_a_key_alone_and_depends_on_it(name: str) -> None:
    network, tokens = small(name, dropout=0.5), random_tokens(2, 9)
    assert network.takes_key
    assert not small(name).takes_key
    without = network(tokens)
    assert torch.equal(without, network.eval()(tokens))
    first, second = (network(tokens, torch.tensor(key)) for key in (1, 2))
    assert torch.equal(first, network(tokens, torch.tensor(1)))
    assert not torch.equal(first, second)
    assert not torch.equal(first, without)


@ALL
def test_weights_are_a_function_of_the_seed(name: str) -> None:
    arguments = {"block_size": 9, **SMALL[name]}
    first, again, other = (build(name.split(maxsplit=1)[0], V, arguments, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@settings(max_examples=20)
@given(p=st.sampled_from([0.1, 0.35, 0.5, 0.9]), key=st.integers(0, 2**31 - 1), layer=st.integers(0, 20))
def test_dropout_keeps_its_share_everywhere(p: float, key: int, layer: int) -> None:
    rows, positions = torch.arange(64, dtype=torch.int32).unsqueeze(1), torch.arange(16, dtype=torch.int32)
    x = torch.ones(64, 16, 32)
    mask = Dropout(p, layer)(x, torch.tensor(key), places_of(rows, positions))
    assert set(mask.unique().tolist()) == {0.0, float(torch.tensor(1 / (1 - p)))}
    kept = (mask > 0).double()
    # six standard deviations of a mean over n places
    for dims, n in (((0, 1, 2), 64 * 16 * 32), ((0, 1), 64 * 16), ((1, 2), 16 * 32), ((0, 2), 64 * 32)):
        spread = 6 * (p * (1 - p) / n) ** 0.5
        assert ((kept.mean(dims) - (1 - p)).abs() < spread).all()


def test_masks_of_neighbours_are_independent() -> None:
    rows, positions = torch.arange(64, dtype=torch.int32).unsqueeze(1), torch.arange(16, dtype=torch.int32)
    places, x = places_of(rows, positions), torch.ones(64, 16, 32)
    masks = [Dropout(0.5, layer)(x, torch.tensor(key), places) > 0 for key in (7, 8) for layer in (0, 1)]
    n = x.numel()

    def correlation(a: Tensor, b: Tensor) -> float:
        return float((a.double() * 2 - 1).mul(b.double() * 2 - 1).mean())

    for index, mask in enumerate(masks):
        for other in masks[index + 1 :]:
            assert abs(correlation(mask, other)) < 6 / n**0.5
        for dim in range(3):
            size = mask.shape[dim] - 1
            pairs = mask.narrow(dim, 0, size), mask.narrow(dim, 1, size)
            assert abs(correlation(*pairs)) < 6 / pairs[0].numel() ** 0.5


def test_the_scale_keeps_the_mean() -> None:
    layer, x = Dropout(0.25, 0), torch.full((50, 40), 3.0)
    places = places_of(torch.arange(50, dtype=torch.int32), torch.tensor(0, dtype=torch.int32))
    assert float(layer(x, torch.tensor(1), places).mean()) == pytest.approx(3, rel=0.1)


def test_makemores_transformer_has_its_parameters() -> None:
    network = build("transformer", 27, {"block_size": 16}, 0)
    attention, mlp, norm = 64 * 192 + 192 + 64 * 64 + 64, 64 * 256 + 256 + 256 * 64 + 64, 2 * 64
    whole = 27 * 64 + 16 * 64 + 4 * (attention + mlp + 2 * norm) + norm + 64 * 27
    assert sum(parameter.numel() for parameter in network.parameters()) == whole == 204_544


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("transformer", {"num_heads": 3}, "model.num_heads=3 does not divide model.embedding_dim=8"),
        (
            "transformer",
            {"embedding_dim": 6, "positions": "rotary"},
            "model.positions=rotary turns pairs, and model.embedding_dim=6 by model.num_heads=2 is an odd number"
            " a head",
        ),
        ("transformer", {"positions": "none"}, "model.positions must be one of learned, rotary, not 'none'"),
        ("transformer", {"tied": "no"}, "model.tied must be true or false, not 'no'"),
        ("gru", {"num_layers": 0}, "model.num_layers must be at least 1, not 0"),
        ("lstm", {"hidden_dim": 0}, "model.hidden_dim must be at least 1, not 0"),
        ("bow", {"block_size": 0}, "model.block_size must be at least 1, not 0"),
        ("rnn", {"dropout": 1}, "model.dropout must be below 1, not 1"),
        ("rnn", {"dropout": -0.1}, "model.dropout must be at least 0, not -0.1"),
    ],
)
def test_bad_sizes_are_refused(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        build(name, V, {**SMALL[name], **arguments}, 0)
    assert str(error.value) == message


def test_a_packed_sequence_is_torchs_own() -> None:
    network = small("gru")
    assert network(PackedSequence(torch.tensor([1, 2, 3]), torch.tensor([2, 1]))).shape == (3, V)


def test_tied_weights_stay_tied_when_they_are_loaded() -> None:
    arguments = {"block_size": 9, **SMALL["transformer rotary tied"]}
    network = build("transformer", V, arguments, 0)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    other = restore("transformer", V, arguments, state)
    assert len(list(other.parameters())) == len(list(network.parameters()))
    assert torch.equal(other(random_tokens(2, 5)), network(random_tokens(2, 5)))
