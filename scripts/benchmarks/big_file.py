"""A big file of sampled names: the time of its first and second load, and the memory of training on it."""

import tempfile
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path

from benchmarks import loading
from benchmarks.commands import TRAIN, peak_memory, python
from benchmarks.setting import Setting
from makemore.inference.sampling import samples

_CHUNK = 100_000
_SEED = 2147483647
_STEPS = 2_000


def write_names(path: Path, names: Iterator[str], lines: int) -> None:
    """Write the first `lines` names that are not empty, one a line."""
    named = filter(None, names)
    with path.open("w", encoding="utf-8") as file:
        while chunk := list(islice(named, min(_CHUNK, lines))):
            file.writelines(f"{name}\n" for name in chunk)
            lines -= len(chunk)


class BigFile:
    """A file of names sampled from the setting's trained MLP.

    Args:
        setting: the model, the number of lines and the directory.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    @cached_property
    def path(self) -> Path:
        """The file, written on first access."""
        path = self.setting.directory / "big.txt"
        model = self.setting.model
        write_names(path, samples(model.network, model.vocabulary, _SEED), self.setting.sizes.lines)
        return path

    @cached_property
    def loaded(self) -> tuple[float, dict[str, str]]:
        """The seconds of the first load, and the environment variables of the cache it filled."""
        cache = self._new_cache()
        return self._load(cache), cache

    def first_load(self) -> float:
        """Return the seconds of a load with an empty cache, measured once."""
        return self.loaded[0]

    def second_load(self) -> float:
        """Return the seconds of a load with the cache of the first one."""
        return self._load(self.loaded[1])

    def peak_memory(self) -> float:
        """Return the peak memory of a training run that loads with an empty cache, in gigabytes."""
        arguments = [TRAIN, "data=text", f"data.path='{self.path}'", "model=mlp", f"trainer.max_steps={_STEPS}"]
        return peak_memory(arguments, self._new_cache())

    def _load(self, cache: dict[str, str]) -> float:
        return float(python(["-m", loading.__name__, str(self.path)], cache))

    def _new_cache(self) -> dict[str, str]:
        return {"XDG_CACHE_HOME": tempfile.mkdtemp(dir=self.setting.directory)}
