"""Loading a text in a process of its own: `python -m benchmarks.loading FILE` prints the seconds.

They are without those of the imports, which are few here for that reason.
"""

import sys
import time

from makemore.data.corpus import read_corpus
from makemore.data.options import CorpusOptions

BLOCK_SIZE = 3


def load_seconds(path: str) -> float:
    """Return the seconds that it takes to read, encode and split a file and to make its windows for training."""
    started = time.perf_counter()
    read_corpus(CorpusOptions(path=path)).windows("train", BLOCK_SIZE)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(load_seconds(sys.argv[1]))
