"""Scoring: how likely a network finds given words, character by character."""

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

# Characters of a word that are scored at once, for words beyond all measure.
_ROWS = 2**14


@dataclass(frozen=True)
class WordScore:
    """A word's log-probabilities.

    Args:
        word: as given.
        labels: what is predicted at each place: the word's characters, then the end.
        log_probs: of each of them, in nats.
    """

    word: str
    labels: list[str]
    log_probs: list[float]

    @property
    def log_likelihood(self) -> float:
        """Their sum, in nats; -inf where a character is impossible."""
        return sum(self.log_probs)

    @property
    def nll(self) -> float:
        """Mean NLL, nats a character, the end counted."""
        return -self.log_likelihood / len(self.log_probs)


def read_words(words: object, words_file: str | None, normalize: str | None) -> list[str]:
    """Return the words to score: those given, then those of a file, one a line.

    Args:
        words: from the command line, a list or one word.
        words_file: a path, `-` for standard input, or None.
        normalize: the Unicode normal form of the model's text, or None.

    Raises:
        UserError: a word that is not text (Hydra reads `1`, `true` and `null` as values), an unusable file, or none.
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
    """Return the score of each word.

    Args:
        network: on the CPU; its log-probabilities are taken in float64.
        vocabulary: the network's.
        words: any, the empty one too.

    Raises:
        UserError: a word with a character that is not in the vocabulary.
        DivergedError: the network gives no probabilities.
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
    """Print each word's characters with their probabilities, and a table of the words' NLLs, on standard output."""
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
