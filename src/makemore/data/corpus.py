"""The corpus: one text, or one per split, as a vocabulary, a flat array of tokens and the split of every example.

An example is a token to predict from the tokens before it: each character of a line and the end token. The splits are
determined by the text and by `CorpusOptions`, which a checkpoint records.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from makemore.data import cache
from makemore.data.lines import Lines, pieces_of
from makemore.data.options import SPLITS, CorpusOptions
from makemore.data.splits import (
    Keys,
    Membership,
    keys_of_lines,
    overlaps_of,
    split_by_example,
    split_by_line,
    split_by_randperm,
    split_by_shuffle,
)
from makemore.data.tables import table_note
from makemore.data.text import Cleaning, Text, lines_of, locate, read_text, sha256_of
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Reader, Windows, context_size, padded, positions_of

# bytes of the smallest text that is cached on disk
_WORTH_KEEPING = 2**20
# examples processed at once
_CHUNK = 2**21
# lines of a file by which it is judged whether it is a table
_JUDGED = 1000
# characters listed in a report
_NAMED = 10
# why splits of one text share lines
_LEAKS = {
    "example": "as the examples of a line are split",
    **{
        by: f"as data.by={by} separates identical lines; data.by=line keeps them together"
        for by in ("shuffle", "randperm")
    },
}
_ARRAYS = ("tokens", "lengths", "membership")


# equal to itself alone, so that what is computed of it can be kept for it
@dataclass(frozen=True, eq=False)
class Corpus:
    """The tokens of all lines, each followed by the end token, and the split of each token.

    Args:
        texts: the files by split, without their content.
        tokens: (N,) of all lines, concatenated.
        lengths: (L,) tokens in each line, its end included.
        membership: (N,) 0 train, 1 val, 2 test.
        overlaps: the share of the lines of val and of test that train has too, unless one text was split by line.
    """

    options: CorpusOptions
    vocabulary: Vocabulary
    texts: dict[str, Text]
    tokens: npt.NDArray[Any]
    lengths: npt.NDArray[np.int32]
    membership: Membership
    overlaps: dict[str, float]
    # the padded stream of the last block size, which all splits share
    _streams: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False)

    @property
    def sha256(self) -> dict[str, str]:
        """The sha256 of each file, by split."""
        return {split: text.sha256 for split, text in self.texts.items()}

    def size(self, split: str) -> int:
        """Return the number of examples (tokens to predict) in a split."""
        return self._sizes[split]

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return {split: int(np.count_nonzero(self.membership == number)) for number, split in enumerate(SPLITS)}

    def windows(self, split: str, block_size: int) -> Windows:
        """Return the examples of a split with contexts of `block_size` tokens."""
        positions = positions_of(self.membership == SPLITS.index(split), self.lengths, block_size)
        return Windows(self._stream(block_size), positions, block_size, self.vocabulary.size, self.vocabulary.start)

    def context_size(self, network: Reader) -> int:
        """Return T, the length of the contexts to evaluate a network on."""
        return context_size(network, int(self.lengths.max()))

    def lines(self, split: str, block_size: int) -> Lines:
        """Return the lines of a split in pieces of at most `block_size` tokens."""
        return pieces_of(self._stream(1), self.lengths, self.membership == SPLITS.index(split), block_size)

    def _stream(self, block_size: int) -> Tensor:
        if block_size not in self._streams:
            # that of a network, and that of its training on lines
            if len(self._streams) > 1:
                self._streams.clear()
            self._streams[block_size] = padded(self.tokens, self.lengths, block_size, self.vocabulary.start)
        return self._streams[block_size]

    def items(self, size: int) -> Iterator[list[str]]:
        """Yield the lines of all splits in the order of the text, at most `size` at once."""
        for first in range(0, len(self.lengths), size):
            yield self._lines(first, first + size)

    def _lines(self, first: int, last: int) -> list[str]:
        """Return the lines from a first to before a last."""
        ends = self.lengths[:first].sum(dtype=np.int64) + np.cumsum(self.lengths[first:last], dtype=np.int64)
        starts = ends - self.lengths[first:last]
        return [
            self.vocabulary.decode(self.tokens[start : end - 1].tolist())
            for start, end in zip(starts, ends, strict=True)
        ]

    def lines_among(self, items: Iterable[str]) -> set[str]:
        """Return the sampled items that are lines of the text."""
        ends = np.cumsum(self.lengths, dtype=np.int64)
        by_length: dict[int, set[str]] = {}
        for item in items:
            by_length.setdefault(len(item), set()).add(item)
        found: set[str] = set()
        for length, of_length in by_length.items():
            all_starts = ends[self.lengths == length + 1] - (length + 1)
            first_tokens = self.tokens[all_starts]
            for item in of_length:
                first, *others = self.vocabulary.encode(item) or [self.vocabulary.end]
                starts = all_starts[first_tokens == first]
                for offset, token in enumerate(others, 1):
                    starts = starts[self.tokens[starts + offset] == token]
                if len(starts):
                    found.add(item)
        return found

    def report(self) -> list[str]:
        """Describe the files, what cleaning dropped and the splits, in lines for the log."""
        items = self.lengths - 1
        texts, size = self.texts.values(), f"{self.vocabulary.size} tokens, {len(self.tokens):,} examples"
        lines = [f"{text.path}" + (f" ({text.cleaning} dropped)" if str(text.cleaning) else "") for text in texts]
        lines += self.table_notes
        lines.append(f"{len(items):,} lines of {items.min():,} to {items.max():,} characters, {size}")
        sizes = ", ".join(f"{split} {self.size(split):,}" for split in SPLITS)
        shares = [f"{share:.1%} of {split} lines are in train too" for split, share in self.overlaps.items() if share]
        if shares and self.options.by in _LEAKS:
            shares.append(_LEAKS[self.options.by])
        lines.append(", ".join([f"examples: {sizes}", *shares]))
        if unseen := self.unseen_in_training():
            named = " ".join(map(repr, unseen[:_NAMED])) + (" ..." if len(unseen) > _NAMED else "")
            lines.append(f"characters in val or test alone, so training never sees them: {len(unseen):,}, {named}")
        return lines

    @cached_property
    def table_notes(self) -> list[str]:
        """The lines that say which of the files are tables, see `table_note`."""
        # where each file begins among the lines of all
        split_of_line = self.membership[np.cumsum(self.lengths, dtype=np.int64) - 1] if len(self.texts) > 1 else None
        notes = []
        for split, text in self.texts.items():
            first = 0 if split_of_line is None else int(np.argmax(split_of_line == SPLITS.index(split)))
            notes.append(table_note(self._lines(first, first + _JUDGED), text.path))
        return [note for note in notes if note is not None]

    def unseen_in_training(self) -> str:
        """Return the characters that only examples of val or test have."""
        has = np.zeros((len(SPLITS), self.vocabulary.size), dtype=bool)
        first = self.vocabulary.offset
        characters = slice(first, first + len(self.vocabulary.characters))
        for start in range(0, len(self.tokens), _CHUNK):
            part = slice(start, start + _CHUNK)
            has[self.membership[part], self.tokens[part]] = True
            # mostly the case after the first chunk
            if has[0, characters].all():
                return ""
        only = np.flatnonzero(has[1:].any(0) & ~has[0]).tolist()
        return self.vocabulary.decode([token for token in only if token != self.vocabulary.end])


def read_corpus(options: CorpusOptions, vocabulary: Vocabulary | None = None) -> Corpus:
    """Read, encode and split the texts of `options`, with `vocabulary` in place of that of all their characters.

    The last corpus is kept in memory until its files change, a large one on disk too (see `makemore.data.cache`).

    Raises:
        UserError: a file cannot be used, a split would be empty, or a character is not in `vocabulary`.
    """
    stats = [(path := locate(given), path.stat()) for given in options.paths.values()]
    version = tuple((str(path), stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size) for path, stat in stats)
    return _read_corpus(options, vocabulary, version)


@lru_cache(maxsize=1)
def _read_corpus(
    options: CorpusOptions, vocabulary: Vocabulary | None, version: tuple[tuple[str, int, int, int], ...]
) -> Corpus:
    if sum(size for *_, size in version) < _WORTH_KEEPING:
        return _encode(options, vocabulary)
    digests = {split: sha256_of(locate(path)) for split, path in options.paths.items()}
    entry = cache.recall(_entry_path(options, vocabulary, digests))
    if entry is not None and (cached := _restored(options, digests, entry)) is not None:
        return cached
    corpus = _encode(options, vocabulary)
    cleaning = {split: asdict(text.cleaning) for split, text in corpus.texts.items()}
    plain = {"vocabulary": asdict(corpus.vocabulary), "cleaning": cleaning, "overlaps": corpus.overlaps}
    tensors = {name: torch.from_numpy(getattr(corpus, name)) for name in _ARRAYS}
    cache.keep(_entry_path(options, vocabulary, corpus.sha256), plain | tensors)
    return corpus


def _restored(options: CorpusOptions, digests: dict[str, str], entry: dict[str, Any]) -> Corpus | None:
    """Return the corpus of a cache entry; None if it is not one."""
    try:
        cleaning = {split: Cleaning(**counts) for split, counts in entry["cleaning"].items()}
        texts = {split: Text(locate(p), digests[split], [], cleaning[split]) for split, p in options.paths.items()}
        tokens, lengths, membership = (entry[name].numpy() for name in _ARRAYS)
        vocabulary = Vocabulary(**entry["vocabulary"])
        corpus = Corpus(options, vocabulary, texts, tokens, lengths, membership, entry["overlaps"])
    except (KeyError, TypeError, AttributeError):
        return None
    return corpus if len(tokens) == len(membership) == lengths.sum(dtype=np.int64) else None


def _entry_path(options: CorpusOptions, vocabulary: Vocabulary | None, digests: dict[str, str]) -> Path:
    """Return the path of a cached corpus, named by all that determines it, which the paths of its files do not."""
    facts = {name: value for name, value in asdict(options).items() if name not in ("path", "val_path", "test_path")}
    given = None if vocabulary is None else asdict(vocabulary)
    unicode = unicodedata.unidata_version
    return cache.path_of(facts | {"version": 1, "digests": digests, "vocabulary": given, "unicode": unicode})


def _encode(options: CorpusOptions, vocabulary: Vocabulary | None) -> Corpus:
    texts = {split: read_text(path, options.normalize, options.max_length) for split, path in options.paths.items()}
    if vocabulary is None:
        characters = set[str]().union(*(chunk for text in texts.values() for chunk in text.chunks)) - {"\n"}
        vocabulary = Vocabulary("".join(sorted(characters)), options.boundary, options.boundary_at)
    chunks = {split: text.chunks for split, text in texts.items()}
    if options.max_lines is not None:
        lines = islice((line for chunk in chunks["train"] for line in lines_of([chunk])), options.max_lines)
        chunks["train"] = ["".join(f"{line}\n" for line in lines)]
    encoded, keys, line_counts = [], [], {}
    for split, part in chunks.items():
        encoded += [vocabulary.encode_lines(chunk, str(texts[split].path)) for chunk in part]
        keys += [keys_of_lines(lines_of([chunk]), options.split_seed) for chunk in part]
        line_counts[split] = sum(chunk.count("\n") for chunk in part)
    tokens, line_keys = np.concatenate(encoded), np.concatenate(keys)
    lengths = np.diff(np.flatnonzero(tokens == vocabulary.end), prepend=-1).astype(np.int32)
    membership = _membership(options, line_counts, line_keys, lengths)
    # splitting a text by line keeps identical lines together
    overlaps = {} if options.by == "line" and len(texts) == 1 else overlaps_of(line_keys, lengths, membership)
    sources = {split: replace(text, chunks=[]) for split, text in texts.items()}
    return Corpus(options, vocabulary, sources, tokens, lengths, membership, overlaps)


def _membership(
    options: CorpusOptions, lines: dict[str, int], keys: Keys, lengths: npt.NDArray[np.int32]
) -> Membership:
    if len(lines) > 1:
        of_line = np.repeat([SPLITS.index(split) for split in lines], list(lines.values()))
        return np.repeat(of_line.astype(np.int8), lengths)
    if options.by == "example":
        return split_by_example(int(lengths.sum()), options.splits, options.split_seed)
    if options.by == "shuffle":
        of_line = split_by_shuffle(len(lengths), options.splits, options.split_seed)
    elif options.by == "randperm":
        of_line = split_by_randperm(len(lengths), options.splits, options.split_seed)
    else:
        of_line = split_by_line(keys, options.splits)
    return np.repeat(of_line, lengths)
