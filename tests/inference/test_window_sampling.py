"""Checks that items sampled at once, from pages and one by one are those of the lesson's loop."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sampling import lesson_samples

from makemore.data.vocabulary import Vocabulary
from makemore.inference import window_sampling
from makemore.inference.sampling import SamplingOptions, sample
from makemore.models.network import build


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    block_size=st.integers(1, 5),
    boundary=st.sampled_from(["shared", "separate"]),
    prompt=st.sampled_from(["", "a", "abcabc"]),
    temperature=st.sampled_from([1.0, 0.7]),
    top_k=st.sampled_from([None, 2]),
    max_length=st.sampled_from([6, 7, 30]),
    few=st.sampled_from([0, 2**15]),
    fewest=st.sampled_from([0, 2**10]),
    batches=st.lists(st.integers(1, 40), min_size=1, max_size=4),
)
def test_items_are_those_of_the_lessons_loop_however_they_are_sampled(
    seed: int,
    block_size: int,
    boundary: str,
    prompt: str,
    temperature: float,
    top_k: int | None,
    max_length: int,
    few: int,
    fewest: int,
    batches: list[int],
) -> None:
    vocabulary = Vocabulary("abc", boundary)
    network = build("mlp", vocabulary.size, {"block_size": block_size, "hidden_dim": 4, "init": "normal"}, seed)
    options = SamplingOptions(prompt, temperature, top_k, max_length)
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in (("_FEW", few), ("_FEWEST", fewest), ("_BATCHES", batches)):
            patch.setattr(window_sampling, name, limit)
        items = sample(network, vocabulary, 40, seed, options)
        assert sample(network, vocabulary, 5, seed, options) == items[:5]
    assert items == list(itertools.islice(lesson_samples(network, vocabulary, seed, options), 40))


@pytest.mark.parametrize(
    ("few", "fewest", "expected"), [(2000, 2000, []), (2000, 0, [1, 50]), (0, 0, [1, 50, 50, 50])]
)
def test_pages_follow_the_first_items_where_contexts_are_few(
    few: int, fewest: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = Vocabulary("abcdefghijk")
    network = build("mlp", vocabulary.size, {"block_size": 3, "hidden_dim": 4}, 0)
    for name, value in (("_FEW", few), ("_FEWEST", fewest), ("_BATCHES", (1, 50))):
        monkeypatch.setattr(window_sampling, name, value)
    counts: list[int] = []
    chained_items = window_sampling.chained_items

    def counted(*given: Any) -> tuple[list[list[int]], int]:
        counts.append(given[-1])
        return chained_items(*given)

    monkeypatch.setattr(window_sampling, "chained_items", counted)
    sample(network, vocabulary, 20, 0, SamplingOptions(max_length=9))
    assert counts == expected
