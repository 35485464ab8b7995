"""Text files as clean lines: one item (a name, a place, a molecule) per line.

Cleaning: UTF-8; lines end at newlines only (`str.splitlines` would also split at U+2028 and its kin); a byte order
mark, carriage returns before newlines, spaces and tabs at the edges of lines, blank lines and lines beyond a given
length are dropped and counted; NFC by default. A text is cleaned and kept in chunks of whole lines, to save memory.
Text is what has a meaning within a line: letters, spaces and tabs, marks, joiners and signs of direction, private use.
Undecodable bytes, other control characters (U+0000 to U+001F, U+007F to U+009F: damage, or orders to a terminal) and a
file without text are errors that name the file, the line and the cause.
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

_SPACES = " \t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_CHUNK_BYTES = 2**22
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNCLEAN = re.compile(f"{_CONTROL.pattern}|[{_SPACES}]")


@dataclass(frozen=True)
class Cleaning:
    """Numbers of what cleaning dropped."""

    byte_order_marks: int = 0
    carriage_returns: int = 0
    edge_spaces: int = 0
    blank_lines: int = 0
    long_lines: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in vars(self).items() if count)


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
    """Return the absolute path of an existing file; raise `UserError` if there is none; `~` is the user's home."""
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
    """Read and clean a text file; raise `UserError` if it is missing or unreadable, and as `clean` does."""
    path = locate(path)
    with _reading(path) as file:
        raw = file.read()
    chunks, cleaning = clean(raw, str(path), normalize, max_length)
    return Text(path, hashlib.sha256(raw).hexdigest(), chunks, cleaning)


def clean(raw: bytes, source: str, normalize: str | None, max_length: int | None = None) -> tuple[list[str], Cleaning]:
    """Clean a text in UTF-8, called `source` in messages; return its chunks, and what was dropped.

    Lines of more than `max_length` characters when clean are dropped too; None is no limit.

    Raises:
        UserError: undecodable bytes, control characters, or no text.
    """
    byte_order_mark = raw.startswith(codecs.BOM_UTF8)
    chunks, dropped = [], Counter(byte_order_marks=int(byte_order_mark))
    start = len(codecs.BOM_UTF8) if byte_order_mark else 0
    while start < len(raw):
        newline = raw.find(b"\n", start + _CHUNK_BYTES)
        end = len(raw) if newline < 0 else newline + 1
        chunk, cleaning = _clean_chunk(raw, start, end, source, normalize, max_length)
        dropped.update(vars(cleaning))
        if chunk:
            chunks.append(chunk)
        start = end
    if not chunks and dropped["long_lines"]:
        what = f"all its lines have more than data.max_length={max_length} characters"
        raise UserError(f"{source}: {what}; raise data.max_length, or name a file with one item a line")
    if not chunks:
        raise UserError(f"{source}: has no text in it; name a file with one item a line")
    return chunks, Cleaning(**dropped)


def _clean_chunk(
    raw: bytes, start: int, end: int, source: str, normalize: str | None, max_length: int | None
) -> tuple[str, Cleaning]:
    content = normalized(_decode(raw, start, end, source), normalize).removesuffix("\n") + "\n"
    # nearly every chunk, many times quicker
    if max_length is None and not _UNCLEAN.search(content) and "\n\n" not in "\n" + content:
        return content, Cleaning()
    carriage_returns = content.count("\r\n")
    given = content.replace("\r\n", "\n").split("\n")[:-1]
    lines = [line.strip(_SPACES) for line in given]
    edge_spaces = sum(len(line) < len(before) for line, before in zip(lines, given, strict=True))
    if found := _CONTROL.search(stripped := "\n".join(lines)):
        line_number = raw.count(b"\n", 0, start) + stripped.count("\n", 0, found.start()) + 1
        what = f"line {line_number} has the control character U+{ord(found.group()):04X}"
        raise UserError(f"{source}: {what}, {_cause(found.group())}")
    filled = [line for line in lines if line]
    kept = filled if max_length is None else [line for line in filled if len(line) <= max_length]
    dropped = Cleaning(0, carriage_returns, edge_spaces, len(lines) - len(filled), len(filled) - len(kept))
    return "\n".join([*kept, ""]), dropped


def _cause(control: str) -> str:
    """Return where a control character comes from, and the mend."""
    if control == "\0":
        return "as UTF-16 and files that are no text have; save it as UTF-8, or name another file"
    if control == "\r":
        return "as line ends of old Macs are; end lines with a newline"
    if control >= "\x80":
        return "as Windows-1252 read as Latin-1 has; save the original as UTF-8"
    return "which no text has; is it a text file? Remove the character or name another file"


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
        what = f"line {line}, byte {byte} is not UTF-8 (0x{raw[wrong]:02x})"
        raise UserError(f"{source}: {what}; save the file as UTF-8") from error
