"""The rows of data and of trained models: windows, exact NLL and sampling."""

from itertools import count

import numpy as np

from benchmarks.baselines import dataset_loop, sampling_loop, whole_loss
from benchmarks.loading import BLOCK_SIZE
from benchmarks.measure import Case, timed
from benchmarks.setting import Setting
from makemore.data.corpus import read_corpus
from makemore.data.options import CorpusOptions
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows, padded, positions_of
from makemore.inference.likelihood import exact_nll
from makemore.inference.sampling import sample

_SEED = 2147483647
_NAMES = 10_000
# Repetitions of short work for one value.
_TIMES = 10


def windows_of_text(content: str, vocabulary: Vocabulary) -> Windows:
    """Return the windows of newline-terminated lines, with every character a target."""
    tokens = vocabulary.encode_lines(content, "the names")
    lengths = np.diff(np.flatnonzero(tokens == vocabulary.end), prepend=-1)
    return Windows(
        padded(tokens, lengths, BLOCK_SIZE, vocabulary.start),
        positions_of(np.ones(len(tokens), dtype=np.bool_), lengths, BLOCK_SIZE),
        BLOCK_SIZE,
        vocabulary.size,
    )


def data_cases(setting: Setting) -> list[Case]:
    """Return the rows of making windows: from clean text, as the lesson does, and from a file."""
    # read_corpus caches by its options, so each call gets a new split seed
    split_seeds = count()

    def windows() -> None:
        for _ in range(_TIMES):
            windows_of_text(setting.content, setting.corpus.vocabulary)

    def corpus() -> object:
        return read_corpus(CorpusOptions(path=str(setting.path), split_seed=next(split_seeds)))

    def prepare() -> None:
        assert setting.content
        windows()

    names = f"{len(setting.words):,} names"
    loop = timed(lambda: dataset_loop(setting.words, BLOCK_SIZE))
    return [
        Case(
            "windows",
            f"windows of {names}, their clean text and alphabet at hand; the lesson's Python loop",
            timed(windows, _TIMES),
            loop,
            at_most=0.03,
            repeats=setting.sizes.repeats,
            prepare=prepare,
        ),
        Case(
            "corpus",
            f"{names} from their file: read, cleaned, hashed, encoded, split; the lesson's Python loop",
            timed(corpus),
            loop,
            repeats=setting.sizes.repeats,
            prepare=prepare,
        ),
    ]


def model_cases(setting: Setting) -> list[Case]:
    """Return the rows of evaluating a trained MLP and sampling from it."""
    repeats, names = setting.sizes.repeats, setting.sizes.names

    def evaluate() -> None:
        for _ in range(_TIMES):
            exact_nll(setting.model.network, setting.counted)

    def count_and_evaluate() -> object:
        return exact_nll(setting.model.network, setting.corpus.windows("train", BLOCK_SIZE).counted())

    def draw() -> object:
        return sample(setting.model.network, setting.model.vocabulary, _NAMES, _SEED)

    def draw_as_lesson() -> object:
        return sampling_loop(setting.trained, setting.model.vocabulary.characters, names)

    def prepare() -> None:
        assert setting.trained
        assert setting.counted
        assert setting.examples
        evaluate()

    forward = timed(lambda: whole_loss(setting.trained, *setting.examples))
    return [
        Case(
            "nll",
            "exact NLL of the whole file, counted windows at hand; the lesson's forward pass, X and Y at hand",
            timed(evaluate, _TIMES),
            forward,
            at_most=0.02,
            repeats=repeats,
            prepare=prepare,
        ),
        Case(
            "nll-counting",
            "exact NLL of the whole file, with the counting; the lesson's forward pass, X and Y at hand",
            timed(count_and_evaluate),
            forward,
            repeats=repeats,
            prepare=prepare,
        ),
        Case(
            "sampling",
            f"{_NAMES:,} names from the MLP; the lesson's loop, {names:,} names",
            timed(draw, _NAMES),
            timed(draw_as_lesson, names),
            at_most=0.05,
            repeats=repeats,
            unit="s/name",
            prepare=prepare,
        ),
    ]
