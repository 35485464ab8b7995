"""How many members fit."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from makemore.data.datamodule import TextDataModule
from makemore.sweeps.vectorized import memory
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.memory import keep_freed_memory, most_members, tensor_bytes
from makemore.training.module import NeuralLanguageModel

CPU = torch.device("cpu")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "names.txt"
    path.write_text("".join(f"{a}{b}{a}\n" for a in "abcdefg" for b in "hijklmno"))
    return path


def member_of(text: Path, batch_size: int | None, hidden_dim: int = 20, momentum: float = 0.0) -> Member:
    data = TextDataModule(str(text), batch_size=batch_size)
    model = NeuralLanguageModel(
        "mlp",
        data.corpus.vocabulary,
        lambda values: torch.optim.SGD(values, lr=0.1, momentum=momentum),
        hidden_dim=hidden_dim,
    )
    nothing = dict.fromkeys(("watchers", "outcome", "checkpoints"))
    parts: Any = SimpleNamespace(run_dir=text.parent, model=model, data=data, **nothing)
    return Member(parts, 0)


@pytest.mark.parametrize("batch_size", [32, None])
def test_the_bytes_of_a_member_are_its_state_thrice_and_what_a_step_makes(text: Path, batch_size: int | None) -> None:
    member = member_of(text, batch_size)
    weights = sum(parameter.nbytes for parameter in member.model.parameters())
    plain = tensor_bytes(member)
    # gradients, and activations of the hidden layer forward and backward
    rows = batch_size or len(member.parts.data.corpus.windows("train", 3).counted().contexts)
    assert plain > 3 * weights + weights + 3 * rows * 20 * 4
    assert plain < 3 * weights + 3 * weights + 30 * rows * (20 + 27) * 4 + 10_000
    with_momentum = tensor_bytes(member_of(text, batch_size, momentum=0.9))
    assert with_momentum == plain + 3 * weights


def test_fewer_members_fit_where_there_is_less_or_they_are_larger(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_files", lambda: 10**9)

    def most(available: float, hidden_dim: int = 20, parts: int = 1) -> int:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))
        return most_members(member_of(text, 32, hidden_dim), CPU, parts)

    assert most(1e10) > most(1e9) > most(1e9, parts=2) > 1
    assert most(1e9, hidden_dim=5000) < most(1e9)
    assert most(0) == 1


def test_open_files_bound_a_group_too(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_files", lambda: 40)
    assert most_members(member_of(text, 32), CPU, 1) == 10
    monkeypatch.undo()
    assert memory._files() > 100


def test_freed_memory_can_be_kept_more_than_once() -> None:
    keep_freed_memory()
    keep_freed_memory()
