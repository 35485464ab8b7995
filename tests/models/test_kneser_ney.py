"""Checks Kneser-Ney against the formulas of Chen & Goodman (1999), written with dicts, and by hand."""

import itertools
import math
from collections import Counter
from pathlib import Path
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.corpus import read_corpus
from makemore.data.options import CorpusOptions
from makemore.data.windows import CountedWindows
from makemore.errors import UserError
from makemore.inference.evaluation import counted_splits, split_nlls
from makemore.models.kneser_ney import KneserNey
from makemore.models.network import restore

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
SHIPPED = Path(__file__).parents[2] / "data" / "names.txt"

Ngram = tuple[int, ...]


def ngrams(words: list[list[int]], order: int) -> Counter[Ngram]:
    """Count the n-grams of words of tokens, 0 being the padding and the end."""
    found: Counter[Ngram] = Counter()
    for word in words:
        padded = [0] * (order - 1) + word + [0]
        found.update(tuple(padded[place : place + order]) for place in range(len(word) + 1))
    return found


def windows(counts: Counter[Ngram]) -> CountedWindows:
    contexts = sorted({ngram[:-1] for ngram in counts})
    return CountedWindows(
        contexts=torch.tensor(contexts, dtype=torch.int64).reshape(len(contexts), -1),
        pair_context=torch.tensor([contexts.index(ngram[:-1]) for ngram in sorted(counts)]),
        pair_target=torch.tensor([ngram[-1] for ngram in sorted(counts)]),
        pair_count=torch.tensor([counts[ngram] for ngram in sorted(counts)]),
    )


def trained(words: list[list[int]], order: int, vocab_size: int, device: str = "cpu") -> KneserNey:
    network = KneserNey(vocab_size, torch.Generator(), order).to(device)
    network.count(windows(ngrams(words, order)).to(torch.device(device)))
    return network


def discounts(counts: Counter[Ngram]) -> list[float]:
    n1, n2, n3, n4 = (sum(count == number for count in counts.values()) for number in (1, 2, 3, 4))
    if n1 == 0 or n2 == 0 or n3 == 0:
        return [0.5, 1, 1.5]
    y = n1 / (n1 + 2 * n2)
    found = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
    return found if all(discount > 0 for discount in found) else [0.5, 1, 1.5]


def textbook(words: list[list[int]], order: int, vocab_size: int, context: Ngram) -> list[float]:
    """Return the distribution after a context, one order after the other."""
    levels = [ngrams(words, order)]
    while len(next(iter(levels[0]))) > 1:
        levels.insert(0, Counter(ngram[1:] for ngram in levels[0]))
    probabilities = [1 / vocab_size] * vocab_size
    for length, counts in enumerate(levels):
        history = context[len(context) - length :]
        following = [counts[(*history, token)] for token in range(vocab_size)]
        if (total := sum(following)) == 0:
            continue
        of_count = [0.0, *discounts(counts)]
        taken = [of_count[min(count, 3)] for count in following]
        rest = sum(taken)
        probabilities = [
            (count - discount + rest * lower) / total
            for count, discount, lower in zip(following, taken, probabilities, strict=True)
        ]
    return probabilities


texts = st.lists(st.lists(st.integers(1, 3), max_size=6), min_size=1, max_size=30)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
@settings(max_examples=25)
@given(words=texts, contexts=st.lists(st.tuples(*[st.integers(0, 4)] * 5), min_size=1, max_size=20))
def test_every_distribution_is_that_of_the_textbook(
    device: str, order: int, words: list[list[int]], contexts: list[Ngram]
) -> None:
    # token 4 never occurs
    contexts = [context[len(context) - order + 1 :] for context in contexts]
    network = trained(words, order, 5, device)
    given_contexts = torch.tensor(contexts, device=device).reshape(len(contexts), order - 1)
    found = network(given_contexts).exp()
    expected = torch.tensor([textbook(words, order, 5, context) for context in contexts], dtype=torch.float64)
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-12)
    # as it is exported
    with mock.patch("torch.compiler.is_exporting", return_value=True):
        torch.testing.assert_close(network(given_contexts).exp().cpu(), expected, rtol=0, atol=1e-12)
    assert found.sum(1).tolist() == pytest.approx([1] * len(contexts), abs=1e-12)
    assert found.min() > 0


def test_two_words_by_hand() -> None:
    # "ab" and "b": the bigrams .a, .b, ab once and b. twice; none three times, so the discounts are 0.5, 1, 1.5
    network = trained([[1, 2], [2]], order=2, vocab_size=3)
    # distinct tokens before the end: b; before a: the start; before b: the start and a
    unigrams = [(1 - 0.5) / 4 + 2 / 4 / 3, (1 - 0.5) / 4 + 2 / 4 / 3, (2 - 1) / 4 + 2 / 4 / 3]
    after_b = [(2 - 1) / 2 + 1 / 2 * unigrams[0], 1 / 2 * unigrams[1], 1 / 2 * unigrams[2]]
    assert network(torch.tensor([[2]])).exp().tolist()[0] == pytest.approx(after_b, abs=1e-15)


def test_before_counting_all_is_uniform() -> None:
    network = KneserNey(27, torch.Generator(), order=3)
    torch.testing.assert_close(network(torch.tensor([[0, 5]])).exp(), torch.full((1, 27), 1 / 27, dtype=torch.float64))
    assert network.most_common() == []


def test_counting_again_replaces_the_counts() -> None:
    network = trained([[1, 2], [1, 2], [3]], order=3, vocab_size=4)
    network.count(windows(ngrams([[1, 2, 3]], 3)))
    contexts = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    assert torch.equal(network(contexts), trained([[1, 2, 3]], order=3, vocab_size=4)(contexts))


@pytest.mark.parametrize("order", [1, 2, 5])
def test_most_common_are_the_ngrams_by_count_and_then_by_token(order: int) -> None:
    words = [[1, 2], [1, 2, 1], [2], [2, 1, 2, 1, 3]]
    expected = sorted(ngrams(words, order).items(), key=lambda pair: (-pair[1], pair[0]))
    assert trained(words, order, vocab_size=4).most_common() == expected


def test_order_10_of_many_characters_does_not_overflow() -> None:
    words = [[4999 - place for place in range(12)], [4999] * 12, [1, 2, 3]]
    network = trained(words, order=10, vocab_size=5000)
    for context in (tuple(words[0][:9]), (4999,) * 9, (0,) * 6 + (1, 2, 3), (0,) * 9, (7,) * 9):
        found = network(torch.tensor([context])).exp()[0].tolist()
        assert found == pytest.approx(textbook(words, 10, 5000, context), abs=1e-12)


def test_the_longest_order_gives_no_infinite_nll() -> None:
    words = [[1] * 150, [2, 1] * 60, [1]]
    network = trained(words, order=100, vocab_size=4)
    seen, unseen = torch.ones((1, 99), dtype=torch.int64), torch.full((1, 99), 3)
    assert network(torch.cat([seen, unseen])).isfinite().all()


@pytest.mark.parametrize("order", [1, 2, 5])
def test_a_state_brings_the_counts_into_a_new_network(order: int) -> None:
    network = trained([[1, 2, 2, 1], [3, 1, 2, 2, 1], [1, 2, 2]], order, vocab_size=4)
    contexts = torch.tensor(list(itertools.product(range(4), repeat=order - 1))).long().reshape(4 ** (order - 1), -1)
    fresh = KneserNey(4, torch.Generator(), order)
    fresh.load_state_dict(network.state_dict())
    for other in (fresh, restore("kneser_ney", 4, {"order": order}, network.state_dict())):
        assert torch.equal(other(contexts), network(contexts))
        assert other.most_common() == network.most_common()


@pytest.mark.parametrize(("vocab_size", "order"), [(5, 3), (4, 2)])
def test_a_state_of_another_vocabulary_or_order_is_refused(vocab_size: int, order: int) -> None:
    state = trained([[1, 2, 3]], order=3, vocab_size=4).state_dict()
    with pytest.raises(ValueError, match="another vocabulary or order"):
        restore("kneser_ney", vocab_size, {"order": order}, state)


@pytest.mark.parametrize("table", ["edges", "pairs", "shares"])
def test_a_state_whose_tables_do_not_fit_each_other_is_refused(table: str) -> None:
    state = trained([[1, 2, 3]], order=3, vocab_size=4).state_dict()
    state[table] = state[table][1:]
    with pytest.raises(ValueError, match="not of the same length"):
        restore("kneser_ney", 4, {"order": 3}, state)


@pytest.mark.parametrize("order", [0, -1, 101, 2.0, "2", True, None])
def test_an_order_must_be_a_whole_number_from_1_to_100(order: int) -> None:
    with pytest.raises(UserError, match=r"model\.order must be"):
        KneserNey(27, torch.Generator(), order)


def test_the_shipped_names() -> None:
    corpus = read_corpus(CorpusOptions(str(SHIPPED)))
    splits = counted_splits(corpus, KneserNey(27, torch.Generator()))
    network = KneserNey(corpus.vocabulary.size, torch.Generator())
    network.count(splits["train"])
    nlls = {split: nll.nats for split, nll in split_nlls(network, splits).items()}
    assert nlls == pytest.approx({"train": 1.70866, "val": 2.01585, "test": 2.00777}, abs=1e-5)
    assert all(math.isfinite(nll) for nll in nlls.values())
