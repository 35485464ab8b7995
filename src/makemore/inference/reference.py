"""The reference row: what counting alone gives on the splits of a text, for comparison with any model."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch

from makemore.data.corpus import Corpus
from makemore.data.windows import CountedWindows
from makemore.inference.evaluation import counted_splits, split_nlls
from makemore.inference.likelihood import NLL
from makemore.models.kneser_ney import KneserNey


@dataclass(frozen=True)
class ReferenceRow:
    """The NLLs by split of Kneser-Ney of the better of `ORDERS`, and the seconds of counting and evaluation."""

    network: KneserNey
    nlls: dict[str, NLL]
    seconds: float

    @property
    def order(self) -> int:
        """The order of the n-grams."""
        return self.network.order

    def __str__(self) -> str:
        """Describe the row in a line."""
        return f"Kneser-Ney: NLL of counting alone, n-grams up to order {self.order}, in {self.seconds:.1f} s"

    def as_dict(self) -> dict[str, float]:
        """Return the metrics as JSON values; none is infinite."""
        nlls = {f"reference/{split}/nll": nll.nats for split, nll in self.nlls.items()}
        return nlls | {"reference/order": self.order, "reference/seconds": self.seconds}


# order 8 is the better one where long n-grams recur: lists with the forms of a word, SMILES (docs/models.md)
ORDERS = (5, 8)

_rows: WeakKeyDictionary[Corpus, ReferenceRow] = WeakKeyDictionary()
_pairs: WeakKeyDictionary[Corpus, float] = WeakKeyDictionary()


def reference_row(corpus: Corpus, windows: Mapping[str, CountedWindows] | None = None) -> ReferenceRow:
    """Return the reference row of a corpus, which is computed once as long as the corpus is in memory.

    Its order is the one with the lower validation NLL; the first of `ORDERS` where there is no validation split.
    `windows` are the counted windows of each split that the caller has; they serve if their contexts are long enough
    for the row and no longer.
    """
    if corpus not in _rows:
        started = time.perf_counter()
        has_val = bool(corpus.size("val"))
        found = [_counted(corpus, order, windows) for order in (ORDERS if has_val else ORDERS[:1])]
        network, nlls = min(found, key=lambda each: each[1]["val"].nats) if has_val else found[0]
        _rows[corpus] = ReferenceRow(network, nlls, time.perf_counter() - started)
    return _rows[corpus]


def nll_of_pairs(corpus: Corpus) -> float:
    """Return the validation NLL of counting pairs of characters, in nats a character: Kneser-Ney of order 2.

    It is computed once as long as the corpus is in memory.
    """
    if corpus not in _pairs:
        _pairs[corpus] = _counted(corpus, 2, None)[1]["val"].nats
    return _pairs[corpus]


def _counted(
    corpus: Corpus, order: int, windows: Mapping[str, CountedWindows] | None
) -> tuple[KneserNey, dict[str, NLL]]:
    """Return Kneser-Ney of an order, counted, and its NLLs by split."""
    network = KneserNey(corpus.vocabulary.size, torch.Generator(), order)
    if windows is None or windows["train"].contexts.shape[1] != network.block_size:
        windows = counted_splits(corpus, network)
    network.count(windows["train"])
    return network, split_nlls(network, windows)
