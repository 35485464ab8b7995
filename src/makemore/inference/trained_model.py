"""Trained models, loaded from checkpoints and exports.

A checkpoint records the registered name and the arguments of the network, the vocabulary, the text and its split. Only
the registry instantiates what it names.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from makemore.checkpoints import EXPORTED_WEIGHTS, RECORD_KEY, DamagedCheckpointError, find, naming_damage, read
from makemore.data.options import CorpusOptions
from makemore.data.text import locate, normalized, read_text, sha256_of
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError, true_or_false, whole_number
from makemore.inference import sampling
from makemore.inference.exported import read_exported
from makemore.inference.sampling import SamplingOptions, samples
from makemore.inference.scoring import score
from makemore.models.network import Network, restore


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, on the CPU and in evaluation mode, ready to score and to sample.

    Args:
        architecture: the registered name of the network.
        arguments: of its constructor.
        options: which text it was trained on, and how that was split.
        sha256: of the text's files at training time, by split.
        step: optimiser steps taken.
    """

    path: Path
    architecture: str
    arguments: dict[str, Any]
    network: Network
    vocabulary: Vocabulary
    options: CorpusOptions
    sha256: dict[str, str]
    step: int

    def nll(self, words: Sequence[str]) -> list[float]:
        """Return the mean NLL of each word, in nats a character, including its end; inf if it is impossible.

        A character that is not in the vocabulary is a `UserError`.
        """
        if isinstance(words, str):
            raise UserError(f"the words to score must be a list, as in [{words!r}]")
        words = [normalized(word, self.options.normalize) for word in words]
        return [word.nll for word in score(self.network, self.vocabulary, words)]

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        prompt: str = "",
        temperature: float = 1.0,
        top_k: int | None = None,
        max_length: int = 1000,
        unseen: bool = False,
        max_attempts: int | None = None,
    ) -> list[str]:
        """Sample `n` items; see `iter_samples`."""
        options = SamplingOptions(prompt, temperature, top_k, max_length)
        return list(self.iter_samples(n, seed, options, unseen, max_attempts))

    def iter_samples(
        self, n: int, seed: int, options: SamplingOptions, unseen: bool = False, max_attempts: int | None = None
    ) -> Iterator[str]:
        """Yield `n` samples; the same seed gives the same ones, and more samples begin with the same ones.

        With `unseen`, only items that are not in the text, whose files are read (see `makemore.inference.sampling`).

        Raises:
            UserError: a bad option, a text that is missing, or too few unseen items.
        """
        whole_number("num_samples", n)
        options = replace(options, prompt=normalized(options.prompt, self.options.normalize))
        stream = samples(self.network, self.vocabulary, seed, options)
        if true_or_false("unseen", unseen):
            return sampling.unseen(stream, self.seen(), n, max_attempts)
        return islice(stream, n)

    def seen(self) -> set[str]:
        """Return the items of all splits of the training text; raise `UserError` if it is missing."""
        texts = [read_text(self._file(path), self.options.normalize) for path in self.options.paths.values()]
        return {line for text in texts for line in text.lines()}

    def changes(self) -> list[str]:
        """Return a sentence for each file of the training text that has changed; raise `UserError` if missing."""
        now = {split: sha256_of(self._file(path)) for split, path in self.options.paths.items()}
        return [
            f"{self.options.paths[split]} has changed since training "
            f"(sha256 {was[:12]}..., now {now[split][:12]}...): "
            "these are not the splits that the model was trained with"
            for split, was in self.sha256.items()
            if now[split] != was
        ]

    def _file(self, path: str) -> Path:
        try:
            return locate(path)
        except UserError as error:
            raise UserError(
                f"the text of {self.path} is gone: {path}; put it back, or evaluate another one"
            ) from error


def _weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that are evaluated, of a module's state: the average, where there is one."""
    averaged = any(name.startswith("average.") for name in state)
    prefix, other = ("average.", "network.") if averaged else ("network.", "average.")
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if not name.startswith(other)}


def load(path: str | Path) -> TrainedModel:
    """Load a trained model from a checkpoint, from the newest of a run's directory, or from an export.

    Raises:
        UserError: a missing, truncated or foreign checkpoint, or one of a newer format.
    """
    path = find(path)
    checkpoint = read_exported(path) if path.name == EXPORTED_WEIGHTS else read(path)
    try:
        with naming_damage(path):
            own = checkpoint[RECORD_KEY]
            vocabulary, model = Vocabulary(**own["vocabulary"]), own["model"]
            state = _weights(checkpoint["state_dict"])
            network = restore(model["architecture"], vocabulary.size, model["arguments"], state)
            options = CorpusOptions(**own["data"]["options"])
            sha256, step = dict(own["data"]["sha256"]), whole_number("step", own["step"])
            if sha256.keys() != options.paths.keys() or not all(isinstance(digest, str) for digest in sha256.values()):
                raise ValueError("the digests are not those of the text's files")
            named = model["architecture"], dict(model["arguments"])
            return TrainedModel(path, *named, network.eval(), vocabulary, options, sha256, step)
    except DamagedCheckpointError:
        raise
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
