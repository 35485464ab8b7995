"""A text (or three) as one vocabulary, one flat array of tokens, and the split of every example.

An example is a token to predict from those before it: each character of a line and the boundary after it. All that
decides which examples are in which split is in `CorpusOptions`, plain values that a checkpoint records.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from makemore.data import cache
from makemore.data.options import SPLITS, CorpusOptions
from makemore.data.splits import Membership, keys_of_lines, overlap, split_by_example, split_by_line
from makemore.data.text import Cleaning, Text, lines_of, locate, read_text, sha256_of
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows, padded, positions_of

# Bytes of text; less is read anew as quickly as it is looked up.
_WORTH_KEEPING = 2**20
# Examples and lines that are looked through at once, and characters that a report names.
_CHUNK = 2**21
_LINES = 2**18
_NAMED = 10
_ARRAYS = ("tokens", "lengths", "membership")


@dataclass(frozen=True)
class Corpus:
    """The tokens of all lines, each ended by the end token, and the split of every one of them.

    Args:
        texts: where the lines came from, by split, without their content.
        tokens: (N,) all lines, one after another.
        lengths: (L,) tokens of each line, its end included.
        membership: (N,) 0 train, 1 val, 2 test.
        overlaps: the share of the lines of val and test that are also in train.
    """

    options: CorpusOptions
    vocabulary: Vocabulary
    texts: dict[str, Text]
    tokens: npt.NDArray[Any]
    lengths: npt.NDArray[np.int32]
    membership: Membership
    overlaps: dict[str, float]

    @property
    def sha256(self) -> dict[str, str]:
        """The digests of the files as read, by split."""
        return {split: text.sha256 for split, text in self.texts.items()}

    def size(self, split: str) -> int:
        """Return the number of examples (tokens to predict) in a split."""
        return int(np.count_nonzero(self.membership == SPLITS.index(split)))

    def windows(self, split: str, block_size: int) -> Windows:
        """Return the examples of a split with contexts of `block_size` tokens."""
        positions = positions_of(self.membership == SPLITS.index(split), self.lengths, block_size)
        if block_size not in self._streams:
            self._streams.clear()
            self._streams[block_size] = padded(self.tokens, self.lengths, block_size, self.vocabulary.start)
        return Windows(self._streams[block_size], positions, block_size, self.vocabulary.size)

    @cached_property
    def _streams(self) -> dict[int, Tensor]:
        """The stream of the last block size asked for, which all splits share."""
        return {}

    def lines_among(self, items: Iterable[str]) -> set[str]:
        """Return those of some items, as a model makes them up, that are lines of the text."""
        wanted = {item: [*self.vocabulary.encode(item), self.vocabulary.end] for item in items}
        found: set[str] = set()
        begin = 0
        for first in range(0, len(self.lengths), _LINES):
            lengths = self.lengths[first : first + _LINES]
            ends = begin + np.cumsum(lengths, dtype=np.int64)
            for item in wanted.keys() - found:
                places = ends[lengths == len(wanted[item])] - len(wanted[item])
                for offset, token in enumerate(wanted[item]):
                    places = places[self.tokens[places + offset] == token]
                if len(places):
                    found.add(item)
            begin = int(ends[-1])
        return found

    def report(self) -> list[str]:
        """Return lines that say what was read, what cleaning dropped and how it was split."""
        items = self.lengths - 1
        lines = [
            f"{text.path}" + (f" ({text.cleaning} dropped)" if str(text.cleaning) else "")
            for text in self.texts.values()
        ]
        lines.append(
            f"{len(items):,} lines of {items.min():,} to {items.max():,} characters, "
            f"{self.vocabulary.size} tokens, {len(self.tokens):,} examples"
        )
        sizes = ", ".join(f"{split} {self.size(split):,}" for split in SPLITS)
        shares = [f"{share:.1%} of {split} lines are in train too" for split, share in self.overlaps.items() if share]
        if shares and self.options.by == "example":
            shares.append("as the examples of a line are split")
        lines.append(", ".join([f"examples: {sizes}", *shares]))
        if unseen := self.unseen_in_training():
            named = " ".join(map(repr, unseen[:_NAMED])) + (" ..." if len(unseen) > _NAMED else "")
            lines.append(
                f"characters that only val or test have, so training never sees them: {len(unseen):,}, {named}"
            )
        return lines

    def unseen_in_training(self) -> str:
        """Return the characters that only the examples of val or test have."""
        has = np.zeros((len(SPLITS), self.vocabulary.size), dtype=bool)
        first = self.vocabulary.offset
        characters = slice(first, first + len(self.vocabulary.characters))
        for start in range(0, len(self.tokens), _CHUNK):
            part = slice(start, start + _CHUNK)
            has[self.membership[part], self.tokens[part]] = True
            # mostly so after the first examples already
            if has[0, characters].all():
                return ""
        only = has[1:].any(0) & ~has[0]
        return self.vocabulary.decode(
            [token for token in np.flatnonzero(only).tolist() if token != self.vocabulary.end]
        )


def read_corpus(options: CorpusOptions, vocabulary: Vocabulary | None = None) -> Corpus:
    """Read, encode and split the texts of `options`; the last corpus is kept and given again while its files stand.

    A large corpus is kept on disk too, by the digests of its files (see `makemore.data.cache`).

    Args:
        options: what to read and how to split it.
        vocabulary: encode in this one, in place of one made of all the texts' characters.

    Raises:
        UserError: a file that cannot be used, a split that would be empty, a character not in `vocabulary`.
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
    entry = cache.recall(_key(options, vocabulary, digests))
    if entry is not None and (kept := _restored(options, digests, entry)) is not None:
        return kept
    corpus = _encode(options, vocabulary)
    plain = {
        "vocabulary": asdict(corpus.vocabulary),
        "cleaning": {split: asdict(text.cleaning) for split, text in corpus.texts.items()},
        "overlaps": corpus.overlaps,
    }
    tensors = {name: torch.from_numpy(getattr(corpus, name)) for name in _ARRAYS}
    cache.keep(_key(options, vocabulary, corpus.sha256), plain | tensors)
    return corpus


def _restored(options: CorpusOptions, digests: dict[str, str], entry: dict[str, Any]) -> Corpus | None:
    """Return the corpus of a cache's entry; None where that is not one."""
    try:
        texts = {
            split: Text(locate(path), digests[split], [], Cleaning(**entry["cleaning"][split]))
            for split, path in options.paths.items()
        }
        tokens, lengths, membership = (entry[name].numpy() for name in _ARRAYS)
        vocabulary = Vocabulary(**entry["vocabulary"])
        corpus = Corpus(options, vocabulary, texts, tokens, lengths, membership, entry["overlaps"])
    except (KeyError, TypeError, AttributeError):
        return None
    return corpus if len(tokens) == len(membership) == lengths.sum(dtype=np.int64) else None


def _key(options: CorpusOptions, vocabulary: Vocabulary | None, digests: dict[str, str]) -> str:
    """Return what a corpus is kept under: all that decides it but where its files are."""
    facts = {name: value for name, value in asdict(options).items() if name not in ("path", "val_path", "test_path")}
    given = None if vocabulary is None else asdict(vocabulary)
    unicode = unicodedata.unidata_version
    return cache.key_of(facts | {"version": 1, "digests": digests, "vocabulary": given, "unicode": unicode})


def _encode(options: CorpusOptions, vocabulary: Vocabulary | None) -> Corpus:
    texts = {split: read_text(path, options.normalize, options.max_length) for split, path in options.paths.items()}
    if vocabulary is None:
        characters = set[str]().union(*(chunk for text in texts.values() for chunk in text.chunks)) - {"\n"}
        vocabulary = Vocabulary("".join(sorted(characters)), options.boundary, options.boundary_at)
    chunks = {split: text.chunks for split, text in texts.items()}
    if options.max_lines is not None:
        chunks["train"] = _first_lines(chunks["train"], options.max_lines)
    encoded, keys, line_counts = [], [], {}
    for split, part in chunks.items():
        encoded += [vocabulary.encode_lines(chunk, str(texts[split].path)) for chunk in part]
        keys += [keys_of_lines(lines_of([chunk]), options.split_seed) for chunk in part]
        line_counts[split] = sum(chunk.count("\n") for chunk in part)
    tokens, line_keys = np.concatenate(encoded), np.concatenate(keys)
    lengths = np.diff(np.flatnonzero(tokens == vocabulary.end), prepend=-1).astype(np.int32)
    membership = _membership(options, line_counts, line_keys, lengths)
    return Corpus(
        options=options,
        vocabulary=vocabulary,
        texts={split: replace(text, chunks=[]) for split, text in texts.items()},
        tokens=tokens,
        lengths=lengths,
        membership=membership,
        overlaps=_overlaps(line_keys, lengths, membership),
    )


def _first_lines(chunks: list[str], count: int) -> list[str]:
    """Return the first `count` lines, or all where there are fewer."""
    first = []
    for chunk in chunks:
        lines = chunk.split("\n", count)
        first.append(chunk[: len(chunk) - len(lines[-1])])
        count -= len(lines) - 1
        if count == 0:
            break
    return first


def _membership(
    options: CorpusOptions,
    lines: dict[str, int],
    keys: npt.NDArray[np.uint64],
    lengths: npt.NDArray[np.int32],
) -> Membership:
    if len(lines) > 1:
        of_line = np.repeat([SPLITS.index(split) for split in lines], list(lines.values()))
        return np.repeat(of_line.astype(np.int8), lengths)
    if options.by == "example":
        return split_by_example(int(lengths.sum()), options.splits, options.split_seed)
    return np.repeat(split_by_line(keys, options.splits), lengths)


def _overlaps(
    keys: npt.NDArray[np.uint64], lengths: npt.NDArray[np.int32], membership: Membership
) -> dict[str, float]:
    """Return, for val and test where they have examples, the share of their lines that train has too."""
    starts = np.cumsum(lengths) - lengths
    has = [np.logical_or.reduceat(membership == split, starts) for split in range(len(SPLITS))]
    return {SPLITS[split]: overlap(keys, has[split], has[0]) for split in (1, 2) if has[split].any()}


def whole_text(path: str | Path, vocabulary: Vocabulary, normalize: str | None) -> Corpus:
    """Return a file as one corpus without splits (all of it under "train"), in a vocabulary made elsewhere."""
    options = CorpusOptions(path=str(path), splits=(1, 0, 0), normalize=normalize)
    return read_corpus(options, vocabulary)
