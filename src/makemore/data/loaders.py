"""Loaders for evaluation: of one batch, and of lines."""

import math
from collections.abc import Iterator

from makemore.data.corpus import Corpus
from makemore.data.windows import CountedWindows

# lines in a batch
_ROWS = 1024


class OneBatch:
    """A loader of one batch; to Lightning, a list is a collection of loaders."""

    def __init__(self, batch: CountedWindows) -> None:
        self.batch = batch

    def __iter__(self) -> Iterator[CountedWindows]:
        yield self.batch

    def __len__(self) -> int:
        return 1


class LineBatches:
    """A loader of lists of lines."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    def __iter__(self) -> Iterator[list[str]]:
        yield from self.corpus.items(_ROWS)

    def __len__(self) -> int:
        return math.ceil(len(self.corpus.lengths) / _ROWS)
