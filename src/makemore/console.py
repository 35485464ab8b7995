"""What a person sees in the terminal: messages on standard error, results on standard output."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # seconds, which messages need not wait for
    from makemore.metrics import NLL
    from makemore.scoring import WordScore


class _Messages(Console):
    """Standard error, which may be closed while there is more to say on standard output."""

    def on_broken_pipe(self) -> None:
        """Say no more, where rich would leave Python."""
        self.quiet = True


MESSAGES = _Messages(stderr=True)


class ConsoleHandler(logging.Handler):
    """Shows log records on standard error, above a progress bar where there is one (Hydra's job_logging uses it)."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, unwrapped, so that paths can be copied."""
        MESSAGES.print(Text(self.format(record)), soft_wrap=True)


def print_nlls(title: str, nlls: "Mapping[str, NLL]") -> None:
    """Print a table of NLLs, a row each, on standard output."""
    table = Table(title=Text(title), title_justify="left")
    table.add_column("split")
    for heading in ("characters", "NLL (nats/char)", "bits/char", "perplexity"):
        table.add_column(heading, justify="right")
    for split, nll in nlls.items():
        numbers = (f"{nll.nats:.7f}", f"{nll.bits_per_char:.4f}", f"{nll.perplexity:.4f}")
        table.add_row(split, f"{nll.characters:,}", *numbers)
    Console().print(table)
    if any(math.isinf(nll.nats) for nll in nlls.values()):
        print("inf: something there was never seen in training; counting with model.fake_count=1 gives it a chance")


def print_scores(scores: "Sequence[WordScore]") -> None:
    """Print each word's characters with their probabilities, and a table of the words' NLLs, on standard output."""
    for word in scores:
        print(word.word)
        for label, log_prob in zip(word.labels, word.log_probs, strict=True):
            print(f"  {label:<3} {math.exp(log_prob):8.4f} {log_prob:9.4f}")
    table = Table(title="NLL of each word", title_justify="left")
    table.add_column("word")
    for heading in ("characters", "log-likelihood", "NLL (nats/char)"):
        table.add_column(heading, justify="right")
    for word in scores:
        numbers = (f"{word.log_likelihood:.4f}", f"{word.nll:.4f}")
        table.add_row(Text(word.word), f"{len(word.log_probs):,}", *numbers)
    Console().print(table)
