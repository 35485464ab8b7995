"""Checks that the lessons' loops compute what ours computes, so that only the time differs."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.baselines import (
    Parameters,
    adamw_loop,
    bigram_loop,
    dataset_loop,
    decayed,
    mlp_loop,
    mlp_parameters,
    sampling_loop,
    whole_loss,
)
from benchmarks.model_cases import windows_of_text
from benchmarks.stock import StockMLP, fit_stock
from makemore.data.vocabulary import Vocabulary
from makemore.inference.likelihood import exact_nll
from makemore.models.network import Network, build

WORDS = ["emma", "olivia", "ava", "isabella", "sophia"]
CONTENT = "".join(f"{word}\n" for word in WORDS)
VOCABULARY = Vocabulary("".join(sorted(set("".join(WORDS)))))
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
MLP_TRACE = [17.769712, 13.656403, 11.298769, 9.452457]


@pytest.fixture(scope="module")
def examples() -> tuple[Tensor, Tensor]:
    return dataset_loop(WORDS)


def network(vocab_size: int) -> Network:
    return build(
        "mlp", vocab_size, {"block_size": 3, "embedding_dim": 2, "hidden_dim": 100, "init": "normal"}, 2147483647
    )


def parameters_of(model: Network) -> Parameters:
    return [model.state_dict()[name] for name in ("C", "W1", "b1", "W2", "b2")]


def test_the_dataset_loop_gives_our_windows(examples: tuple[Tensor, Tensor]) -> None:
    windows = windows_of_text(CONTENT, VOCABULARY)
    contexts, targets = windows.batch(torch.arange(len(windows)))
    assert torch.equal(contexts, examples[0])
    assert torch.equal(targets, examples[1])


def test_the_initial_weights_are_ours() -> None:
    pairs = zip(mlp_parameters(27), parameters_of(network(27)), strict=True)
    assert all(torch.equal(theirs, ours) for theirs, ours in pairs)


def test_the_loss_over_all_examples_is_our_exact_nll(examples: tuple[Tensor, Tensor]) -> None:
    model = network(VOCABULARY.size)
    nll = exact_nll(model, windows_of_text(CONTENT, VOCABULARY).counted())
    assert whole_loss(parameters_of(model), *examples) == pytest.approx(nll.nats, abs=1e-6, rel=1e-6)


def test_the_first_loss_is_the_lessons() -> None:
    # the lesson's tokens are those of the whole alphabet
    tokens = {VOCABULARY.encode(character)[0]: ALPHABET.index(character) + 1 for character in VOCABULARY.characters}
    contexts, targets = (tensor.apply_(lambda token: tokens.get(token, 0)) for tensor in dataset_loop(WORDS))
    assert whole_loss(mlp_parameters(27), contexts, targets) == pytest.approx(MLP_TRACE[0], abs=1e-5)


def plain_torch(
    optimizer: type[torch.optim.Optimizer], lr: float, contexts: Tensor, targets: Tensor, steps: int
) -> list[float]:
    """Return the losses of the same rows, by modules and optimisers of torch."""
    model = network(VOCABULARY.size)
    optimiser = optimizer(model.parameters(), lr=lr)  # type: ignore[call-arg]
    losses = []
    for _ in range(steps):
        rows = torch.randint(0, len(contexts), (32,))
        loss = torch.nn.functional.cross_entropy(model(contexts[rows]), targets[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("loop", "optimizer", "lr"), [(mlp_loop, torch.optim.SGD, 0.1), (adamw_loop, torch.optim.AdamW, 0.003)]
)
def test_the_training_loops_do_what_torch_does(
    loop: object, optimizer: type[torch.optim.Optimizer], lr: float, examples: tuple[Tensor, Tensor]
) -> None:
    torch.manual_seed(1)
    losses = loop(mlp_parameters(VOCABULARY.size), *examples, 10)  # type: ignore[operator]
    torch.manual_seed(1)
    assert losses == pytest.approx(plain_torch(optimizer, lr, *examples, 10), abs=1e-4)
    assert losses[-1] < losses[0]


def test_the_rate_falls_after_20000_and_28000_steps() -> None:
    rates = [decayed(0.1, step) for step in (20000, 20001, 28000, 28001)]
    assert rates == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_the_bigram_loop_begins_as_the_lesson(bigram_pairs: list[tuple[str, str, int]]) -> None:
    alphabet = "." + ALPHABET
    counts = torch.tensor([count for *_, count in bigram_pairs])
    xs, ys = (
        torch.tensor([alphabet.index(pair[place]) for pair in bigram_pairs]).repeat_interleave(counts)
        for place in (0, 1)
    )
    assert bigram_loop(xs, ys, 27, 3) == pytest.approx([3.7686186, 3.3788068, 3.1610909], abs=1e-5)


def test_the_sampling_loop_draws_from_the_models_distribution() -> None:
    # a model that has learnt the one name
    contexts, targets = dataset_loop(["ab"])
    parameters = mlp_parameters(3)
    torch.manual_seed(1)
    mlp_loop(parameters, contexts, targets, 300)
    names = sampling_loop(parameters, "ab", 50)
    assert len(names) == 50
    assert Counter(names).most_common(1)[0][0] == "ab"


def test_stock_lightning_trains_the_same_network(examples: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    initial = mlp_parameters(VOCABULARY.size)
    assert torch.allclose(StockMLP(initial)(examples[0]), network(VOCABULARY.size)(examples[0]), atol=1e-5)
    before = whole_loss(initial, *examples)
    model = fit_stock(initial, *examples, 20, tmp_path)
    assert whole_loss([p.detach() for p in model.parameters()], *examples) < before
    assert whole_loss(initial, *examples) == before
    assert list(tmp_path.rglob("events.out.tfevents*"))
