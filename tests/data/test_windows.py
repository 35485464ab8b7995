"""Checks contexts and targets against the lessons' loop, and counted windows against a Counter of the examples."""

import tracemalloc
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import CountedWindows, Windows, padded, positions_of

Example = tuple[tuple[int, ...], int]

BOUNDARIES = [("shared", "first"), ("shared", "last"), ("separate", "first"), ("separate", "last")]
LINES: st.SearchStrategy[list[str]] = st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=12)
# long ones that end alike
LONG_LINES = st.builds(
    lambda starts, end: [start + end for start in starts],
    st.lists(st.text("abc", min_size=1, max_size=40), min_size=1, max_size=6),
    st.text("abc", max_size=40),
)


def lesson_examples(lines: list[str], block_size: int, vocabulary: Vocabulary) -> list[Example]:
    """The lesson's loop (L2), one example after another."""
    examples = []
    for line in lines:
        context = [vocabulary.start] * block_size
        for ix in [*vocabulary.encode(line), vocabulary.end]:
            examples.append((tuple(context), ix))
            # as `context[1:] + [ix]`, but right for a context of no tokens too
            context = (context + [ix])[1:]  # noqa: RUF005
    return examples


# of counted windows
TENSORS = ("contexts", "pair_context", "pair_target", "pair_count")


def windows_of(lines: list[str], block_size: int, vocabulary: Vocabulary, chosen: list[bool] | None = None) -> Windows:
    tokens = vocabulary.encode_lines("".join(f"{line}\n" for line in lines), "it")
    lengths = np.array([len(line) + 1 for line in lines])
    mask = np.ones(len(tokens), dtype=bool) if chosen is None else np.array(chosen, dtype=bool)
    return Windows(
        padded(tokens, lengths, block_size, vocabulary.start),
        positions_of(mask, lengths, block_size),
        block_size,
        vocabulary.size,
    )


def examples_of(windows: Windows) -> list[Example]:
    contexts, targets = windows.batch(torch.arange(len(windows)))
    return list(zip(map(tuple, contexts.tolist()), targets.tolist(), strict=True))


def counter_of(counted: CountedWindows) -> Counter[Example]:
    contexts = [tuple(context) for context in counted.contexts.tolist()]
    pairs = zip(counted.pair_context.tolist(), counted.pair_target.tolist(), counted.pair_count.tolist(), strict=True)
    counter: Counter[Example] = Counter()
    for row, target, count in pairs:
        assert (contexts[row], target) not in counter
        counter[contexts[row], target] = count
    return counter


def test_emma_as_the_lesson_prints_it() -> None:
    vocabulary = Vocabulary("aem")
    shown = [
        ("".join(vocabulary.labels[token] for token in context), vocabulary.labels[target])
        for context, target in examples_of(windows_of(["emma"], 3, vocabulary))
    ]
    assert shown == [("...", "e"), ("..e", "m"), (".em", "m"), ("emm", "a"), ("mma", ".")]


def test_separate_boundaries_pad_with_start_and_end_with_end() -> None:
    vocabulary = Vocabulary("ab", "separate", "last")  # a 0, b 1, <S> 2, <E> 3
    assert examples_of(windows_of(["ab", "b"], 2, vocabulary)) == [
        ((2, 2), 0),
        ((2, 0), 1),
        ((0, 1), 3),
        ((2, 2), 1),
        ((2, 1), 3),
    ]


@given(lines=LINES, block_size=st.integers(0, 8), boundary=st.sampled_from(BOUNDARIES))
def test_examples_are_those_of_the_lessons_loop(lines: list[str], block_size: int, boundary: tuple[str, str]) -> None:
    vocabulary = Vocabulary("abc", *boundary)
    windows = windows_of(lines, block_size, vocabulary)
    assert len(windows) == sum(len(line) + 1 for line in lines)
    assert examples_of(windows) == lesson_examples(lines, block_size, vocabulary)


@given(lines=LINES, block_size=st.integers(0, 5), data=st.data())
def test_chosen_examples_keep_their_whole_context(lines: list[str], block_size: int, data: st.DataObject) -> None:
    vocabulary = Vocabulary("abc")
    examples = lesson_examples(lines, block_size, vocabulary)
    chosen = data.draw(st.lists(st.booleans(), min_size=len(examples), max_size=len(examples)))
    wanted = [example for example, keep in zip(examples, chosen, strict=True) if keep]
    windows = windows_of(lines, block_size, vocabulary, chosen)
    assert examples_of(windows) == wanted
    assert counter_of(windows.counted()) == Counter(wanted)


@given(
    lines=LINES | LONG_LINES,
    # four tokens to the power of 32 no longer fit in 64 bits
    block_size=st.integers(0, 8) | st.integers(28, 70),
    boundary=st.sampled_from(BOUNDARIES),
    chunk=st.integers(1, 40),
)
# told apart by what is furthest back alone
@example(lines=["a" + "b" * 30, "c" + "b" * 30], block_size=31, boundary=("shared", "first"), chunk=5)
@example(lines=["a" + "b" * 35, "c" + "b" * 35], block_size=36, boundary=("shared", "last"), chunk=99)
@example(lines=["c" * 40 + "b" * 35, "a" * 40 + "b" * 35], block_size=70, boundary=("shared", "first"), chunk=40)
def test_counted_windows_are_a_counter_of_the_examples_whatever_is_counted_at_once(
    lines: list[str], block_size: int, boundary: tuple[str, str], chunk: int
) -> None:
    vocabulary = Vocabulary("abc", *boundary)
    windows = windows_of(lines, block_size, vocabulary)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("makemore.data.windows._CHUNK", chunk)
        patch.setattr("makemore.data.windows._DENSE", chunk)
        again = windows_of(lines, block_size, vocabulary)
        counted = windows.counted()
    assert torch.equal(again.stream, windows.stream)
    assert torch.equal(again.positions, windows.positions)
    whole = windows.counted()
    for name in TENSORS:
        assert torch.equal(getattr(counted, name), getattr(whole, name))
    assert counter_of(counted) == Counter(lesson_examples(lines, block_size, vocabulary))
    assert counted.total == sum(len(line) + 1 for line in lines)


@pytest.mark.parametrize("block_size", [0, 1, 2, 3, 12, 13, 14, 15, 40])
@pytest.mark.parametrize("boundary_at", ["first", "last"])
def test_long_contexts_of_many_tokens_are_counted_exactly(block_size: int, boundary_at: str) -> None:
    # 27^13 fits in 64 bits and 27^14 does not: from there on the codes are numbered anew on the way
    generator = np.random.default_rng(0)
    vocabulary = Vocabulary("abcdefghijklmnopqrstuvwxyz", boundary_at=boundary_at)
    words = ["".join(generator.choice(list("zyxa"), size=generator.integers(1, 30))) for _ in range(200)]
    words += words[:50]
    counted = windows_of(words, block_size, vocabulary).counted()
    assert counter_of(counted) == Counter(lesson_examples(words, block_size, vocabulary))


@given(
    lines=LINES | LONG_LINES, block_size=st.integers(0, 5) | st.integers(30, 70), boundary=st.sampled_from(BOUNDARIES)
)
def test_counted_contexts_are_distinct_and_in_order_and_pairs_in_the_order_of_their_contexts(
    lines: list[str], block_size: int, boundary: tuple[str, str]
) -> None:
    counted = windows_of(lines, block_size, Vocabulary("abc", *boundary)).counted()
    contexts = counted.contexts.tolist()
    assert all(first < second for first, second in pairwise(contexts))
    pairs = list(zip(counted.pair_context.tolist(), counted.pair_target.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    assert {row for row, _ in pairs} == set(range(len(contexts)))
    assert counted.pair_count.min() >= 1


def test_counting_takes_little_more_memory_than_the_distinct_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makemore.data.windows._CHUNK", 2**12)
    letters = np.random.default_rng(0).choice(list("abcdefghijklmnop"), (300, 100))
    windows = windows_of(["".join(line) for line in letters], 100, Vocabulary("abcdefghijklmnop"))
    tracemalloc.start()
    counted = windows.counted()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(counted.contexts) > 29_000
    # a matrix of the places of their tokens is 8 times as large
    assert peak < 2 * counted.contexts.nbytes


def test_counts_by_hand() -> None:
    # a 1, b 2, boundary 0: ".a" twice, ".b" once, "ab" twice, "b." three times
    counted = windows_of(["ab", "ab", "b"], 1, Vocabulary("ab")).counted()
    assert counted.contexts.tolist() == [[0], [1], [2]]
    assert counted.pair_context.tolist() == [0, 0, 1, 2]
    assert counted.pair_target.tolist() == [1, 2, 2, 0]
    assert counted.pair_count.tolist() == [2, 1, 2, 3]
    assert counted.total == 8


def test_a_model_without_context_sees_the_counts_of_the_tokens() -> None:
    windows = windows_of(["ab", "ab", "b"], 0, Vocabulary("ab"))
    contexts, targets = windows.batch(torch.arange(3))
    assert contexts.shape == (3, 0)
    assert targets.tolist() == [1, 2, 0]
    counted = windows.counted()
    assert counted.contexts.shape == (1, 0)
    assert counted.pair_target.tolist() == [0, 1, 2]
    assert counted.pair_count.tolist() == [3, 2, 3]


def test_nothing_chosen_is_counted_as_nothing() -> None:
    windows = windows_of(["ab"], 2, Vocabulary("ab"), [False, False, False])
    assert len(windows) == 0
    counted = windows.counted()
    assert counted.total == 0
    assert counted.contexts.shape == (0, 2)
    assert len(counted.pair_context) == len(counted.pair_target) == len(counted.pair_count) == 0


@pytest.mark.parametrize("shape", [(4,), (2, 3), (5, 2, 3), (0,)])
def test_batches_have_the_shape_of_their_rows(shape: tuple[int, ...]) -> None:
    vocabulary = Vocabulary("abc")
    lines = ["abc", "ca", "b"]
    examples = lesson_examples(lines, 2, vocabulary)
    rows = torch.randint(len(examples), shape, generator=torch.Generator().manual_seed(0))
    contexts, targets = windows_of(lines, 2, vocabulary).batch(rows)
    assert contexts.shape == (*shape, 2)
    assert targets.shape == shape
    assert contexts.dtype == targets.dtype == torch.int64
    for row, context, target in zip(
        rows.flatten().tolist(), contexts.reshape(-1, 2).tolist(), targets.flatten().tolist(), strict=True
    ):
        assert (tuple(context), target) == examples[row]


@pytest.mark.parametrize(("characters", "itemsize"), [(26, 1), (300, 2), (40_000, 4)])
def test_the_stream_holds_each_token_once_in_the_smallest_type(characters: int, itemsize: int) -> None:
    alphabet = "".join(chr(0x10000 + number) for number in range(characters))
    vocabulary = Vocabulary(alphabet, boundary_at="last")
    lines = [alphabet[:3], alphabet[-2:]]
    windows = windows_of(lines, 4, vocabulary)
    assert windows.stream.element_size() == itemsize
    assert len(windows.stream) == (4 + 3 + 1) + (4 + 2 + 1)
    assert windows.positions.element_size() == 4
    assert examples_of(windows) == lesson_examples(lines, 4, vocabulary)
    assert counter_of(windows.counted()) == Counter(lesson_examples(lines, 4, vocabulary))


def test_counted_windows_move_whole_to_a_device() -> None:
    counted = windows_of(["ab", "b"], 1, Vocabulary("ab")).counted()
    moved = counted.to(torch.device("meta"))
    assert moved.start == counted.start
    for name in TENSORS:
        tensor = getattr(counted, name)
        assert getattr(moved, name).device.type == "meta"
        assert getattr(moved, name).shape == tensor.shape
    assert counter_of(counted.to(torch.device("cpu"))) == counter_of(counted)
