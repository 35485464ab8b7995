"""The items of a model's text: which there are, what they cost the model, and which are near a word."""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from threading import Event, Thread

import numpy as np
import numpy.typing as npt

from makemore.errors import UserError
from makemore.inference.scoring import item_nlls
from makemore.inference.trained_model import TrainedModel

# items scored at once
_CHUNK = 500
# the most items that a word is ranked among, and compared with: evenly spaced, where the text has more
_RANKED, _COMPARED = 50_000, 200_000
# nats a character; the NLL of a word alone differs in its last digits from that of the same word among others
_ROUNDING = 1e-6
# the most edits between a word and an item near it
FAR = 3


@dataclass(frozen=True)
class Rank:
    """The place of a word among items of the text by NLL, 1 being the likeliest, and how many items there are."""

    place: int
    of: int


class KnownItems:
    """The distinct items of a model's text, which are read and scored in the background from `start` on.

    Args:
        model: the model; it may be used meanwhile.

    Attributes:
        changes: a sentence for each file that has changed since training.
        problem: why there are none, in one line: a text that is gone, or no longer fits the model; None so far.
        items: sorted; None until they have been read.
        nlls: of the items that words are ranked among, ascending, nats a character; None until they are computed.
    """

    def __init__(self, model: TrainedModel) -> None:
        self.changes: list[str] = []
        self.problem: str | None = None
        self.items: list[str] | None = None
        self.nlls: list[float] | None = None
        self._model = model
        self._stopped = Event()
        self._thread = Thread(target=self._read_and_score, daemon=True)

    def start(self) -> None:
        """Begin to read and to score."""
        self._thread.start()

    def wait(self) -> None:
        """Wait until all is read and scored."""
        self._thread.join()

    def stop(self) -> None:
        """Leave it at what is done, for the process to end: torch cannot be interrupted in the middle."""
        self._stopped.set()
        self.wait()

    def _read_and_score(self) -> None:
        try:
            self.changes = self._model.changes()
            self.items = sorted(self._model.seen())
            ranked = _spread(self.items, _RANKED)
            nlls: list[float] = []
            # neighbours in a sorted list share prefixes, which a network over lines takes once
            for first in range(0, len(ranked), _CHUNK):
                if self._stopped.is_set():
                    return
                chunk = ranked[first : first + _CHUNK]
                nlls += item_nlls(self._model.network, self._model.vocabulary, chunk).tolist()
            self.nlls = sorted(nlls)
        except UserError as error:
            self.problem = str(error)

    def __contains__(self, item: object) -> bool:
        """Return whether an item is in the text, as far as that is read."""
        items = self.items or []
        place = bisect_left(items, str(item))
        return place < len(items) and items[place] == item

    def rank(self, nll: float) -> Rank | None:
        """Return the rank of a word of this NLL, nats a character; None as long as it is unknown."""
        return None if self.nlls is None else Rank(bisect_left(self.nlls, nll - _ROUNDING) + 1, len(self.nlls))

    def nearest(self, word: str, most: int) -> list[tuple[str, int]]:
        """Return at most `most` other items with the fewest edits from a word, and these: at most `FAR`."""
        if self.items is None:
            return []
        found: list[tuple[str, int]] = []
        for length in range(max(len(word) - FAR, 1), len(word) + FAR + 1):
            if length in self._by_length:
                items, codes = self._by_length[length]
                edits = edit_distances(word, codes)
                near = np.flatnonzero((edits > 0) & (edits <= FAR))
                chosen = near[np.argsort(edits[near], kind="stable")[:most]]
                found += [(items[place], int(edits[place])) for place in chosen]
        return sorted(found, key=lambda each: (each[1], each[0]))[:most]

    @cached_property
    def _by_length(self) -> dict[int, tuple[list[str], npt.NDArray[np.uint32]]]:
        """The items of each length, and their characters (L, length)."""
        found = defaultdict(list)
        for item in _spread(self.items or [], _COMPARED):
            found[len(item)].append(item)
        return {
            length: (items, np.array(items).view(np.uint32).reshape(-1, length)) for length, items in found.items()
        }


def _spread(items: list[str], most: int) -> list[str]:
    """Return the items, or of many at most `most` that are evenly spaced."""
    return items[:: max(-(-len(items) // most), 1)]


def edit_distances(word: str, codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.int16]:
    """Return the Levenshtein distances (L,) between a word and L strings of one length, as characters (L, length)."""
    rows, length = codes.shape
    columns = np.ascontiguousarray(codes.T)
    # of the prefixes of the strings, by length, from the prefix of the word
    before = np.repeat(np.arange(length + 1, dtype=np.int16)[:, None], rows, axis=1)
    for count, character in enumerate(word, 1):
        differs = (columns != ord(character)).astype(np.int16)
        now = np.empty_like(before)
        now[0] = count
        replaced_or_deleted = np.minimum(before[:-1] + differs, before[1:] + np.int16(1))
        for place in range(length):
            np.minimum(replaced_or_deleted[place], now[place] + np.int16(1), out=now[place + 1])
        before = now
    return before[length]
