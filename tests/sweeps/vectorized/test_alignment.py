"""The rows after which a step repeats to the bit: members alike, in rows so far apart, stay alike."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from makemore.data.datamodule import TextDataModule
from makemore.data.training_blocks import TrainingBlocks
from makemore.sweeps.vectorized.alignment import period_of
from makemore.sweeps.vectorized.layout import PERIOD, Layout
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.stack import Stack
from makemore.training.module import NeuralLanguageModel

STEPS = 10


def member_of(architecture: str, data: TextDataModule, arguments: dict[str, int]) -> Member:
    model = NeuralLanguageModel(
        architecture, data.corpus.vocabulary, lambda values: torch.optim.AdamW(values, lr=0.01), **arguments
    )
    nothing = dict.fromkeys(("watchers", "outcome", "checkpoints"))
    parts: Any = SimpleNamespace(run_dir=Path(), model=model, data=data, **nothing)
    return Member(parts, 0)


@pytest.mark.parametrize(
    ("architecture", "batch_size", "arguments", "period"),
    [
        # sizes of 16 floats, 64 bytes, whichever the row
        ("mlp", 16, {"block_size": 2, "embedding_dim": 8, "hidden_dim": 16}, 1),
        # the output layer has 8 x 27 weights, half of which end in the middle of a line
        ("mlp", 16, {"block_size": 2, "embedding_dim": 8, "hidden_dim": 8}, 2),
        ("mlp", 7, {"block_size": 2, "embedding_dim": 3, "hidden_dim": 11}, PERIOD),
        ("mlp", None, {"block_size": 2, "embedding_dim": 3, "hidden_dim": 11}, None),
        pytest.param("gru", 7, {"embedding_dim": 5, "hidden_dim": 9}, PERIOD, marks=pytest.mark.full),
        pytest.param("wavenet", 6, {"embedding_dim": 5, "hidden_dim": 7}, PERIOD, marks=pytest.mark.full),
        pytest.param(
            "transformer",
            5,
            {"embedding_dim": 6, "num_layers": 1, "num_heads": 2},
            None,
            marks=pytest.mark.full,
        ),
    ],
)
def test_rows_a_period_apart_give_the_same_to_the_bit(
    architecture: str, batch_size: int | None, arguments: dict[str, int], period: int | None, text: Path
) -> None:
    data = TextDataModule(str(text), batch_size=batch_size, steps_per_execution=STEPS, val_every=STEPS)
    found = period_of(member_of(architecture, data, arguments))
    assert found == (period or found)
    assert PERIOD % found == 0
    rows = 2 * PERIOD
    members = [member_of(architecture, data, arguments) for _ in range(rows)]
    data.model, data.member_seeds = members[0].model, [0] * rows
    block = TrainingBlocks(data).block(0, STEPS)
    networks, optimizers = [each.model.network for each in members], [each.optimizer for each in members]
    options = [each.model.step_options() for each in members]
    stack = Stack(networks, optimizers, options, [0.1] * rows, block.members_dim, Layout(list(range(rows)), rows))
    stack.eager_steps()(block, [[0.01] * rows] * STEPS)
    for row in range(rows - found):
        for one, other in zip(networks[row].parameters(), networks[row + found].parameters(), strict=True):
            assert torch.equal(one, other)
