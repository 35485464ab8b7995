"""What the key `compile` may be, and what `compile=auto` chooses."""

from functools import partial
from importlib import util
from pathlib import Path

import fitting
import pytest
import torch
from torch import Tensor, nn

from makemore.data.datamodule import TextDataModule
from makemore.errors import UserError
from makemore.models.network import Network, build
from makemore.training.compiling import automatic, compiler_of
from makemore.training.module import NeuralLanguageModel


class Dropped(Network):
    block_size, vocab_size = 1, 5

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Embedding(5, 5), nn.Dropout(0.5))

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.layers(tokens[:, 0])
        return logits


@pytest.fixture
def no_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    found = util.find_spec
    monkeypatch.setattr("makemore.training.compiling.find_spec", lambda name: None if name == "jax" else found(name))


@pytest.mark.parametrize("value", ["maybe", 1, None, "XLA"])
def test_another_value_is_refused(value: object) -> None:
    with pytest.raises(UserError, match="compile must be true, false, xla or auto, not"):
        compiler_of(value)


@pytest.mark.usefixtures("no_jax")
def test_xla_without_jax_is_refused_with_the_command_that_installs_it() -> None:
    with pytest.raises(UserError, match=r"compile=xla needs JAX: pip install -e '.\[xla\]'"):
        compiler_of("xla")
    assert compiler_of("auto") == "auto"


def chosen(network: Network, steps: int = 20_000, optimizer: type[torch.optim.Optimizer] = torch.optim.SGD) -> str:
    compiler, why = automatic(network, optimizer(network.parameters(), lr=0.1), steps)  # type: ignore[call-arg]
    assert (compiler == "xla") == (why == "XLA")
    return why


def test_auto_takes_xla_for_long_runs_over_windows() -> None:
    network = build("mlp", 5, {"batch_norm": True}, 0)
    assert chosen(network) == "XLA"
    assert chosen(network, 9_999) == "no, as compiling pays from 10,000 steps on"
    assert chosen(network, optimizer=torch.optim.RMSprop) == "no, as RMSprop cannot be compiled"
    assert chosen(build("gru", 5, {}, 0)).startswith("no, as steps over lines")
    assert chosen(Dropped()) == "no, as Dropped draws random numbers in training"


@pytest.mark.usefixtures("no_jax")
def test_auto_says_what_it_could_have_with_jax() -> None:
    assert "pip install" in chosen(build("bigram", 5, {}, 0))
    assert "pip install" not in chosen(build("bigram", 5, {}, 0), 100)


@pytest.mark.parametrize("architecture", ["gru", "mlp"])
def test_a_run_for_which_auto_compiles_nothing_is_that_without_compiling_to_the_bit(
    architecture: str, tmp_path: Path
) -> None:
    text = tmp_path / "names.txt"
    text.write_text("".join(f"{a}{b * 3}{c}\n" for a in "abc" for b in "de" for c in "fghi"))
    states = []
    for how in ("auto", False):
        data = TextDataModule(str(text), batch_size=5)
        optimizer = partial(torch.optim.SGD, lr=0.1)
        model = NeuralLanguageModel(architecture, data.corpus.vocabulary, optimizer, compile=how, hidden_dim=8)
        fitting.fit(model, data, 7, directory=tmp_path / str(how))
        states.append(model.network.state_dict())
    torch.testing.assert_close(*states, rtol=0, atol=0)
