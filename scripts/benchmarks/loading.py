"""Time the loading of a text, imports excluded: `python -m benchmarks.loading FILE` prints the seconds."""

import sys
import time

from makemore.data.corpus import read_corpus
from makemore.data.options import CorpusOptions

BLOCK_SIZE = 3


def load_seconds(path: str) -> float:
    """Return the seconds to read, encode and split a file and to make its training windows."""
    started = time.perf_counter()
    read_corpus(CorpusOptions(path=path)).windows("train", BLOCK_SIZE)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(load_seconds(sys.argv[1]))
