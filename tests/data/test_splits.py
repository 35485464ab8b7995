"""Checks who is in train, val and test: sizes, repeated lines together, torch's and Python's shuffles, no lines."""

import random

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.data import random_split

from makemore.data.options import SPLITS
from makemore.data.splits import (
    keys_of_lines,
    overlaps_of,
    split_by_example,
    split_by_line,
    split_by_randperm,
    split_by_shuffle,
    split_sizes,
)
from makemore.errors import UserError

RATIOS = [
    (0.8, 0.1, 0.1),
    (0.7, 0.2, 0.1),
    (1, 0, 0),
    (0.9, 0.1, 0),
    (0.9, 0, 0.1),
    (0.34, 0.33, 0.33),
    (0.1, 0.1, 0.8),
]


def names(count: int) -> list[str]:
    return [f"name{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("total", "ratios", "sizes"),
    [
        (228146, (0.8, 0.1, 0.1), (182516, 22815, 22815)),  # L0: test, val, train take what is left in this order
        (10, (0.8, 0.1, 0.1), (8, 1, 1)),
        (11, (0.8, 0.1, 0.1), (8, 1, 2)),
        (5, (1, 0, 0), (5, 0, 0)),
        (9, (0.5, 0, 0.5), (4, 0, 5)),
        (9, (0.5, 0.5, 0), (4, 5, 0)),
    ],
)
def test_sizes_by_hand(total: int, ratios: tuple[float, ...], sizes: tuple[int, ...]) -> None:
    assert split_sizes(total, ratios) == sizes


@given(total=st.integers(0, 10**7), ratios=st.sampled_from(RATIOS))
def test_sizes_use_up_the_total_and_are_near_their_shares(total: int, ratios: tuple[float, ...]) -> None:
    sizes = split_sizes(total, ratios)
    assert sum(sizes) == total
    for size, ratio in zip(sizes, ratios, strict=True):
        assert abs(size - total * ratio) < 2
        assert size == 0 or ratio > 0


@given(
    total=st.integers(30, 500),
    ratios=st.sampled_from([ratios for ratios in RATIOS if min(ratios) > 0]),
    seed=st.integers(0, 2**63 - 1),
)
def test_by_example_is_torchs_random_split_of_test_val_train(
    total: int, ratios: tuple[float, float, float], seed: int
) -> None:
    train, val, test = ratios
    parts = random_split(range(total), [test, val, train], torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
    membership = split_by_example(total, ratios, seed)
    for part, split in zip(parts, ("test", "val", "train"), strict=True):
        assert sorted(part.indices) == np.flatnonzero(membership == SPLITS.index(split)).tolist()


@given(
    total=st.integers(30, 500),
    tenths=st.sampled_from([(8, 1, 1), (7, 2, 1), (6, 3, 1), (3, 3, 4), (9, 1, 0), (7, 0, 3), (10, 0, 0)]),
    seed=st.integers(0, 2**63 - 1),
)
def test_by_shuffle_is_the_lectures_cut_of_shuffled_lines(total: int, tenths: tuple[int, ...], seed: int) -> None:
    lines = names(total)
    shuffled = lines.copy()
    random.Random(seed).shuffle(shuffled)
    # as in int(0.8 * len(words)) and int(0.9 * len(words))
    cuts = [int(tenths[0] / 10 * total), int((tenths[0] + tenths[1]) / 10 * total)]
    parts = shuffled[: cuts[0]], shuffled[cuts[0] : cuts[1]], shuffled[cuts[1] :]
    membership = split_by_shuffle(total, [tenth / 10 for tenth in tenths], seed).tolist()
    for split, part in enumerate(parts):
        assert [line for line, here in zip(lines, membership, strict=True) if here == split] == sorted(
            part, key=lines.index
        )


def test_by_randperm_the_test_split_is_the_last_words_of_makemore_py() -> None:
    # the last tenth of its words, 1,000 at the most
    total = 40
    with torch.random.fork_rng():
        torch.manual_seed(3407)
        order = torch.randperm(total).tolist()
    membership = split_by_randperm(total, (0.8, 0.1, 0.1), 3407)
    assert np.flatnonzero(membership == 2).tolist() == sorted(order[-4:])
    assert np.flatnonzero(membership == 1).tolist() == sorted(order[-8:-4])
    # the same in every version
    assert sorted(order[-4:]) == [1, 6, 10, 39]


def test_by_shuffle_is_the_same_in_every_process_and_version() -> None:
    assert split_by_shuffle(20, (0.6, 0.2, 0.2), 42).tolist() == [*map(int, "21120002200100001000")]


def test_by_example_gives_the_lessons_sizes() -> None:
    membership = split_by_example(228146, (0.8, 0.1, 0.1), 0)
    assert np.bincount(membership).tolist() == [182516, 22815, 22815]


@given(
    lines=st.lists(st.sampled_from(names(40)), min_size=1, max_size=200),
    ratios=st.sampled_from(RATIOS),
    seed=st.integers(0, 2**63 - 1),
)
def test_identical_lines_are_together_and_splits_near_their_shares(
    lines: list[str], ratios: tuple[float, ...], seed: int
) -> None:
    membership = split_or_skip(keys_of_lines(lines, seed), ratios)
    split_of: dict[str, int] = {}
    for line, split in zip(lines, membership.tolist(), strict=True):
        assert split_of.setdefault(line, split) == split
    most = max(lines.count(line) for line in lines)
    for split, ratio in enumerate(ratios):
        size = membership.tolist().count(split)
        assert (size == 0) == (ratio == 0)
        assert abs(size - ratio * len(lines)) < most + 2


def split_or_skip(keys: npt.NDArray[np.uint64], ratios: tuple[float, ...]) -> npt.NDArray[np.int8]:
    try:
        return split_by_line(keys, ratios)
    except UserError:
        assume(False)
        raise


@given(order=st.permutations(range(60)), seed=st.integers(0, 100))
def test_the_order_of_the_lines_does_not_matter(order: list[int], seed: int) -> None:
    lines = np.array(names(40) + names(20))
    membership = split_by_line(keys_of_lines(lines.tolist(), seed), (0.6, 0.2, 0.2))
    shuffled = split_by_line(keys_of_lines(lines[order].tolist(), seed), (0.6, 0.2, 0.2))
    assert shuffled.tolist() == membership[order].tolist()


def test_distinct_lines_are_split_to_the_exact_sizes() -> None:
    membership = split_by_line(keys_of_lines(names(32257), 0), (0.8, 0.1, 0.1))
    assert np.bincount(membership).tolist() == [25805, 3226, 3226]


def test_split_seed_changes_membership_as_if_at_random() -> None:
    splits = [split_by_line(keys_of_lines(names(10_000), seed), (0.5, 0.25, 0.25)) for seed in range(4)]
    for first in range(4):
        for second in range(first):
            # independent splits agree on 1/4 + 1/16 + 1/16 of the lines; a standard deviation is 0.5%
            assert (splits[first] == splits[second]).mean() == pytest.approx(0.375, abs=0.025)


def test_neighbouring_lines_are_not_kept_together() -> None:
    membership = split_by_line(keys_of_lines(names(10_000), 0), (0.5, 0.25, 0.25))
    assert (membership[1:] == membership[:-1]).mean() == pytest.approx(0.375, abs=0.025)


def test_membership_is_the_same_in_every_process_and_version() -> None:
    # checkpoints record how their text was split, not the membership itself: these may never change
    keys = keys_of_lines(names(20), 0)
    assert split_by_line(keys, (0.6, 0.2, 0.2)).tolist() == [*map(int, "10101002022000100020")]


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_keys_tell_lines_and_seeds_apart(seed: int) -> None:
    keys = keys_of_lines(names(1000), seed)
    assert len(set(keys.tolist())) == 1000
    assert not np.isin(keys, keys_of_lines(names(1000), seed - 1 if seed else 7)).any()
    # a line alone has the key that it has among others
    assert keys_of_lines(["name5"], seed).tolist() == keys[5:6].tolist()


@pytest.mark.parametrize("ratios", [(1, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5)])
def test_a_split_may_be_asked_to_be_empty(ratios: tuple[float, ...]) -> None:
    by_line = split_by_line(keys_of_lines(names(10), 0), ratios)
    by_example = split_by_example(10, ratios, 0)
    for split, ratio in enumerate(ratios):
        assert (by_line == split).sum() == (by_example == split).sum() == 10 * ratio


@pytest.mark.parametrize(
    ("lines", "ratios", "empty"),
    [
        (["emma"], (0.8, 0.1, 0.1), "training"),
        (["emma"] * 100, (0.8, 0.2, 0), "validation"),
        (["emma", "ava"], (0.8, 0.1, 0.1), "validation"),
        (names(3), (0.9, 0.05, 0.05), "validation"),
    ],
)
def test_a_split_that_becomes_empty_by_accident_is_an_error_with_its_mend(
    lines: list[str], ratios: tuple[float, ...], empty: str
) -> None:
    with pytest.raises(UserError, match=f"the {empty} split would be empty") as caught:
        split_by_line(keys_of_lines(lines, 0), ratios)
    assert "data.splits=[1,0,0]" in str(caught.value)


def test_too_few_examples_are_an_error_with_its_mend() -> None:
    with pytest.raises(UserError, match=r"the validation split would be empty.*data\.splits=\[1,0,0\]"):
        split_by_example(4, (0.8, 0.1, 0.1), 0)
    with pytest.raises(UserError, match=r"the validation split would be empty: 4 lines.*data\.splits=\[1,0,0\]"):
        split_by_shuffle(4, (0.8, 0.1, 0.1), 0)


def test_overlap_is_the_share_of_lines_that_train_has_too() -> None:
    keys = keys_of_lines(["emma", "ava", "emma", "mia", "ava", "zoe"], 0)
    lengths, val = np.ones(6, dtype=np.int32), np.array([0, 0, 1, 1, 1, 1], dtype=np.int8)
    assert overlaps_of(keys, lengths, val) == {"val": 0.5}  # emma and ava, not mia and zoe
    assert overlaps_of(keys, lengths, np.ones(6, dtype=np.int8)) == {"val": 0}
    assert overlaps_of(keys, lengths, np.zeros(6, dtype=np.int8)) == {}


@pytest.mark.parametrize("split_seed", range(20))
def test_a_line_too_frequent_for_a_small_split_is_for_training(split_seed: int) -> None:
    lines = names(850) + ["emma"] * 150
    membership = split_by_line(keys_of_lines(lines, split_seed), (0.8, 0.1, 0.1))
    assert (membership[850:] == 0).all()
    assert [int((membership == split).sum()) for split in range(3)] == [800, 100, 100]
