"""Checks sampling against the lesson's loop, one uniform a character, and against L4's names letter for letter."""

import copy
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.corpus import read_corpus
from makemore.data.options import CorpusOptions
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import CountedWindows
from makemore.errors import UserError
from makemore.inference import batched_sampling, window_sampling
from makemore.inference.sampling import Distributions, SamplingOptions, sample, samples, unseen
from makemore.models.kneser_ney import KneserNey
from makemore.models.network import Network, build
from makemore.models.ngram import NGram

LESSON_SEED = 2147483647
LETTERS = Vocabulary("abcdefghijklmnopqrstuvwxyz")

NAMES_FROM_COUNTS = [
    "mor",
    "axx",
    "minaymoryles",
    "kondlaisah",
    "anchshizarie",
    "odaren",
    "iaddash",
    "h",
    "jhinatien",
    "egushl",
    "h",
    "br",
    "a",
    "jayn",
    "ilemannariaenien",
    "be",
    "f",
    "akiinela",
    "trttanakeroruceyaaxatona",
    "lamoynayrkiedengin",
]

# the sixteenth is empty
NAMES_FROM_THE_UNIFORM_DISTRIBUTION = [
    "qvsaayxbqrqmyqwuznivanukotdjvdhd",
    "qnoymtzduqkatdetkpfjdgigvlejfkrsqlwnirghhzwlu",
    "idcx",
    "cekmzucjnjoeovjvrggqrjr",
    "cfbhabkslpokc",
    "xtxwbpmknuusxdgzfexhwqpldpdnwzvkyxsqjforqqpfxstwkfoufhvwfhmsuyyotvcvvqpfcbydjcouhkajkhqnnpqmmllaordqy",
    "gszpw",
    "zlgijinangzzuulsyvqrufuawavsdbnwvlmrypvgrsfgpshgnmwafqmsjdvbhngvoiigxhkwdltrdkwnagzyknqv",
    "lfstdqigvncdoidetsukgdp",
    "cfpjsxeqjcsmjwguzes",
    "woflfjxflylgbegpjdpovdtw",
    "dlzysqtrbhxhcdneiuum",
    "xtyslfbmaboaanyjpojuujflcsaucqcgtjmlzqtbaisvxrtgupkppigxudejdzsroqeigovuxmvt",
    "jlxfolkozci",
    "tkhdivkdifaxcevlpktkwwvuxlymtwylgpzauwdvxfvbooflddphmjeomjgjcqeqwt",
    "",
    "wlxclcjbm",
    "quuyijtnzmycshclormjyrerqslomdrlbuwqnlmitbrmqhtbdwbyvlsmwnborwcdhjotezwnsxuvffvinrmedelubhdfgtavxqfgmnyqrygyevx"
    "aapbjtnwfnwewqxerdytttvfo",
    "iauarz",
    "tynoqkyp",
]


@pytest.fixture(scope="module")
def lesson_bigram(lesson_text: Path) -> NGram:
    network = NGram(27, torch.Generator())
    network.count(read_corpus(CorpusOptions(str(lesson_text), splits=(1, 0, 0))).windows("train", 1).counted())
    return network


@torch.no_grad()
def lesson_samples(
    network: Network, vocabulary: Vocabulary, seed: int, options: SamplingOptions | None = None
) -> Iterator[str]:
    """Yield items by the plainest loop: one float64 uniform a character, running through the probabilities."""
    options = options or SamplingOptions()
    generator = torch.Generator().manual_seed(seed)
    network = copy.deepcopy(network).double()
    while True:
        context = [vocabulary.start] * network.block_size
        item = ""
        for character in options.prompt:
            item += character
            context = [*context, vocabulary.encode(character)[0]][1:] if context else []
        while len(item) < options.max_length:
            logits = network(torch.tensor([context], dtype=torch.int64))[0].tolist()
            if vocabulary.boundary == "separate":
                logits[vocabulary.start] = -math.inf
            kept = sorted(range(len(logits)), key=lambda token: -logits[token])[: options.top_k]
            highest = max(logits)
            weights = [
                math.exp((logit - highest) / options.temperature) if token in kept else 0
                for token, logit in enumerate(logits)
            ]
            uniform = torch.rand(1, dtype=torch.float64, generator=generator).item()
            running, token = weights[0] / sum(weights), 0
            while running <= uniform:
                token += 1
                running += weights[token] / sum(weights)
            if token == vocabulary.end:
                break
            item += vocabulary.labels[token]
            context = [*context, token][1:] if context else []
        yield item


def network_of(architecture: str, vocabulary: Vocabulary, seed: int = 0) -> Network:
    arguments: dict[str, dict[str, Any]] = {
        "bigram": {"init": "normal"},
        "mlp": {"block_size": 3, "init": "normal"},
        "ngram": {"order": 0},
        "kneser_ney": {"order": 3},
    }
    network = build(architecture, vocabulary.size, arguments[architecture], seed)
    if isinstance(network, KneserNey):
        # of random pairs, each after its own context
        targets = torch.randperm(vocabulary.size, generator=torch.Generator().manual_seed(seed))
        contexts, rows = torch.stack([targets.sort().values, targets], 1), torch.arange(vocabulary.size)
        network.count(CountedWindows(contexts, rows, targets.flip(0), rows + 1))
    return network


def test_l4s_twenty_names_from_the_counts(lesson_bigram: NGram) -> None:
    assert sample(lesson_bigram, LETTERS, 20, LESSON_SEED) == NAMES_FROM_COUNTS


def test_l4s_twenty_names_from_the_uniform_distribution() -> None:
    assert sample(network_of("ngram", LETTERS), LETTERS, 20, LESSON_SEED) == NAMES_FROM_THE_UNIFORM_DISTRIBUTION


def test_the_first_ten_of_a_hundred_are_the_ten(lesson_bigram: NGram) -> None:
    assert sample(lesson_bigram, LETTERS, 100, seed=0)[:10] == sample(lesson_bigram, LETTERS, 10, seed=0)


def test_another_seed_gives_other_names(lesson_bigram: NGram) -> None:
    assert sample(lesson_bigram, LETTERS, 10, seed=0) != sample(lesson_bigram, LETTERS, 10, seed=1)


def test_names_do_not_depend_on_the_global_generator_nor_move_it(lesson_bigram: NGram) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = sample(lesson_bigram, LETTERS, 10, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert sample(lesson_bigram, LETTERS, 10, seed=0) == first


def test_uniforms_drawn_in_chunks_are_those_drawn_one_by_one(lesson_bigram: NGram) -> None:
    # about 2,100 characters, so that more than one chunk is used
    expected = list(itertools.islice(lesson_samples(lesson_bigram, LETTERS, 3), 300))
    assert sum(len(name) + 1 for name in expected) > batched_sampling._DRAWN
    assert sample(lesson_bigram, LETTERS, 300, seed=3) == expected


@pytest.mark.parametrize("chunk", [1, 7, 100_000])
def test_the_size_of_the_chunks_changes_nothing(
    chunk: int, lesson_bigram: NGram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batched_sampling, "_DRAWN", chunk)
    assert sample(lesson_bigram, LETTERS, 20, LESSON_SEED) == NAMES_FROM_COUNTS


@pytest.mark.parametrize(
    ("page", "kept"),
    [
        (100, 300),
        *(pytest.param(*sizes, marks=pytest.mark.full) for sizes in [(1, 1), (2**12, 2**12), (2**20, 2**23)]),
    ],
)
@pytest.mark.parametrize("boundary", ["shared", "separate"])
def test_the_size_of_the_pages_and_how_many_are_kept_change_nothing(
    page: int, kept: int, boundary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = Vocabulary("abcdefghijk", boundary)
    network = network_of("mlp", vocabulary)
    expected = list(itertools.islice(lesson_samples(network, vocabulary, 1), 30))
    monkeypatch.setattr(window_sampling, "_PAGE", page)
    monkeypatch.setattr(window_sampling, "_KEPT", kept)
    assert sample(network, vocabulary, 30, seed=1) == expected


def pages_of(vocabulary: Vocabulary) -> window_sampling.Pages:
    network = network_of("mlp", vocabulary).double()
    return window_sampling.Pages(network, Distributions(vocabulary, SamplingOptions()))


def test_no_more_is_kept_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = Vocabulary("abcdefghijk")
    monkeypatch.setattr(window_sampling, "_PAGE", 24)
    monkeypatch.setattr(window_sampling, "_KEPT", 240)
    pages = pages_of(vocabulary)
    assert pages.rows == 2
    first = pages[0]
    for number in range(864):
        assert len(pages[number]) == 24
        assert sum(len(page) for page in pages.values()) <= 240
    assert 0 not in pages
    assert pages[0] == first
    assert pages[0] is not first


def test_where_many_contexts_are_possible_each_is_evaluated_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = Vocabulary("abcdefghijk")
    assert pages_of(vocabulary).rows > 1
    monkeypatch.setattr(window_sampling, "_FEW", vocabulary.size**3 - 1)
    assert pages_of(vocabulary).rows == 1


def test_contexts_too_many_to_number_in_64_bits_are_told_apart() -> None:
    network = build("mlp", LETTERS.size, {"block_size": 20, "init": "normal"}, seed=0)
    expected = list(itertools.islice(lesson_samples(network, LETTERS, 1), 5))
    assert sample(network, LETTERS, 5, seed=1) == expected
    assert max(map(len, expected)) > 20


def test_the_smallest_uniform_never_draws_what_is_impossible(
    lesson_bigram: NGram, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the boundary never follows itself, so that the first possible character is a; after a it is the boundary
    monkeypatch.setattr(torch, "rand", lambda *size, dtype, generator: torch.zeros(*size, dtype=dtype))
    assert sample(lesson_bigram, LETTERS, 2, seed=0) == ["a", "a"]


def test_the_largest_uniform_is_still_within_the_vocabulary(
    lesson_bigram: NGram, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 1 - 2**-53
    monkeypatch.setattr(torch, "rand", lambda *size, dtype, generator: torch.full(size, largest, dtype=dtype))
    # z is the last that follows the boundary, and z itself
    assert sample(lesson_bigram, LETTERS, 1, seed=0, options=SamplingOptions(max_length=5)) == ["zzzzz"]


VOCABULARIES = [
    Vocabulary("abc."),
    Vocabulary("abc", boundary_at="last"),
    Vocabulary("abc", "separate"),
    Vocabulary("abc", "separate", "last"),
]


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda v: f"{v.boundary}-{v.boundary_at}")
@pytest.mark.parametrize("architecture", ["bigram", "mlp", "ngram", "kneser_ney"])
@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**63 - 1),
    prompt=st.text("abc", max_size=5),
    temperature=st.floats(0.05, 20),
    top_k=st.none() | st.integers(1, 9),
    max_length=st.integers(5, 12),
)
def test_items_are_those_of_the_lessons_loop(
    architecture: str,
    vocabulary: Vocabulary,
    seed: int,
    prompt: str,
    temperature: float,
    top_k: int | None,
    max_length: int,
) -> None:
    network = network_of(architecture, vocabulary, seed % 7)
    if architecture in ("ngram", "kneser_ney"):
        top_k = None  # some are equally likely, and which of them are kept is not laid down
    options = SamplingOptions(prompt, temperature, top_k, max_length)
    items = sample(network, vocabulary, 8, seed, options)
    assert items == list(itertools.islice(lesson_samples(network, vocabulary, seed, options), 8))
    assert all(item.startswith(prompt) and len(item) <= max_length for item in items)


@pytest.mark.parametrize("boundary_at", ["first", "last"])
def test_a_separate_start_token_is_never_emitted(boundary_at: str) -> None:
    vocabulary = Vocabulary("abc", "separate", boundary_at)
    network = build("bigram", vocabulary.size, {}, seed=0)
    # by far the likeliest after everything
    network.W.data[:, vocabulary.start] = 20.0  # type: ignore[union-attr, operator, index]
    items = sample(network, vocabulary, 400, seed=0)
    letters = "".join(items)
    # a, b, c and the end are equally likely: 400 ends, about 400 of each letter
    assert all(300 < letters.count(letter) < 500 for letter in "abc")


@pytest.mark.parametrize("temperature", [1e-3, 1e-9, 1e-300, 1e-320, 5e-324])
@pytest.mark.parametrize("architecture", ["bigram", "mlp"])
def test_temperature_towards_zero_takes_the_likeliest(architecture: str, temperature: float) -> None:
    network = network_of(architecture, LETTERS, LESSON_SEED)
    greedy = SamplingOptions(top_k=1, max_length=20)
    expected = next(lesson_samples(network, LETTERS, 0, greedy))
    assert len(expected) > 1
    cold = SamplingOptions(temperature=temperature, max_length=20)
    assert sample(network, LETTERS, 5, seed=1, options=cold) == [expected] * 5


@pytest.mark.parametrize("temperature", [1e-3, 1e-300, 5e-324])
def test_counts_at_a_temperature_towards_zero_give_the_commonest(lesson_bigram: NGram, temperature: float) -> None:
    # after the boundary a is the commonest, and after a the boundary
    assert sample(lesson_bigram, LETTERS, 5, 0, SamplingOptions(temperature=temperature)) == ["a"] * 5


def test_a_high_temperature_makes_all_alike(lesson_bigram: NGram) -> None:
    smoothed = NGram(27, torch.Generator(), fake_count=1)
    smoothed.load_state_dict(lesson_bigram.state_dict())
    names = sample(smoothed, LETTERS, 20, LESSON_SEED, SamplingOptions(temperature=1e12))
    assert names == NAMES_FROM_THE_UNIFORM_DISTRIBUTION


def test_top_k_of_one_is_the_same_for_every_seed() -> None:
    network = network_of("mlp", LETTERS, LESSON_SEED)
    options = SamplingOptions(top_k=1, max_length=30)
    items = {item for seed in range(5) for item in sample(network, LETTERS, 3, seed, options)}
    assert len(items) == 1


def test_top_k_keeps_the_likeliest_and_no_others(lesson_bigram: NGram) -> None:
    names = sample(lesson_bigram, LETTERS, 200, 0, SamplingOptions(top_k=3, max_length=1))
    # the row of the boundary: a 4410, k 2963, m 2538
    assert set(names) == {"a", "k", "m"}


def test_top_k_of_the_whole_vocabulary_keeps_all(lesson_bigram: NGram) -> None:
    for top_k in (27, 1000):
        assert sample(lesson_bigram, LETTERS, 20, LESSON_SEED, SamplingOptions(top_k=top_k)) == NAMES_FROM_COUNTS


def test_a_prompt_takes_nothing_from_the_stream(lesson_bigram: NGram) -> None:
    # a bigram sees only the last character, so that prompts that end alike go on alike
    one, other = (sample(lesson_bigram, LETTERS, 10, 0, SamplingOptions(prompt)) for prompt in ("a", "bella"))
    assert [item.removeprefix("a") for item in one] == [item.removeprefix("bella") for item in other]


def test_a_prompt_as_long_as_the_limit_is_all_there_is(lesson_bigram: NGram) -> None:
    assert sample(lesson_bigram, LETTERS, 2, 0, SamplingOptions("emma", max_length=4)) == ["emma", "emma"]


def test_an_unknown_character_in_the_prompt_is_named_before_anything_is_drawn(lesson_bigram: NGram) -> None:
    with pytest.raises(UserError, match=r"the character 'Q' in 'aQ' is not in the vocabulary"):
        samples(lesson_bigram, LETTERS, 0, SamplingOptions("aQ"))


def test_sampling_leaves_the_network_as_it_is() -> None:
    network = network_of("mlp", LETTERS).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    sample(network, LETTERS, 5, seed=0)
    assert network.training
    after = network.state_dict()
    assert all(tensor.dtype == torch.float32 and torch.equal(tensor, before[name]) for name, tensor in after.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature must be above 0, not 0"),
        ({"temperature": -1}, "temperature must be above 0, not -1"),
        ({"temperature": math.nan}, "temperature must be a finite number"),
        ({"temperature": None}, "temperature must be a finite number"),
        ({"top_k": 0}, "top_k must be at least 1, not 0"),
        ({"top_k": 1.5}, "top_k must be a whole number"),
        ({"max_length": 0}, "max_length must be at least 1, not 0"),
        ({"max_length": None}, "max_length must be a whole number"),
        ({"prompt": "abcd", "max_length": 3}, "the prompt has 4 characters, more than max_length=3"),
        # Hydra reads prompt=12 as a number, and prompt=null as none
        ({"prompt": 12}, "prompt"),
        ({"prompt": None}, "prompt"),
    ],
)
def test_a_wrong_option_is_a_user_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SamplingOptions(**options)


@pytest.mark.parametrize(
    ("n", "seed", "message"),
    [
        (-1, 0, "num_samples must be at least 0"),
        ("3", 0, "num_samples must be a whole number"),
        (1, -1, "seed must be at least 0"),
        (1, 0.5, "seed must be a whole number"),
    ],
)
def test_a_wrong_number_or_seed_is_a_user_error(lesson_bigram: NGram, n: int, seed: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sample(lesson_bigram, LETTERS, n, seed)


def test_no_items_can_be_asked_for(lesson_bigram: NGram) -> None:
    assert sample(lesson_bigram, LETTERS, 0, seed=0) == []


def test_unseen_leaves_out_the_seen_and_keeps_the_order() -> None:
    assert list(unseen(iter("abcadef"), {"a", "c"}, 3)) == ["b", "d", "e"]


@pytest.mark.parametrize("max_attempts", [4, 5, None])
def test_unseen_needs_no_more_attempts_than_it_takes(max_attempts: int | None) -> None:
    assert list(unseen(itertools.cycle("ab"), {"a"}, 2, max_attempts)) == ["b", "b"]


@pytest.mark.parametrize("max_attempts", [0, 3, 5])
def test_unseen_yields_what_it_found_and_then_says_how_much_is_missing(max_attempts: int) -> None:
    stream = unseen(itertools.cycle("ab"), {"a"}, 3, max_attempts)
    found = list(itertools.islice(stream, max_attempts // 2))
    assert found == ["b"] * (max_attempts // 2)
    with pytest.raises(UserError, match=rf"only {max_attempts // 2} of 3 .* {max_attempts} attempts"):
        next(stream)


def test_unseen_gives_up_after_a_hundred_attempts_for_each_item() -> None:
    taken = itertools.count()
    with pytest.raises(UserError, match="only 0 of 3 unseen items came up in 300 attempts"):
        list(unseen((str(next(taken)) and "a" for _ in itertools.count()), {"a"}, 3))
    assert next(taken) == 300


def test_unseen_of_nothing_is_nothing() -> None:
    assert list(unseen(itertools.cycle("a"), {"a"}, 0)) == []
