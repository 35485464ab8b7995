"""Checks distributions after beginnings and the tree of likeliest continuations, of models over windows and lines."""

from itertools import product

import pytest
import torch

from makemore.data.vocabulary import Vocabulary
from makemore.inference.continuations import likeliest_continuations, next_log_probs
from makemore.inference.scoring import score
from makemore.models.network import Network, build

VOCABULARIES = {"shared": Vocabulary("ab"), "separate": Vocabulary("ab", "separate", "last")}
ARGUMENTS = {
    "ngram": {"n": 1},
    "mlp": {"block_size": 2, "embedding_dim": 2, "hidden_dim": 3},
    "lstm": {"block_size": 3, "embedding_dim": 2, "hidden_dim": 3},
}


@pytest.fixture(params=["shared", "separate"])
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    return VOCABULARIES[request.param]


@pytest.fixture(params=["bigram", "mlp", "lstm"])
def network(request: pytest.FixtureRequest, vocabulary: Vocabulary) -> Network:
    return build(request.param, vocabulary.size, ARGUMENTS.get(request.param, {}), seed=1).eval()


def test_the_distributions_are_those_that_words_are_scored_with(network: Network, vocabulary: Vocabulary) -> None:
    words = ["", "a", "abba", "bbbbb"]
    tokens = [vocabulary.encode(word) for word in words]
    found = next_log_probs(network, vocabulary, tokens)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(4, dtype=torch.float64))
    for word, after in zip(words, found, strict=True):
        assert after[vocabulary.end].item() == pytest.approx(
            score(network, vocabulary, [word])[0].log_probs[-1], abs=1e-6
        )


def test_a_wide_beam_finds_every_continuation_with_its_probability(network: Network, vocabulary: Vocabulary) -> None:
    beginning = vocabulary.encode("ba")
    (after,) = next_log_probs(network, vocabulary, [beginning])
    levels = likeliest_continuations(network, vocabulary, beginning, after, width=100, depth=3)
    letters = vocabulary.encode("ab")
    for length, level in enumerate(levels, 1):
        expected = {
            (*first, last) for first in product(letters, repeat=length - 1) for last in (*letters, vocabulary.end)
        }
        assert {each.tokens for each in level} == expected
        assert [each.log_prob for each in level] == sorted((each.log_prob for each in level), reverse=True)
        for each in level:
            word = "ba" + vocabulary.decode([token for token in each.tokens if token in letters])
            log_probs = score(network, vocabulary, [word])[0].log_probs[2 : 2 + length]
            assert each.log_prob == pytest.approx(sum(log_probs), abs=1e-6)
            if length > 1:
                assert levels[length - 2][each.parent].tokens == each.tokens[:-1]


def test_a_narrow_beam_keeps_the_likeliest_of_each_length(network: Network, vocabulary: Vocabulary) -> None:
    (after,) = next_log_probs(network, vocabulary, [[]])
    wide = likeliest_continuations(network, vocabulary, [], after, width=2, depth=1)
    all_of = likeliest_continuations(network, vocabulary, [], after, width=9, depth=1)
    assert wide[0] == all_of[0][:2]


def test_what_is_impossible_or_unlikely_is_no_continuation() -> None:
    vocabulary = VOCABULARIES["shared"]
    network = build("bigram", 3, {}, seed=1)
    after = torch.tensor([-torch.inf, 0.0, -torch.inf], dtype=torch.float64)
    (level,) = likeliest_continuations(network, vocabulary, [], after, width=3, depth=1)
    assert [each.tokens for each in level] == [(1,)]
    even = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log()
    (level,) = likeliest_continuations(network, vocabulary, [], even, width=3, depth=1, least=0.3)
    assert [each.tokens for each in level] == [(0,)]
    certain_end = torch.tensor([0.0, -torch.inf, -torch.inf], dtype=torch.float64)
    assert [len(level) for level in likeliest_continuations(network, vocabulary, [], certain_end, 3, 5)] == [1]
