"""Splits of the examples into training, validation and test.

By line (the default), identical lines stay together: a plain random split of the lessons' names puts 13% of the
validation names into training. By example: the lesson's random split of the examples (L0). By shuffle and by randperm:
such plain splits of the lines, the lectures' and that of makemore.py. The split depends on `split_seed` and the text,
never on the seed of a run, which sweeps vary.
"""

import hashlib
import math
import random
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from makemore.data.options import SPLITS
from makemore.errors import UserError

Keys = npt.NDArray[np.uint64]
Membership = npt.NDArray[np.int8]


def split_sizes(total: int, ratios: Sequence[float]) -> tuple[int, int, int]:
    """Return the sizes of train, val and test by the rule of `torch.utils.data.random_split` over test, val, train.

    Each gets the floor of its share; the remainder goes one by one to test, val, train, skipping ratios of 0.
    """
    sizes = [math.floor(total * ratio) for ratio in ratios]
    asked = [split for split in (2, 1, 0) if ratios[split] > 0]
    for left in range(total - sum(sizes)):
        sizes[asked[left % len(asked)]] += 1
    return sizes[0], sizes[1], sizes[2]


def split_by_line(line_keys: Keys, ratios: Sequence[float]) -> Membership:
    """Return the split of each line (0 train, 1 val, 2 test), the same for lines with the same key.

    The order of the keys is a random order of the distinct lines: the first go to test, then to val, then to train,
    until each has its share of the lines. A line so frequent that it would overfill val or test goes to train.
    """
    _, inverse, counts = np.unique(line_keys, return_inverse=True, return_counts=True)
    _, val, test = split_sizes(len(line_keys), ratios)
    frequent = counts > max(1, min((size for size in (val, test) if size), default=1))
    placed = np.where(frequent, 0, counts)
    before = np.cumsum(placed) - placed
    membership = np.select([frequent, before < test, before < test + val], [0, 2, 1], 0).astype(np.int8)[inverse]
    _check_not_empty(membership, ratios, f"{len(counts):,} distinct lines")
    return membership


def split_by_example(total: int, ratios: Sequence[float], split_seed: int) -> Membership:
    """Return the split of each of `total` examples as `torch.utils.data.random_split` draws test, val, train (L0)."""
    order = _permutation(total, split_seed)
    _, val, test = split_sizes(total, ratios)
    membership = np.zeros(total, dtype=np.int8)
    membership[order[:test]] = 2
    membership[order[test : test + val]] = 1
    _check_not_empty(membership, ratios, f"{total:,} examples")
    return membership


def split_by_shuffle(total: int, ratios: Sequence[float], split_seed: int) -> Membership:
    """Return the split of each of `total` lines as the lectures cut them (part 2), identical ones wherever they fall.

    Python's `random` shuffles the lines; train ends at the floor of its share, val at that of both.
    """
    order = list(range(total))
    random.Random(split_seed).shuffle(order)
    return _cut(order, ratios)


def split_by_randperm(total: int, ratios: Sequence[float], split_seed: int) -> Membership:
    """Return the split of each of `total` lines, cut as by shuffle, in an order by torch, as makemore.py has it.

    Its test words are the last ones; its seed is 3407.
    """
    return _cut(_permutation(total, split_seed), ratios)


def _permutation(total: int, split_seed: int) -> npt.NDArray[np.int64]:
    generator = torch.Generator().manual_seed(split_seed)
    permutation: npt.NDArray[np.int64] = torch.randperm(total, generator=generator).numpy()
    return permutation


def _cut(order: npt.NDArray[np.int64] | list[int], ratios: Sequence[float]) -> Membership:
    total = len(order)
    # 0.7 + 0.2 is a little less than 0.9
    train, val = (int(total * round(share, 9)) for share in (ratios[0], ratios[0] + ratios[1]))
    membership = np.full(total, 2, dtype=np.int8)
    membership[order[:val]] = 1
    membership[order[:train]] = 0
    _check_not_empty(membership, ratios, f"{total:,} lines")
    return membership


def keys_of_lines(lines: Iterable[str], split_seed: int) -> Keys:
    """Return a 64-bit key for each line: its BLAKE2b hash, keyed by `split_seed`."""
    key = split_seed.to_bytes(8, "little")
    digests = (hashlib.blake2b(line.encode(), digest_size=8, key=key).digest() for line in lines)
    return np.frombuffer(b"".join(digests), dtype="<u8")


def overlaps_of(line_keys: Keys, lengths: npt.NDArray[np.int32], membership: Membership) -> dict[str, float]:
    """Return the share of the lines of val and of test, where they have examples, that train has too."""
    starts = np.cumsum(lengths) - lengths
    train, *others = (line_keys[np.logical_or.reduceat(membership == split, starts)] for split in range(len(SPLITS)))
    found = zip(SPLITS[1:], others, strict=True)
    return {split: float(np.isin(keys, train).mean()) for split, keys in found if len(keys)}


def _check_not_empty(membership: Membership, ratios: Sequence[float], what: str) -> None:
    for split, (name, ratio) in enumerate(zip(("training", "validation", "test"), ratios, strict=True)):
        if ratio > 0 and not (membership == split).any():
            raise UserError(
                f"the {name} split would be empty: {what} do not divide as data.splits={list(ratios)} asks; use more "
                "text or another data.split_seed, or ask for an empty split with a ratio of 0, as in "
                "data.splits=[1,0,0]"
            )
