"""Options that determine which text is read and how it is split: plain values, validated without heavy imports."""

import math
import sys
from collections.abc import MutableMapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from makemore.data.text import absolute, locate
from makemore.errors import UserError, as_text, one_of, whole_number

SPLITS = ("train", "val", "test")
# of what a checkpoint has of ours: the model, the vocabulary, these options
RECORD = "makemore"
_PATH_KEYS = ("path", "val_path", "test_path")


@dataclass(frozen=True)
class CorpusOptions:
    """Which text is read and how it is split.

    Args:
        path: the text; the training text alone if `val_path` or `test_path` is given.
        val_path: the validation text; replaces the ratios.
        test_path: the test text; replaces the ratios.
        splits: ratios of train, val, test; a ratio of 0 is an empty split.
        split_seed: determines the splits, together with the text.
        by: "line" (identical lines stay together), "shuffle" or "randperm" (the lectures' split of the lines and that
            of makemore.py, which separate them), or "example" (the lesson's random split of the examples).
        boundary: "shared" or "separate" (see `Vocabulary`).
        boundary_at: "first" or "last".
        normalize: a Unicode normal form, or None.
        max_lines: use only the first lines of `path`, in the vocabulary of all of them; None is all.
        max_length: most characters in a line, longer ones are skipped and counted; None is no limit.
    """

    path: str
    val_path: str | None = None
    test_path: str | None = None
    splits: tuple[float, ...] = (0.8, 0.1, 0.1)
    split_seed: int = 0
    by: str = "line"
    boundary: str = "shared"
    boundary_at: str = "first"
    normalize: str | None = "NFC"
    max_lines: int | None = None
    max_length: int | None = None

    def __post_init__(self) -> None:
        for key in _PATH_KEYS:
            if key == "path" or getattr(self, key) is not None:
                as_text(f"data.{key}", getattr(self, key))
        object.__setattr__(self, "splits", check_ratios(self.splits))
        whole_number("data.split_seed", self.split_seed)
        one_of("data.by", self.by, ("line", "shuffle", "randperm", "example"))
        one_of("data.boundary", self.boundary, ("shared", "separate"))
        one_of("data.boundary_at", self.boundary_at, ("first", "last"))
        one_of("data.normalize", self.normalize, (None, "NFC", "NFD", "NFKC", "NFKD"))
        for key, limit in (("data.max_lines", self.max_lines), ("data.max_length", self.max_length)):
            if limit is not None:
                whole_number(key, limit, at_least=1)

    @property
    def paths(self) -> dict[str, str]:
        """The given files, by split; the only one is under "train"."""
        paths = (self.path, self.val_path, self.test_path)
        return {split: path for split, path in zip(SPLITS, paths, strict=True) if path is not None}

    def as_plain(self) -> dict[str, Any]:
        """Return the options as builtins, with absolute paths, for a checkpoint."""
        plain = asdict(self) | {"splits": list(self.splits)}
        return plain | {key: str(locate(plain[key])) for key in _PATH_KEYS if plain[key] is not None}


def make_paths_absolute(data: MutableMapping[str, Any]) -> None:
    """Make the paths of a data config absolute, so that its run can be resumed from any directory.

    The path of a known text, which has a sha256, stays relative to the project's root.
    """
    if data.get("sha256") is None:
        for key in _PATH_KEYS:
            if isinstance(data.get(key), str):
                data[key] = str(absolute(data[key]))


def check_ratios(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return the ratios of train, val and test; raise `UserError` if one is negative or they do not sum to one."""
    are_three = isinstance(ratios, Sequence) and len(ratios) == len(SPLITS)
    if not are_three or not all(isinstance(each, int | float) and 0 <= each <= sys.float_info.max for each in ratios):
        raise UserError(f"data.splits must be three ratios (train, val, test) of at least 0, not {ratios}")
    if not math.isclose(sum(ratios), 1, abs_tol=1e-9):
        raise UserError(f"data.splits must sum to 1, not {sum(ratios):g}: {list(ratios)}")
    train, val, test = map(float, ratios)
    if train == 0:
        raise UserError("data.splits must leave something to train on: its first ratio is 0")
    return train, val, test
