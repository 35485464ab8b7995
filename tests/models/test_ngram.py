"""Checks the counted n-gram against plain counting, by hand and on the lessons' table of bigrams."""

import itertools
import signal
from collections import Counter
from types import FrameType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.windows import CountedWindows
from makemore.errors import UserError
from makemore.inference.likelihood import exact_nll
from makemore.models.ngram import NGram

LABELS = ".abcdefghijklmnopqrstuvwxyz"
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

Example = tuple[tuple[int, ...], int]


def examples(words: list[str], block_size: int) -> Counter[Example]:
    """Count contexts with what follows them, by the lesson's loop."""
    counts: Counter[Example] = Counter()
    for word in words:
        context = [0] * block_size
        for character in word + ".":
            token = LABELS.index(character)
            counts[tuple(context), token] += 1
            context = [*context, token][1:]
    return counts


def counted(counts: Counter[Example], block_size: int) -> CountedWindows:
    pairs = sorted(counts)
    contexts = sorted({context for context, _ in pairs})
    return CountedWindows(
        contexts=torch.tensor(contexts, dtype=torch.int64).reshape(len(contexts), block_size),
        pair_context=torch.tensor([contexts.index(context) for context, _ in pairs]),
        pair_target=torch.tensor([target for _, target in pairs]),
        pair_count=torch.tensor([counts[pair] for pair in pairs]),
    )


def trained(words: list[str], order: int, fake_count: float = 0, vocab_size: int = 27, device: str = "cpu") -> NGram:
    network = NGram(vocab_size, torch.Generator(), order, fake_count).to(device)
    network.count(counted(examples(words, network.block_size), network.block_size).to(torch.device(device)))
    return network


def lesson_windows(pairs: list[tuple[str, str, int]]) -> CountedWindows:
    return counted(
        Counter({((LABELS.index(first),), LABELS.index(second)): count for first, second, count in pairs}), 1
    )


@pytest.fixture
def lesson_bigram(bigram_pairs: list[tuple[str, str, int]]) -> NGram:
    network = NGram(27, torch.Generator())
    network.count(lesson_windows(bigram_pairs))
    return network


words = st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=8)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
@settings(max_examples=20)
@given(words=words, fake_count=st.sampled_from([0, 0.5, 1, 3]))
def test_every_distribution_is_that_of_plain_counting(
    device: str, order: int, words: list[str], fake_count: float
) -> None:
    network = trained(words, order, fake_count, vocab_size=4, device=device)
    plain = examples(words, network.block_size) if order > 0 else Counter()
    every_context = list(itertools.product(range(4), repeat=network.block_size))
    contexts = torch.tensor(every_context, dtype=torch.int64, device=device)
    contexts = contexts.reshape(len(every_context), network.block_size)
    probabilities = network(contexts).exp().tolist()
    for context, row in zip(every_context, probabilities, strict=True):
        counts = [plain[context, token] + fake_count for token in range(4)]
        expected = [count / sum(counts) for count in counts] if sum(counts) else [0.25] * 4
        assert row == pytest.approx(expected, abs=1e-12)


def test_two_words_by_hand() -> None:
    # a is followed by b, b and the end; b by a and the end
    probabilities = trained(["ab", "aba"], order=2, vocab_size=3)(torch.tensor([[0], [1], [2]])).exp()
    torch.testing.assert_close(
        probabilities, torch.tensor([[0, 1, 0], [1 / 3, 0, 2 / 3], [1 / 2, 1 / 2, 0]], dtype=torch.float64)
    )


def test_a_fake_count_is_added_to_every_count() -> None:
    probabilities = trained(["ab", "aba"], order=2, fake_count=1, vocab_size=3)(torch.tensor([[1]])).exp()
    torch.testing.assert_close(probabilities, torch.tensor([[2 / 6, 1 / 6, 3 / 6]], dtype=torch.float64))


@pytest.mark.parametrize("fake_count", [0, 1])
@pytest.mark.parametrize("order", [2, 3])
def test_an_unseen_context_gives_the_uniform_distribution(order: int, fake_count: float) -> None:
    network = trained(["abc"], order, fake_count)
    unseen = torch.full((1, network.block_size), 26)
    torch.testing.assert_close(network(unseen).exp(), torch.full((1, 27), 1 / 27, dtype=torch.float64))


def test_before_counting_all_is_uniform() -> None:
    network = NGram(27, torch.Generator(), order=3)
    torch.testing.assert_close(network(torch.tensor([[0, 5]])).exp(), torch.full((1, 27), 1 / 27, dtype=torch.float64))


def test_counting_again_replaces_the_counts() -> None:
    network = trained(["ab", "ab", "cc"], order=2)
    network.count(counted(examples(["abc"], 1), 1))
    fresh = trained(["abc"], order=2)
    every = torch.arange(27).unsqueeze(1)
    assert torch.equal(network(every), fresh(every))


def test_the_order_of_the_pairs_does_not_matter() -> None:
    windows = counted(examples(["abba", "cab"], 2), 2)
    backwards = torch.arange(len(windows.pair_count) - 1, -1, -1)
    network = NGram(4, torch.Generator(), order=3)
    network.count(
        CountedWindows(
            windows.contexts,
            windows.pair_context[backwards],
            windows.pair_target[backwards],
            windows.pair_count[backwards],
        )
    )
    contexts = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    assert torch.equal(network(contexts), trained(["abba", "cab"], order=3, vocab_size=4)(contexts))


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_a_state_dict_brings_the_counts_into_a_new_network(order: int) -> None:
    network = trained(["anna", "hanna", "ann"], order, fake_count=0.5)
    fresh = NGram(27, torch.Generator(), order, fake_count=0.5)
    fresh.load_state_dict(network.state_dict())
    contexts = torch.randint(0, 27, (50, network.block_size), generator=torch.Generator().manual_seed(0))
    assert torch.equal(fresh(contexts), network(contexts))
    assert fresh.most_common() == network.most_common()


def test_most_common_is_sorted_by_count_and_then_by_token() -> None:
    assert trained(["ab", "aba", "b"], order=2, vocab_size=3).most_common() == [
        ((0, 1), 2),
        ((1, 2), 2),
        ((2, 0), 2),
        ((0, 2), 1),
        ((1, 0), 1),
        ((2, 1), 1),
    ]


def test_order_zero_counts_nothing() -> None:
    assert trained(["ab"], order=0).most_common() == []


# 27**13 < 2**63 <= 27**14
@pytest.mark.parametrize(("vocab_size", "longest"), [(27, 13), (2, 62), (100_000, 3)])
def test_the_longest_order_that_fits_is_counted_right_and_the_next_is_a_user_error(
    vocab_size: int, longest: int
) -> None:
    network = NGram(vocab_size, torch.Generator(), longest)
    last = vocab_size - 1
    network.count(counted(Counter({((last,) * (longest - 1), last): 3, ((0,) * (longest - 1), 1): 1}), longest - 1))
    logits = network(torch.full((1, longest - 1), last))
    assert logits.exp()[0, last] == 1
    assert network.most_common()[0] == ((last,) * longest, 3)
    with pytest.raises(UserError, match=rf"model\.order={longest + 1} .* the most is {longest}$"):
        NGram(vocab_size, torch.Generator(), longest + 1)


def test_an_absurd_order_is_refused_and_not_computed() -> None:
    def stuck(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError("still computing powers of the vocabulary size")

    previous = signal.signal(signal.SIGALRM, stuck)
    signal.alarm(3)
    try:
        with pytest.raises(UserError, match="the most is 13"):
            NGram(27, torch.Generator(), 1_000_000)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("order", [-1, 2.0, "2", True, None])
def test_an_order_must_be_a_whole_number(order: int) -> None:
    with pytest.raises(UserError, match=r"model\.order must be"):
        NGram(27, torch.Generator(), order)


@pytest.mark.parametrize("fake_count", [-1, float("nan"), float("inf"), "1", None])
def test_a_fake_count_must_be_a_number_of_at_least_zero(fake_count: float) -> None:
    with pytest.raises(UserError, match=r"model\.fake_count must be"):
        NGram(27, torch.Generator(), 2, fake_count)


def test_nll_of_the_lessons_whole_file(lesson_bigram: NGram, bigram_pairs: list[tuple[str, str, int]]) -> None:
    nll = exact_nll(lesson_bigram, lesson_windows(bigram_pairs))
    assert nll.characters == 228_146
    assert nll.total == pytest.approx(559873.59, abs=0.005)
    assert nll.nats == pytest.approx(2.45401, abs=5e-6)


def test_the_lessons_ten_most_common_bigrams(lesson_bigram: NGram) -> None:
    common = [(LABELS[first] + LABELS[second], count) for (first, second), count in lesson_bigram.most_common()]
    assert len(common) == 627
    assert common[:10] == [
        ("n.", 6763),
        ("a.", 6640),
        ("an", 5438),
        (".a", 4410),
        ("e.", 3983),
        ("ar", 3264),
        ("el", 3248),
        ("ri", 3033),
        ("na", 2977),
        (".k", 2963),
    ]


def test_the_lessons_row_of_the_boundary(lesson_bigram: NGram) -> None:
    row = [0, 4410, 1306, 1542, 1690, 1531, 417, 669, 874, 591, 2422, 2963, 1572, 2538, 1146, 394]
    row += [515, 92, 1639, 2055, 1308, 78, 376, 307, 134, 535, 929]
    probabilities = lesson_bigram(torch.tensor([[0]])).exp()[0]
    assert (probabilities * 32_033).tolist() == pytest.approx(row, abs=1e-8)
