"""Checks the blocks handed to the Trainer: where they are cut, their rows, the full batch, evaluation, the text."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fitting
import lightning as L
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from makemore.data.batches import DRAWS, Block, FullBatches, Minibatches, PackedBatches
from makemore.data.datamodule import TextDataModule
from makemore.data.windows import CountedWindows
from makemore.errors import UserError
from makemore.training.module import NeuralLanguageModel

NAMES = ["emma", "olivia", "ava", "isabella", "sophia", "charlotte", "mia", "amelia", "harper", "evelyn"]
BLOCK_SIZE = 3
# as far as the data is concerned
NETWORK = SimpleNamespace(reads="windows", block_size=BLOCK_SIZE, takes_key=False)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("text") / "names.txt"
    path.write_text("".join(f"{first}{second[:2]}\n" for first in NAMES for second in NAMES))
    return str(path)


def with_trainer(datamodule: TextDataModule, max_steps: int = 1, global_step: int = 0) -> Any:
    """Give the data module what it asks of a Trainer, and return that."""
    trainer: Any = SimpleNamespace(
        global_step=global_step,
        max_steps=max_steps,
        lightning_module=SimpleNamespace(network=NETWORK, device=torch.device("cpu"), compiler=False),
    )
    datamodule.trainer = trainer
    return trainer


def epochs(datamodule: TextDataModule, max_steps: int, first_step: int = 0) -> Iterator[list[Block]]:
    """Take the steps of every block as the Trainer would, an epoch after another."""
    trainer = with_trainer(datamodule, max_steps, first_step)
    loader = datamodule.train_dataloader()
    while trainer.global_step < max_steps:
        epoch = list(loader)
        yield epoch
        assert epoch
        trainer.global_step += sum(len(block) for block in epoch)


def steps_of(datamodule: TextDataModule, max_steps: int, first_step: int = 0) -> dict[int, tuple[Any, Any]]:
    """Contexts and targets of each step."""
    steps = {}
    for epoch in epochs(datamodule, max_steps, first_step):
        for block in epoch:
            assert isinstance(block, Minibatches)
            for index in range(len(block)):
                steps[block.first_step + index] = (block.contexts[index].tolist(), block.targets[index].tolist())
    return steps


@given(
    steps_per_execution=st.integers(1, 30),
    val_every=st.integers(1, 40),
    checkpoint_every=st.integers(1, 40),
    max_steps=st.integers(1, 120),
    first_step=st.integers(0, 60),
)
def test_blocks_are_cut_at_validations_checkpoints_and_the_end_and_nowhere_else(
    text: str, steps_per_execution: int, val_every: int, checkpoint_every: int, max_steps: int, first_step: int
) -> None:
    first_step = min(first_step, max_steps - 1)
    datamodule = TextDataModule(
        text,
        batch_size=2,
        steps_per_execution=steps_per_execution,
        val_every=val_every,
        checkpoint_every=checkpoint_every,
    )
    expected: list[list[list[int]]] = [[[]]]
    for step in range(first_step, max_steps):
        # one step after another: what begins before it?
        if step > first_step and step % val_every == 0:
            expected.append([[]])
        elif step > first_step and (step % checkpoint_every == 0 or len(expected[-1][-1]) == steps_per_execution):
            expected[-1].append([])
        expected[-1][-1].append(step)
    found = [
        [list(range(block.first_step, block.first_step + len(block))) for block in epoch]
        for epoch in epochs(datamodule, max_steps, first_step)
    ]
    assert found == expected


@pytest.mark.parametrize("batch_size", [4, None])
def test_blocks_of_a_hundred_end_exactly(text: str, batch_size: int | None) -> None:
    datamodule = TextDataModule(
        text, batch_size=batch_size, steps_per_execution=100, val_every=250, checkpoint_every=400
    )
    lengths = [[len(block) for block in epoch] for epoch in epochs(datamodule, max_steps=1050)]
    assert lengths == [[100, 100, 50], [100, 50, 100], [100, 100, 50], [50, 100, 100], [50]]


@pytest.mark.parametrize(("tokens", "lengths"), [(4 * 6 * 5, [5, 5]), (4 * 6 * 3 + 23, [3, 3, 3, 1]), (1, [1] * 10)])
def test_blocks_of_large_batches_have_fewer_steps(
    text: str, tokens: int, lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # minibatches of 6 contexts of 3 tokens and what follows
    assert BLOCK_SIZE == 3
    monkeypatch.setattr("makemore.data.training_blocks._BLOCK_TOKENS", tokens)
    datamodule = TextDataModule(text, batch_size=6, steps_per_execution=100)
    assert [[len(block) for block in epoch] for epoch in epochs(datamodule, max_steps=10)] == [lengths]


def test_nothing_is_left_to_do_after_the_last_step(text: str) -> None:
    datamodule = TextDataModule(text)
    with_trainer(datamodule, max_steps=10, global_step=10)
    assert list(datamodule.train_dataloader()) == []


@pytest.mark.parametrize("draw", DRAWS)
def test_rows_do_not_depend_on_how_many_steps_are_executed_at_a_time(text: str, draw: str) -> None:
    one, seven, all_at_once = (
        steps_of(TextDataModule(text, batch_size=5, draw=draw, steps_per_execution=k, val_every=v), max_steps=40)
        for k, v in ((1, 1000), (7, 15), (1000, 1000))
    )
    assert set(one) == set(range(40))
    assert one == seven == all_at_once


@pytest.mark.parametrize("draw", DRAWS)
def test_rows_do_not_depend_on_where_a_run_goes_on(text: str, draw: str) -> None:
    whole = steps_of(TextDataModule(text, batch_size=5, draw=draw, steps_per_execution=10), max_steps=40)
    rest = steps_of(TextDataModule(text, batch_size=5, draw=draw, steps_per_execution=10), max_steps=40, first_step=23)
    assert set(rest) == set(range(23, 40))
    assert all(whole[step] == rest[step] for step in rest)


def test_minibatches_have_their_shapes_and_are_examples_of_training(text: str) -> None:
    datamodule = TextDataModule(text, batch_size=6, steps_per_execution=4)
    (block,) = next(epochs(datamodule, max_steps=4))
    assert isinstance(block, Minibatches)
    assert block.contexts.shape == (4, 6, BLOCK_SIZE)
    assert block.targets.shape == (4, 6)
    windows = datamodule.corpus.windows("train", BLOCK_SIZE)
    contexts, targets = windows.batch(torch.arange(len(windows)))
    training = set(zip(map(tuple, contexts.tolist()), targets.tolist(), strict=True))
    drawn = zip(map(tuple, block.contexts.flatten(0, 1).tolist()), block.targets.flatten().tolist(), strict=True)
    assert set(drawn) <= training


def test_permutation_shows_each_example_once_an_epoch(text: str) -> None:
    datamodule = TextDataModule(text, batch_size=1, draw="permutation", steps_per_execution=50)
    windows = datamodule.corpus.windows("train", BLOCK_SIZE)
    steps = steps_of(datamodule, max_steps=len(windows))
    contexts, targets = windows.batch(torch.arange(len(windows)))
    shown = sorted((context[0], target[0]) for context, target in steps.values())
    assert shown == sorted(zip(contexts.tolist(), targets.tolist(), strict=True))


@pytest.mark.parametrize("draw", DRAWS)
def test_seed_changes_the_rows_and_leaves_the_splits(text: str, draw: str) -> None:
    first, second = (TextDataModule(text, batch_size=8, draw=draw, seed=seed) for seed in (0, 1))
    assert steps_of(first, max_steps=3) != steps_of(second, max_steps=3)
    assert first.corpus.membership.tolist() == second.corpus.membership.tolist()


def test_split_seed_changes_the_splits(text: str) -> None:
    first, second = (TextDataModule(text, split_seed=seed).corpus.membership for seed in (0, 1))
    assert first.tolist() != second.tolist()


def neural(datamodule: TextDataModule, architecture: str = "mlp", **arguments: Any) -> NeuralLanguageModel:
    return NeuralLanguageModel(
        architecture, datamodule.corpus.vocabulary, partial(torch.optim.SGD, lr=0.1), **arguments
    )


def test_the_full_batch_is_all_of_training(text: str) -> None:
    datamodule = TextDataModule(text, batch_size=None, steps_per_execution=4, val_every=6)
    first, second = next(epochs(datamodule, max_steps=6))
    assert isinstance(first, FullBatches)
    assert isinstance(second, FullBatches)
    assert (first.first_step, len(first), second.first_step, len(second)) == (0, 4, 4, 2)
    assert first.weights.dtype == torch.float32
    assert float(first.weights.double().sum()) == pytest.approx(1, abs=1e-6)
    # counted once, not once a block
    assert first.contexts is second.contexts
    windows = datamodule.corpus.windows("train", BLOCK_SIZE)
    contexts, targets = windows.batch(torch.arange(len(windows)))
    network = neural(datamodule, block_size=BLOCK_SIZE, init="normal").network
    expected = F.cross_entropy(network(contexts), targets)
    for batch in zip(*first.stacked(), strict=True):
        torch.testing.assert_close(first.nll(network, *batch), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_is_one_batch_of_the_counted_split(text: str, split: str) -> None:
    datamodule = TextDataModule(text)
    with_trainer(datamodule)
    (batch,) = getattr(datamodule, f"{split}_dataloader")()
    assert isinstance(batch, CountedWindows)
    assert batch.total == datamodule.corpus.size(split)
    windows = datamodule.corpus.windows(split, BLOCK_SIZE)
    contexts, _ = windows.batch(torch.arange(len(windows)))
    assert set(map(tuple, batch.contexts.tolist())) == set(map(tuple, contexts.tolist()))


def test_an_empty_split_has_no_loader(text: str) -> None:
    datamodule = TextDataModule(text, splits=[0.9, 0, 0.1])
    with_trainer(datamodule)
    assert datamodule.val_dataloader() == []
    assert len(datamodule.test_dataloader()) == 1
    datamodule = TextDataModule(text, splits=[1, 0, 0])
    with_trainer(datamodule)
    assert datamodule.val_dataloader() == datamodule.test_dataloader() == []


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"batch_size": 0}, r"data\.batch_size"),
        ({"batch_size": 2.5}, r"data\.batch_size"),
        ({"draw": "shuffle"}, r"data\.draw must be one of replacement, permutation"),
        ({"seed": -1}, "seed"),
        ({"seed": None}, "seed"),
        ({"steps_per_execution": 0}, "steps_per_execution"),
        ({"val_every": 0}, "val_every"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"splits": [0.5, 0.1, 0.1]}, r"data\.splits must sum to 1"),
        ({"by": "word"}, r"data\.by"),
    ],
)
def test_values_out_of_range_are_errors_naming_their_key(arguments: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=key):
        TextDataModule("names.txt", **arguments)


def test_the_text_is_not_read_before_it_is_needed(tmp_path: Path) -> None:
    datamodule = TextDataModule(str(tmp_path / "absent.txt"))
    datamodule.prepare_data()
    with pytest.raises(UserError, match=r"absent\.txt: no such file"):
        _ = datamodule.corpus


def test_a_copy_of_the_download_is_used_where_the_variable_names_one(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_NAMES", text)
    datamodule = TextDataModule(
        str(tmp_path / "absent.txt"),
        url="https://names.example.invalid/names.txt",
        sha256=hashlib.sha256(Path(text).read_bytes()).hexdigest(),
        copy_variable="SOME_NAMES",
        splits=[1, 0, 0],
    )
    # the Trainer prepares what the command has prepared already
    datamodule.prepare_data()
    datamodule.prepare_data()
    assert len(datamodule.corpus.lengths) == 100
    assert datamodule.corpus.options.as_plain()["path"] == text
    assert list(tmp_path.iterdir()) == []


class Recorder(L.Callback):
    """Remembers the blocks of a run, and the steps that validation followed."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.validated: list[int] = []

    def on_train_batch_end(self, trainer: L.Trainer, model: Any, outputs: Any, batch: Block, batch_idx: int) -> None:
        assert trainer.global_step == batch.first_step + len(batch)
        self.blocks.append(batch)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.validated.append(trainer.global_step)


def fit(datamodule: TextDataModule, model: L.LightningModule, max_steps: int) -> tuple[L.Trainer, Recorder]:
    recorder = Recorder()
    trainer = fitting.fit(model, datamodule, max_steps, recorder)
    return trainer, recorder


@pytest.mark.parametrize("batch_size", [16, None])
def test_a_trainer_takes_every_step_once_and_validates_when_due(text: str, batch_size: int | None) -> None:
    datamodule = TextDataModule(text, batch_size=batch_size, steps_per_execution=10, val_every=25, checkpoint_every=40)
    trainer, recorder = fit(datamodule, neural(datamodule, block_size=BLOCK_SIZE), max_steps=57)
    assert trainer.global_step == 57
    assert [len(block) for block in recorder.blocks] == [10, 10, 5, 10, 5, 10, 7]
    assert recorder.validated == [25, 50, 57]


def test_a_trainer_without_a_validation_split_trains(text: str) -> None:
    datamodule = TextDataModule(text, splits=[1, 0, 0], steps_per_execution=10, val_every=25)
    trainer, recorder = fit(datamodule, neural(datamodule, "bigram"), max_steps=30)
    assert trainer.global_step == 30
    assert [block.first_step for block in recorder.blocks] == [0, 10, 20, 25]
    assert recorder.validated == []


def test_a_trainer_is_handed_the_same_rows_and_ends_with_the_same_weights_for_every_block_length(text: str) -> None:
    weights = []
    for steps_per_execution in (1, 7):
        datamodule = TextDataModule(text, batch_size=8, steps_per_execution=steps_per_execution, val_every=20)
        model = neural(datamodule, block_size=BLOCK_SIZE)
        _, recorder = fit(datamodule, model, max_steps=45)
        handed = {block.first_step: block for block in recorder.blocks}
        assert all(isinstance(block, Minibatches) for block in handed.values())
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(weights[0], weights[1])


@pytest.mark.parametrize("members", [None, [0, 1, 2]])
def test_the_full_batch_of_lines_comes_in_blocks_of_bounded_size(
    members: list[int] | None, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    datamodule = TextDataModule(text, batch_size=None, steps_per_execution=50, val_every=100)
    trainer = with_trainer(datamodule, max_steps=100)
    trainer.lightning_module.network = SimpleNamespace(reads="lines", block_size=20, takes_key=True)
    datamodule.member_seeds = members
    one = len(datamodule.examples("train")) * (int(datamodule.corpus.lengths.max()) + 1) * len(members or [0])
    monkeypatch.setattr("makemore.data.training_blocks._BLOCK_TOKENS", 7 * one)
    blocks = list(datamodule.train_dataloader())
    assert [len(block) for block in blocks] == [*[7] * 14, 2]
    assert isinstance(blocks[0], PackedBatches if members is None else Minibatches)
    # every line once, whichever member it is
    (_tokens, targets, _), *_ = blocks[3].batches()
    found = targets if members is None else targets[2].flatten()
    assert int((found >= 0).sum()) == datamodule.corpus.size("train")
