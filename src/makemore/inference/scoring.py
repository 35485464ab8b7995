"""Scoring: the log-probability of given words, character by character."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from makemore.data.text import clean, lines_of, normalized, read_text
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import CountedWindows, context_size
from makemore.errors import UserError, as_text
from makemore.inference.likelihood import log_probs, most_rows
from makemore.models.network import Network
from makemore.system.console import TableColumn, print_table, visible

# characters of a word scored at once
_ROWS = 2**14


@dataclass(frozen=True)
class WordScore:
    """A word as given, the labels of its characters and of the end, and the log-probability of each, in nats."""

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
    """Return the words to score in a Unicode normal form: a list or one word, then the lines of a file.

    `words_file` is a path, `-` for standard input, or None.

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
    """Score words, with log-probabilities in float64, by a network on the CPU.

    `UserError` for a character not in the vocabulary; `DivergedError` if a log-probability is not a number.
    """
    scores, labels = [], vocabulary.labels
    for word in words:
        targets = [*vocabulary.encode(word), vocabulary.end]
        size = context_size(network, len(targets))
        contexts = torch.tensor([vocabulary.start] * size + targets).unfold(0, size, 1)[: len(targets)]
        rows = torch.arange(len(targets))
        windows = CountedWindows(contexts, rows, torch.tensor(targets), torch.ones_like(rows), vocabulary.start)
        chosen = torch.empty(len(targets), dtype=torch.float64)
        for part in log_probs(network, windows, _ROWS, torch.float64):
            chosen[part.pairs] = part.chosen
        scores.append(WordScore(word, [labels[token] for token in targets], chosen.tolist()))
    return scores


def item_nlls(network: Network, vocabulary: Vocabulary, items: Sequence[str]) -> Tensor:
    """Return the mean NLL (B,) of each item, in nats a character, its end included, in float64 on the CPU.

    It is that of `score`, for all items at once and on the network's device. `UserError` for a character not in the
    vocabulary; `DivergedError` if a log-probability is not a number.
    """
    tokens = [[*vocabulary.encode(item), vocabulary.end] for item in items]
    lengths = torch.tensor([len(targets) for targets in tokens])
    size = context_size(network, int(lengths.max()))
    padded = [torch.tensor([vocabulary.start] * size + targets) for targets in tokens]
    contexts = torch.cat([each.unfold(0, size, 1)[:-1] for each in padded])
    targets = torch.cat([each[size:] for each in padded])
    rows = torch.arange(len(targets))
    windows = CountedWindows(contexts, rows, targets, torch.ones_like(rows), vocabulary.start)
    device = next(iter(network.state_dict().values())).device
    nll = torch.empty(len(targets), dtype=torch.float64)
    for part in log_probs(network, windows.to(device), most_rows(network), torch.float64):
        pairs = part.pairs.cpu() if isinstance(part.pairs, Tensor) else part.pairs
        nll[pairs] = -part.chosen.cpu()
    item = torch.arange(len(items)).repeat_interleave(lengths)
    return torch.zeros(len(items), dtype=torch.float64).index_add(0, item, nll) / lengths


def print_scores(scores: Sequence[WordScore]) -> None:
    """Print the probabilities of each word's characters, and a table of the NLLs of words, on standard output."""
    for word in scores:
        print(visible(word.word))
        for label, log_prob in zip(word.labels, word.log_probs, strict=True):
            print(f"  {visible(label):<3}  {math.exp(log_prob):.4f}  {log_prob:9.4f}")
    columns = [
        TableColumn("word", [visible(word.word) for word in scores], is_text=True),
        TableColumn("characters", [f"{len(word.log_probs):,}" for word in scores]),
        TableColumn("log-likelihood", [f"{word.log_likelihood:.4f}" for word in scores]),
        TableColumn("NLL (nats/char)", [f"{word.nll:.4f}" for word in scores]),
    ]
    print_table("NLL of each word", columns)
