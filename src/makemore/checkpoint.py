"""The trained model that a checkpoint keeps.

Its record says which registered network with which arguments, the vocabulary, the text and how it was split; only the
registry instantiates what it names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from makemore import sampling
from makemore.checkpoint_file import RECORD_KEY, DamagedCheckpointError, naming_damage, read
from makemore.data.options import CorpusOptions
from makemore.data.text import locate, normalized, read_text, sha256_of
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError, true_or_false, whole_number
from makemore.finding import find_checkpoint
from makemore.models import Network, restore
from makemore.sampling import SamplingOptions, samples
from makemore.scoring import score

_NETWORK_PREFIX = "network."


@dataclass(frozen=True)
class TrainedModel:
    """A model as a checkpoint keeps it, ready to score and to sample.

    Args:
        path: the checkpoint.
        network: with its trained weights, on the CPU, in evaluation mode.
        vocabulary: of the text that it was trained on.
        options: which text that was, and how it was split.
        sha256: the digests of the text's files when it was trained, by split.
        step: how many optimiser steps it had taken.
    """

    path: Path
    network: Network
    vocabulary: Vocabulary
    options: CorpusOptions
    sha256: dict[str, str]
    step: int

    def nll(self, words: Sequence[str]) -> list[float]:
        """Return the mean NLL of each word, in nats a character, its end counted; inf where it is impossible.

        Raises:
            UserError: a word with a character that the model does not know.
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
        """Return `n` made-up items; see `iter_samples`."""
        options = SamplingOptions(prompt, temperature, top_k, max_length)
        return list(self.iter_samples(n, seed, options, unseen, max_attempts))

    def iter_samples(
        self,
        n: int,
        seed: int,
        options: SamplingOptions,
        unseen: bool = False,
        max_attempts: int | None = None,
    ) -> Iterator[str]:
        """Yield `n` made-up items; the same seed gives the same ones, and the first of more are those of fewer.

        Args:
            n: how many.
            seed: of the stream of random numbers.
            options: prompt, temperature, top-k and length.
            unseen: only items that are not in the text, which must be where it was.
            max_attempts: see `makemore.sampling.unseen`.

        Raises:
            UserError: a bad option, or a text that is gone or does not leave enough unseen.
        """
        whole_number("num_samples", n)
        options = replace(options, prompt=normalized(options.prompt, self.options.normalize))
        stream = samples(self.network, self.vocabulary, seed, options)
        if true_or_false("unseen", unseen):
            return sampling.unseen(stream, self.seen(), n, max_attempts)
        return islice(stream, n)

    def seen(self) -> set[str]:
        """Return the items of the text that the model was trained on, all its splits.

        Raises:
            UserError: the text is not where it was.
        """
        texts = [read_text(self._file(path), self.options.normalize) for path in self.options.paths.values()]
        return {line for text in texts for line in text.lines()}

    def changes(self) -> list[str]:
        """Return a sentence for each file of the text that is not what it was when the model was trained.

        Raises:
            UserError: a file is not where it was.
        """
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


def load(path: str | Path, which: str = "last") -> TrainedModel:
    """Load a trained model from the checkpoint that a user names; see `makemore.finding.find_checkpoint`.

    Raises:
        UserError: a missing, truncated or foreign checkpoint, or one of a newer format.
    """
    path = find_checkpoint(path, which)
    checkpoint = read(path)
    try:
        with naming_damage(path):
            return _trained_model(path, checkpoint)
    except DamagedCheckpointError:
        raise
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _trained_model(path: Path, checkpoint: dict[str, Any]) -> TrainedModel:
    own = checkpoint[RECORD_KEY]
    vocabulary = Vocabulary(**own["vocabulary"])
    model = own["model"]
    state = {name.removeprefix(_NETWORK_PREFIX): tensor for name, tensor in checkpoint["state_dict"].items()}
    network = restore(model["architecture"], vocabulary.size, model["arguments"], state)
    options = CorpusOptions(**own["data"]["options"])
    sha256, step = dict(own["data"]["sha256"]), whole_number("step", own["step"])
    if sha256.keys() != options.paths.keys() or not all(isinstance(digest, str) for digest in sha256.values()):
        raise ValueError("the digests are not those of the text's files")
    return TrainedModel(path, network.eval(), vocabulary, options, sha256, step)
