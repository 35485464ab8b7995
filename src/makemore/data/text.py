"""Text files as clean lines: one item (a name, a place, a molecule) per line.

Cleaning: UTF-8; lines end at newlines only (`str.splitlines` would also split at U+2028 and its kin); a byte order
mark, carriage returns before newlines, spaces and tabs at the edges of lines, blank lines and lines beyond a given
length are dropped and counted; NFC by default. A text is cleaned and kept in chunks of whole lines, to save memory.
Undecodable bytes, control characters and a file without text are errors that name the file, the line and the cause.
"""

import codecs
import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from makemore.errors import UserError

# the checkout, with conf/ and data/names.txt
PROJECT_ROOT = Path(__file__).resolve().parents[3]

_SPACES = " \t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_NEEDS_STRIP = re.compile(f"[\r{_SPACES}]")
_CHUNK_BYTES = 2**22
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Cleaning:
    """Numbers of what cleaning dropped."""

    byte_order_marks: int = 0
    carriage_returns: int = 0
    edge_spaces: int = 0
    blank_lines: int = 0
    long_lines: int = 0

    def __str__(self) -> str:
        counts = {name.replace("_", " "): count for name, count in vars(self).items() if count}
        return ", ".join(f"{count:,} {name}" for name, count in counts.items())


@dataclass(frozen=True)
class Text:
    """A clean text: `chunks` are of whole lines, none empty, each ended by a newline."""

    path: Path
    sha256: str
    chunks: list[str]
    cleaning: Cleaning

    def lines(self) -> list[str]:
        """Return the lines without their newlines."""
        return lines_of(self.chunks)


def lines_of(chunks: list[str]) -> list[str]:
    """Return the lines in chunks of newline-ended lines, without their newlines."""
    return [line for chunk in chunks for line in chunk.split("\n")[:-1]]


def absolute(path: str | Path) -> Path:
    """Return the absolute path of a file; `~` is the user's home."""
    return Path(os.path.expanduser(path)).absolute()


def locate(path: str | Path) -> Path:
    """Return the absolute path of an existing file; `~` is the user's home.

    Raises:
        UserError: there is no such file, or it is a directory.
    """
    candidate = absolute(path)
    try:
        if candidate.is_file():
            return candidate.resolve()
        if candidate.is_dir():
            what = "is a directory"
        else:
            what = "is not a regular file" if candidate.exists() else f"no such file (from {Path.cwd()})"
    except OSError as error:
        what = str(error.strerror)
    raise UserError(f"{path}: {what}; name a text file, one item a line")


@contextmanager
def _reading(path: Path) -> Iterator[BufferedReader]:
    """Open a file; raise `UserError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal; raise `UserError` if it cannot be read."""
    with _reading(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: str | Path, normalize: str | None = "NFC", max_length: int | None = None) -> Text:
    """Read and clean a text file.

    Args:
        path: absolute, or relative to the working directory.
        normalize: a Unicode normal form ("NFC", "NFD", "NFKC", "NFKD"), or None.
        max_length: most characters in a line, longer ones are dropped; None is no limit.

    Raises:
        UserError: the file is missing, unreadable, undecodable or empty, or has control characters.
    """
    path = locate(path)
    with _reading(path) as file:
        raw = file.read()
    chunks, cleaning = clean(raw, str(path), normalize, max_length)
    return Text(path, hashlib.sha256(raw).hexdigest(), chunks, cleaning)


def clean(raw: bytes, source: str, normalize: str | None, max_length: int | None = None) -> tuple[list[str], Cleaning]:
    """Clean a text in UTF-8; return its chunks, and what was dropped.

    Args:
        raw: the text.
        source: its name, for messages.
        normalize: a Unicode normal form, or None.
        max_length: most characters in a clean line, longer ones are dropped; None is no limit.

    Raises:
        UserError: undecodable bytes, control characters, or no text.
    """
    byte_order_mark = raw.startswith(codecs.BOM_UTF8)
    chunks, dropped = [], Counter(byte_order_marks=int(byte_order_mark))
    for start, end in _whole_lines(raw, len(codecs.BOM_UTF8) if byte_order_mark else 0):
        chunk, cleaning = _clean_chunk(raw, start, end, source, normalize, max_length)
        dropped.update(vars(cleaning))
        if chunk:
            chunks.append(chunk)
    if not chunks and dropped["long_lines"]:
        raise UserError(
            f"{source}: all its lines have more than data.max_length={max_length} characters; "
            "raise data.max_length, or name a file with one item a line"
        )
    if not chunks:
        raise UserError(f"{source}: has no text in it; name a file with one item a line")
    return chunks, Cleaning(**dropped)


def _whole_lines(raw: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of chunks of whole lines."""
    while start < len(raw):
        newline = raw.find(b"\n", start + _CHUNK_BYTES)
        end = len(raw) if newline < 0 else newline + 1
        yield start, end
        start = end


def _clean_chunk(
    raw: bytes, start: int, end: int, source: str, normalize: str | None, max_length: int | None
) -> tuple[str, Cleaning]:
    content = normalized(_decode(raw, start, end, source), normalize)
    if not content.endswith("\n"):
        content += "\n"
    content, carriage_returns, edge_spaces = _strip_lines(content)
    if found := _CONTROL.search(content):
        line = raw.count(b"\n", 0, start) + content.count("\n", 0, found.start()) + 1
        raise UserError(
            f"{source}: line {line} has the control character U+{ord(found.group()):04X}; "
            "is it a text file? Remove the character or name another file"
        )
    content, blank_lines = _drop_blank_lines(content)
    content, long_lines = (content, 0) if max_length is None else _drop_long_lines(content, max_length)
    return content, Cleaning(0, carriage_returns, edge_spaces, blank_lines, long_lines)


def normalized(content: str, normalize: str | None) -> str:
    """Return the content in a Unicode normal form, if one is given."""
    return content if normalize is None else unicodedata.normalize(normalize, content)  # type: ignore[arg-type]


def _decode(raw: bytes, start: int, end: int, source: str) -> str:
    try:
        return raw[start:end].decode("utf-8")
    except UnicodeDecodeError as error:
        wrong = start + error.start
        line = raw.count(b"\n", 0, wrong) + 1
        byte = wrong - (raw.rfind(b"\n", 0, wrong) + 1) + 1
        raise UserError(
            f"{source}: line {line}, byte {byte} is not UTF-8 (0x{raw[wrong]:02x}); save the file as UTF-8"
        ) from error


def _strip_lines(content: str) -> tuple[str, int, int]:
    """Strip every line; return the content, and the numbers of lines with a carriage return and with edge spaces."""
    if not _NEEDS_STRIP.search(content):
        return content, 0, 0
    lines = content.split("\n")
    ended = [line.removesuffix("\r") for line in lines]
    stripped = [line.strip(_SPACES) for line in ended]
    carriage_returns = sum(len(a) != len(b) for a, b in zip(lines, ended, strict=True))
    edge_spaces = sum(len(a) != len(b) for a, b in zip(ended, stripped, strict=True))
    return "\n".join(stripped), carriage_returns, edge_spaces


def _drop_blank_lines(content: str) -> tuple[str, int]:
    """Return the content without its empty lines, and their number."""
    if "\n\n" not in content and not content.startswith("\n"):
        return content, 0
    before = content.count("\n")
    content = re.sub("\n{2,}", "\n", content).removeprefix("\n")
    return content, before - content.count("\n")


def _drop_long_lines(content: str, max_length: int) -> tuple[str, int]:
    """Return the content without its lines of more than `max_length` characters, and their number."""
    lines = content.split("\n")
    kept = [line for line in lines if len(line) <= max_length]
    return "\n".join(kept), len(lines) - len(kept)
