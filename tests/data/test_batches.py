"""Checks that draws are functions of (seed, step), uniform or once an epoch, and the NLL of both kinds of batch."""

import math
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.batches import (
    DRAWS,
    Block,
    FullBatches,
    Minibatches,
    dropout_keys,
    permutation_rows,
    replacement_rows,
)
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows, padded, positions_of
from makemore.models.bigram import Bigram

LINES = ["abab", "ba", "b", "abab"]


@pytest.mark.parametrize("draw", DRAWS)
@given(first=st.integers(0, 3000), steps=st.integers(1, 2500), total=st.integers(1, 300))
@settings(max_examples=20)
def test_the_rows_of_a_block_are_those_of_its_steps(draw: str, first: int, steps: int, total: int) -> None:
    block = DRAWS[draw](5, first, steps, 3, total)
    assert block.shape == (steps, 3)
    for step in {0, steps // 2, steps - 1}:
        assert block[step].tolist() == DRAWS[draw](5, first + step, 1, 3, total)[0].tolist()


@pytest.mark.parametrize("draw", DRAWS)
@given(
    seed=st.integers(0, 2**63 - 1),
    step=st.integers(0, 10**6),
    batch_size=st.integers(1, 40),
    total=st.integers(1, 300),
)
def test_rows_are_examples(draw: str, seed: int, step: int, batch_size: int, total: int) -> None:
    rows = DRAWS[draw](seed, step, 1, batch_size, total)[0]
    assert rows.shape == (batch_size,)
    assert rows.dtype == np.int64
    assert ((rows >= 0) & (rows < total)).all()


@pytest.mark.parametrize("draw", DRAWS)
@given(order=st.permutations([0, 1, 2, 1022, 1023, 1024, 1025, 5000, 123_456]))
@settings(max_examples=20)
def test_rows_are_the_same_in_any_order_of_asking(draw: str, order: list[int]) -> None:
    in_order = {step: DRAWS[draw](7, step, 1, 5, 1000)[0].tolist() for step in sorted(order)}
    for step in order:
        DRAWS[draw](8, step, 1, 5, 1000)
        assert DRAWS[draw](7, step, 1, 5, 1000)[0].tolist() == in_order[step]


@pytest.mark.parametrize("draw", DRAWS)
def test_seeds_and_steps_share_no_draws(draw: str) -> None:
    steps = [*range(30), *range(1020, 1030), 2048, 10**6]
    seeds = [0, 1, 2, 1024, 2**32]
    rows = [tuple(DRAWS[draw](seed, step, 1, 8, 10**5)[0].tolist()) for seed, step in product(seeds, steps)]
    assert len(set(rows)) == len(rows)


def test_keys_of_dropout_are_functions_of_seed_and_step_alone() -> None:
    whole = dropout_keys(3, 0, 3000)
    assert ((whole >= 0) & (whole < 2**31)).all()
    assert len(set(whole.tolist())) > 2990
    for first, steps in ((0, 1), (1020, 10), (2999, 1), (5, 0)):
        assert dropout_keys(3, first, steps).tolist() == whole[first : first + steps].tolist()
    assert not (dropout_keys(4, 0, 3000) == whole).any()


def test_a_large_batch_is_drawn_whole() -> None:
    first, second = (replacement_rows(0, step, 1, 2**20 + 1, 2**40)[0] for step in range(2))
    assert first.shape == second.shape == (2**20 + 1,)
    assert (first != second).mean() > 0.999


@pytest.mark.parametrize("total", [2, 7, 27])
def test_replacement_draws_every_example_equally_often(total: int) -> None:
    drawn = replacement_rows(0, 0, 3000, 32, total).ravel()
    expected = len(drawn) / total
    chi_squared = ((np.bincount(drawn, minlength=total) - expected) ** 2 / expected).sum()
    # mean total - 1, standard deviation sqrt(2 (total - 1)); five of these is far out for a fixed seed
    assert chi_squared < total - 1 + 5 * math.sqrt(2 * (total - 1))


def test_replacement_repeats_within_a_batch_as_often_as_chance_has_it() -> None:
    # 23 birthdays: half the batches have one twice
    repeats = sum(len(set(rows)) < 23 for rows in replacement_rows(3, 0, 4000, 23, 365).tolist())
    assert repeats / 4000 == pytest.approx(0.5073, abs=0.04)


@given(batch_size=st.integers(1, 25), total=st.integers(1, 20), seed=st.integers(0, 2**63 - 1))
def test_permutation_visits_each_example_once_an_epoch(batch_size: int, total: int, seed: int) -> None:
    epochs = 3
    steps = math.ceil(epochs * total / batch_size)
    rows = permutation_rows(seed, 0, steps, batch_size, total).ravel().tolist()
    for epoch in range(epochs):
        assert sorted(rows[epoch * total : (epoch + 1) * total]) == list(range(total))


def test_every_epoch_and_seed_has_its_own_permutation() -> None:
    orders = {tuple(rows) for seed in range(5) for rows in permutation_rows(seed, 0, 5, 50, 50).tolist()}
    assert len(orders) == 25
    assert tuple(range(50)) not in orders


def test_permutation_puts_every_example_everywhere() -> None:
    places = Counter(pair for seed in range(3000) for pair in enumerate(permutation_rows(seed, 0, 1, 3, 3)[0]))
    assert set(places) == set(product(range(3), range(3)))
    for count in places.values():
        assert count == pytest.approx(1000, abs=130)


def windows() -> Windows:
    vocabulary = Vocabulary("ab")
    tokens = vocabulary.encode_lines("".join(f"{line}\n" for line in LINES), "it")
    lengths = np.array([len(line) + 1 for line in LINES])
    return Windows(
        padded(tokens, lengths, 1, vocabulary.start),
        positions_of(np.ones(len(tokens), dtype=bool), lengths, 1),
        1,
        vocabulary.size,
    )


@pytest.fixture
def network() -> Bigram:
    return Bigram(3, torch.Generator().manual_seed(0), init="normal")


@pytest.fixture
def minibatches() -> Minibatches:
    return Minibatches(20, *windows().batch(torch.tensor([[0, 1, 2, 5], [5, 5, 11, 8]])))


@pytest.fixture
def full() -> FullBatches:
    return replace(FullBatches.of(windows().counted(), vocab_size=3), first_step=20, length=3)


def batches_of(block: Block) -> list[tuple[torch.Tensor, ...]]:
    return list(zip(*(tensor.unbind() for tensor in block.stacked()), strict=True))


def slow_nll(network: Bigram, contexts: list[int], targets: list[int]) -> float:
    """The mean of -log of the softmax, one example after another."""
    total = 0.0
    for context, target in zip(contexts, targets, strict=True):
        exponentials = [math.exp(logit) for logit in network.W[context].tolist()]
        total -= math.log(exponentials[target] / sum(exponentials))
    return total / len(targets)


def test_the_nll_of_a_minibatch_is_the_mean_over_its_own_examples(network: Bigram, minibatches: Minibatches) -> None:
    assert len(minibatches) == 2
    for index, batch in enumerate(batches_of(minibatches)):
        contexts, targets = minibatches.contexts[index, :, 0].tolist(), minibatches.targets[index].tolist()
        expected = slow_nll(network, contexts, targets)
        assert minibatches.nll(network, *batch).item() == pytest.approx(expected, abs=1e-6)


def test_the_nll_of_the_full_batch_is_the_mean_over_all_examples(network: Bigram, full: FullBatches) -> None:
    contexts, targets = windows().batch(torch.arange(len(windows())))
    assert len(full) == 3
    assert len(batches_of(full)) == 3
    for batch in batches_of(full):
        expected = slow_nll(network, contexts[:, 0].tolist(), targets.tolist())
        assert full.nll(network, *batch).item() == pytest.approx(expected, abs=1e-6)


def test_the_full_batch_has_the_gradient_of_all_examples(network: Bigram, full: FullBatches) -> None:
    contexts, targets = windows().batch(torch.arange(len(windows())))
    (expected,) = torch.autograd.grad(F.cross_entropy(network(contexts), targets), [network.W])
    (gradient,) = torch.autograd.grad(full.nll(network, *batches_of(full)[0]), [network.W])
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=0)


def test_a_pair_that_never_occurs_may_be_impossible(network: Bigram, full: FullBatches) -> None:
    with torch.no_grad():
        network.W[1, 1] = -math.inf  # "aa" is not in the text
        assert math.isfinite(full.nll(network, *batches_of(full)[0]).item())
        network.W[1, 2] = -math.inf  # "ab" is
        assert full.nll(network, *batches_of(full)[0]).item() == math.inf


def test_batches_move_whole_to_a_device_and_keep_their_steps(minibatches: Minibatches, full: FullBatches) -> None:
    device = torch.device("meta")
    moved = minibatches.to(device, non_blocking=True)
    assert (moved.first_step, len(moved)) == (20, 2)
    assert moved.contexts.device == moved.targets.device == device
    moved_full = full.to(device)
    assert (moved_full.first_step, len(moved_full)) == (20, 3)
    assert moved_full.weights.device == moved_full.contexts.device == moved_full.pairs.device == device
    counted = windows().counted().to(device)
    assert counted.contexts.device == counted.pair_count.device == device
