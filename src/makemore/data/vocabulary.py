"""The vocabulary: the sorted characters of a text, and the boundary tokens.

With a shared boundary, one token, `.`, both starts and ends an item (27 tokens for a-z); with separate ones, `<S>`
starts and `<E>` ends it (28 tokens). They precede or follow the characters, as in the lessons (L0, L3).
"""

import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from makemore.errors import UserError, one_of
from makemore.system.console import visible


@dataclass(frozen=True)
class Vocabulary:
    """A mapping between characters and tokens.

    Args:
        characters: the sorted alphabet, without the boundary; a "." in it is a character like any other.
        boundary: "shared" (one token) or "separate" (start and end).
        boundary_at: "first" (the boundary is token 0) or "last".
    """

    characters: str
    boundary: str = "shared"
    boundary_at: str = "first"

    def __post_init__(self) -> None:
        if not isinstance(self.characters, str):
            raise UserError("the vocabulary's characters are not text")
        if len(set(self.characters)) < len(self.characters):
            raise UserError("the vocabulary has a character twice")
        # control characters but for the tab, the newline among them, and surrogates
        wrong = [each for each in self.characters if each != "\t" and unicodedata.category(each) in ("Cc", "Cs")]
        if wrong:
            raise UserError(f"the vocabulary has {wrong[0]!r}, which no text may have")
        one_of("data.boundary", self.boundary, ("shared", "separate"))
        one_of("data.boundary_at", self.boundary_at, ("first", "last"))

    @property
    def size(self) -> int:
        """V, the number of tokens, boundary included."""
        return len(self.characters) + (1 if self.boundary == "shared" else 2)

    @property
    def start(self) -> int:
        """The token that pads the context before an item."""
        return 0 if self.boundary_at == "first" else len(self.characters)

    @property
    def end(self) -> int:
        """The token that ends an item."""
        return self.start if self.boundary == "shared" else self.start + 1

    @property
    def offset(self) -> int:
        """The token of the first character."""
        return self.end + 1 if self.boundary_at == "first" else 0

    @property
    def labels(self) -> list[str]:
        """The displayed label of each token; that of the boundary is never a character's."""
        shared = "<.>" if "." in self.characters else "."
        boundary = [shared] if self.boundary == "shared" else ["<S>", "<E>"]
        characters = list(self.characters)
        return boundary + characters if self.boundary_at == "first" else characters + boundary

    def encode(self, word: str) -> list[int]:
        """Return the tokens of the characters, without boundaries; raise `UserError` naming an unknown one."""
        tokens = [self.characters.find(character) for character in word]
        if -1 in tokens:
            raise UserError(self._unknown(word[tokens.index(-1)], repr(word)))
        return [token + self.offset for token in tokens]

    def decode(self, tokens: list[int]) -> str:
        """Return the characters of tokens that are not boundaries."""
        characters, offset = self.characters, self.offset
        return "".join([characters[token - offset] for token in tokens])

    def encode_lines(self, content: str, source: str) -> npt.NDArray[Any]:
        """Encode newline-ended lines, with end tokens, in the smallest type; `UserError` for an unknown character."""
        codes = np.frombuffer(content.encode("utf-32-le"), dtype="<u4")
        alphabet = [ord(character) for character in self.characters]
        # -1, which needs a signed type, marks an unknown character
        table = np.full(max(int(codes.max(initial=0)), *alphabet, 0) + 1, -1, dtype=np.int32)
        table[alphabet] = np.arange(self.offset, self.offset + len(alphabet))
        table[ord("\n")] = self.end
        tokens = table[codes]
        if tokens.size and tokens.min() < 0:
            first = int(np.argmin(tokens))
            line = content[content.rfind("\n", 0, first) + 1 : content.index("\n", first)]
            raise UserError(self._unknown(content[first], f"{line[:80]!r} of {source}"))
        # torch can index with these
        smallest = np.uint8 if self.size <= 2**8 else np.int16 if self.size <= 2**15 else np.int32
        encoded: npt.NDArray[Any] = tokens.astype(smallest)
        return encoded

    def _unknown(self, character: str, where: str) -> str:
        shown = self.characters if len(self.characters) <= 100 else self.characters[:100] + "..."
        return f"the character {character!r} in {where} is not in the vocabulary; it has {visible(shown)}"
