"""Scoring: the log-probability of given words, character by character."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from makemore.console import TableColumn, print_table
from makemore.data.text import clean, lines_of, normalized, read_text
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import CountedWindows
from makemore.errors import UserError, as_text
from makemore.inference.likelihood import log_probs
from makemore.models.network import Network

# characters of a word scored at once
_ROWS = 2**14


@dataclass(frozen=True)
class WordScore:
    """A word's log-probabilities.

    Args:
        word: as given.
        labels: of its characters and the end.
        log_probs: of each of them, in nats.
    """

    word: str
    labels: list[str]
    log_probs: list[float]

    @property
    def log_likelihood(self) -> float:
        """The sum of the log-probabilities, in nats; -inf if a character is impossible."""
        return sum(self.log_probs)

    @property
    def nll(self) -> float:
        """Mean NLL, nats a character, including the end."""
        return -self.log_likelihood / len(self.log_probs)


def read_words(words: object, words_file: str | None, normalize: str | None) -> list[str]:
    """Return the words to score: those given, then the lines of a file.

    Args:
        words: a list or one word, from the command line.
        words_file: a path, `-` for standard input, or None.
        normalize: the Unicode normal form of the model's text, or None.

    Raises:
        UserError: a word is not a string (Hydra parses `1`, `true` and `null`), the file cannot be used, or no words.
    """
    given = words if isinstance(words, Sequence) and not isinstance(words, str) else [words]
    chosen = [normalized(as_text("words", word), normalize) for word in given]
    if words_file == "-":
        chosen += lines_of(clean(sys.stdin.buffer.read(), "standard input", normalize)[0])
    elif words_file is not None:
        chosen += read_text(as_text("words_file", words_file), normalize).lines()
    if not chosen:
        raise UserError("there is nothing to score; give words=[...], words_file=FILE or words_file=-")
    return chosen


def score(network: Network, vocabulary: Vocabulary, words: Sequence[str]) -> list[WordScore]:
    """Score words, with log-probabilities in float64.

    Args:
        network: on the CPU.
        vocabulary: of the network.
        words: may be empty.

    Raises:
        UserError: a character is not in the vocabulary.
        DivergedError: a log-probability is not a number.
    """
    return [_score(network, vocabulary, word, vocabulary.encode(word)) for word in words]


def _score(network: Network, vocabulary: Vocabulary, word: str, tokens: list[int]) -> WordScore:
    line = torch.tensor([vocabulary.start] * network.block_size + tokens + [vocabulary.end])
    targets = line[network.block_size :]
    rows = torch.arange(len(targets))
    windows = CountedWindows(
        line.unfold(0, network.block_size, 1)[: len(targets)], rows, targets, torch.ones_like(rows)
    )
    chosen = [
        log_prob for part in log_probs(network, windows, _ROWS, torch.float64) for log_prob in part.chosen.tolist()
    ]
    labels = vocabulary.labels
    return WordScore(word, [labels[token] for token in targets.tolist()], chosen)


def print_scores(scores: Sequence[WordScore]) -> None:
    """Print the probabilities of each word's characters, and a table of the NLLs of words, on standard output."""
    for word in scores:
        print(word.word)
        for label, log_prob in zip(word.labels, word.log_probs, strict=True):
            print(f"  {label:<3}  {math.exp(log_prob):.4f}  {log_prob:9.4f}")
    columns = [
        TableColumn("word", [word.word for word in scores], is_text=True),
        TableColumn("characters", [f"{len(word.log_probs):,}" for word in scores]),
        TableColumn("log-likelihood", [f"{word.log_likelihood:.4f}" for word in scores]),
        TableColumn("NLL (nats/char)", [f"{word.nll:.4f}" for word in scores]),
    ]
    print_table("NLL of each word", columns)
