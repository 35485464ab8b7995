"""Checks the registry of networks: what is registered, how it is built, and what a wrong request is told."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import every_model
import makemore.models
from makemore.errors import UserError
from makemore.models import network as network_module
from makemore.models.network import Network, architectures, build, evaluating, register, restore, trial_tokens

ARCHITECTURES = ["bigram", "bow", "gru", "kneser_ney", "lstm", "mlp", "ngram", "rnn", "transformer", "wavenet"]
# a mixture needs its parts
REGISTERED = sorted([*ARCHITECTURES, "mixture"])


def test_every_shipped_network_is_registered() -> None:
    assert architectures() == REGISTERED


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_maps_contexts_to_a_row_of_logits_each(architecture: str) -> None:
    network = build(architecture, 7, {}, seed=0)
    assert network.vocab_size == 7
    logits = network(torch.randint(0, 7, (5, network.block_size)))
    assert logits.shape == ((5, 7) if network.reads == "windows" else (5, network.block_size, 7))
    assert torch.is_floating_point(logits)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_of_a_context_do_not_depend_on_the_rest_of_the_batch(architecture: str) -> None:
    network = build(architecture, 7, {}, seed=0)
    contexts = torch.randint(0, 7, (9, network.block_size))
    with evaluating(network):
        alone = torch.cat([network(context.unsqueeze(0)) for context in contexts])
        torch.testing.assert_close(network(contexts), alone)


@pytest.mark.parametrize("architecture", ["bigram", "mlp", "wavenet"])
def test_initial_weights_depend_on_the_seed_alone(architecture: str) -> None:
    torch.manual_seed(1)
    first = build(architecture, 27, {}, seed=0).state_dict()
    torch.manual_seed(2)
    again = build(architecture, 27, {}, seed=0).state_dict()
    other = build(architecture, 27, {}, seed=1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_what_draws_from_torchs_own_generator_depends_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mixed(Network):
        def __init__(self, vocab_size: int, generator: torch.Generator) -> None:
            super().__init__()
            self.own = nn.Parameter(torch.rand(4, generator=generator))
            self.layer = nn.Embedding(4, 1, _weight=torch.rand(4, 1))

    monkeypatch.setitem(network_module._REGISTRY, "mixed", Mixed)
    first, again, other = (build("mixed", 27, {}, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    # nor are the two the same numbers
    assert not torch.equal(first["own"], first["layer.weight"].flatten())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_building_leaves_the_global_generator_alone(architecture: str) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    build(architecture, 27, {}, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_arguments_reach_the_network() -> None:
    network = build("mlp", 27, {"block_size": 5, "embedding_dim": 3, "hidden_dim": 11}, seed=0)
    assert network.block_size == 5
    shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    assert shapes == {"C": (27, 3), "W1": (15, 11), "b1": (11,), "W2": (11, 27), "b2": (27,)}


@pytest.mark.parametrize("architecture", ["mamba", "", "makemore.models.mlp.MLP", "os.system", None, ["mlp"]])
def test_an_unknown_architecture_is_named_with_the_known_ones(architecture: str) -> None:
    with pytest.raises(UserError) as caught:
        build(architecture, 27, {}, seed=0)
    assert repr(architecture) in str(caught.value)
    assert ", ".join(REGISTERED) in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "argument", "known"),
    [
        ("mlp", "hiden_dim", "hidden_dim"),
        ("bigram", "block_size", "init"),
        ("ngram", "block_size", "order"),
        ("kneser_ney", "fake_count", "order"),
        ("mlp", "vocab_size", "block_size"),
        ("mlp", "generator", "block_size"),
    ],
)
def test_an_unknown_argument_is_named_with_the_known_ones(architecture: str, argument: str, known: str) -> None:
    with pytest.raises(UserError, match=rf"takes no {argument}; it takes .*{known}"):
        build(architecture, 27, {argument: 1}, seed=0)


def test_a_file_in_the_package_is_all_that_a_new_model_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flat_for_test.py").write_text(
        "import torch\n"
        "from makemore.models.network import Network, register\n"
        "@register('flat_for_test')\n"
        "class Flat(Network):\n"
        "    block_size = 2\n"
        "    def __init__(self, vocab_size, generator, height=0.0):\n"
        "        super().__init__()\n"
        "        self.vocab_size, self.height = vocab_size, height\n"
        "    def forward(self, contexts):\n"
        "        return torch.full((len(contexts), self.vocab_size), self.height)\n"
    )
    monkeypatch.setattr(network_module, "_REGISTRY", dict(network_module._REGISTRY))
    monkeypatch.setattr(makemore.models, "__path__", [*makemore.models.__path__, str(tmp_path)])
    try:
        assert architectures() == sorted([*REGISTERED, "flat_for_test"])
        network = build("flat_for_test", 3, {"height": 2.5}, seed=0)
        assert network(torch.zeros(1, 2, dtype=torch.int64)).tolist() == [[2.5, 2.5, 2.5]]
    finally:
        sys.modules.pop("makemore.models.flat_for_test", None)


def test_a_name_cannot_be_registered_twice() -> None:
    architectures()
    with pytest.raises(UserError, match="there is a network mlp already; register it by another name"):
        register("mlp")(Network)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_is_restored_with_the_very_weights(architecture: str) -> None:
    network = build(architecture, 7, {}, seed=0)
    state = network.state_dict()
    again = restore(architecture, 7, {}, state)
    assert all(tensor.data_ptr() == state[name].data_ptr() for name, tensor in again.state_dict().items())
    contexts = torch.randint(0, 7, (5, network.block_size))
    assert torch.equal(again(contexts), network(contexts))


def test_restoring_does_not_import_torchs_compiler() -> None:
    program = (
        "import sys\n"
        "from makemore.models.network import build, restore\n"
        f"for name, arguments in {every_model.SMALL}.items():\n"
        "    restore(name, 7, arguments, build(name, 7, arguments, seed=0).state_dict())\n"
        "sys.exit('torch._dynamo' in sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_restoring_a_network_far_larger_than_its_weights_needs_no_memory() -> None:
    # 4 TB
    with pytest.raises(RuntimeError, match="size mismatch"):
        restore("mlp", 7, {"hidden_dim": 10**6, "embedding_dim": 10**6}, build("mlp", 7, {}, seed=0).state_dict())


@pytest.mark.parametrize(
    "change",
    [
        torch.Tensor.double,
        torch.Tensor.bool,
        torch.Tensor.to_sparse,
        lambda tensor: tensor.to(torch.complex64),
        # one number in the file, and 49 asked for
        lambda tensor: tensor[:1, :1].expand(7, 7),
    ],
)
def test_weights_that_are_no_plain_tensor_of_their_type_are_refused(
    change: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    state = {name: change(tensor) for name, tensor in build("bigram", 7, {}, seed=0).state_dict().items()}
    with pytest.raises((ValueError, RuntimeError)):
        restore("bigram", 7, {}, state)


def test_a_network_is_tried_with_whole_contexts_or_short_lines() -> None:
    assert trial_tokens(build("mlp", 3, {"block_size": 4}, 0)).tolist() == [[0, 1, 2, 0], [1, 2, 0, 1]]
    assert trial_tokens(build("gru", 3, {"block_size": 5000}, 0)).tolist() == [[0, 1], [2, 0]]
    assert trial_tokens(build("bow", 3, {"block_size": 1}, 0)).tolist() == [[0], [1]]
