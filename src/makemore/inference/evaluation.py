"""Evaluation: the exact NLL of every split, at the end of training and of any checkpoint later."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from makemore.console import TableColumn, print_table
from makemore.data.corpus import Corpus, read_corpus, whole_text
from makemore.data.options import SPLITS
from makemore.data.windows import CountedWindows
from makemore.errors import UserError
from makemore.inference.likelihood import NLL, exact_nll
from makemore.inference.trained_model import TrainedModel
from makemore.models.network import Network


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Args:
        nlls: by split, or under "text" for another file.
        changes: a sentence for each of the training text's files that is not what it was.
    """

    nlls: dict[str, NLL]
    changes: list[str]

    def as_dict(self) -> dict[str, float | bool | None]:
        """Return the metrics as JSON can hold them, and whether the text has changed."""
        return metrics_dict(self.nlls) | {"text_changed": bool(self.changes)}

    def write(self, path: str | Path) -> None:
        """Write the metrics as JSON; a path that cannot be written is a `UserError`."""
        try:
            Path(path).write_text(json.dumps(self.as_dict(), indent=2) + "\n")
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def counted_splits(corpus: Corpus, block_size: int) -> dict[str, CountedWindows]:
    """Return the counted windows of each split of `corpus` that has examples."""
    return {split: corpus.windows(split, block_size).counted() for split in SPLITS if corpus.size(split)}


def split_nlls(network: Network, windows: Mapping[str, CountedWindows]) -> dict[str, NLL]:
    """Return the exact NLL of each split, given its counted windows."""
    return {split: exact_nll(network, counted) for split, counted in windows.items()}


def metrics_dict(nlls: Mapping[str, NLL]) -> dict[str, float | bool | None]:
    """Return NLL, bits a character and perplexity of each split as JSON can hold them."""
    metrics: dict[str, float | bool | None] = {}
    for split, nll in nlls.items():
        metrics |= nll.as_dict(split)
    return metrics


def evaluate(model: TrainedModel, data_path: str | Path | None = None) -> Evaluation:
    """Return the NLL on each split of the text that a checkpoint was trained on, or on a whole other file.

    Raises:
        UserError: the text is not where it was, or has characters that the model does not know.
    """
    if data_path is not None:
        corpus = whole_text(data_path, model.vocabulary, model.options.normalize)
        windows = corpus.windows("train", model.network.block_size).counted()
        return Evaluation({"text": exact_nll(model.network, windows)}, [])
    changes = model.changes()
    try:
        corpus = read_corpus(model.options, model.vocabulary)
    except UserError as error:
        raise UserError("; ".join([*changes, str(error)])) from error
    return Evaluation(split_nlls(model.network, counted_splits(corpus, model.network.block_size)), changes)


def print_nlls(title: str, nlls: Mapping[str, NLL]) -> None:
    """Print a table of NLLs, a row each, on standard output."""
    found = nlls.values()
    columns = [
        TableColumn("split", list(nlls), is_text=True),
        TableColumn("characters", [f"{nll.characters:,}" for nll in found]),
        TableColumn("NLL (nats/char)", [f"{nll.nats:.7f}" for nll in found]),
        TableColumn("bits/char", [f"{nll.bits_per_char:.4f}" for nll in found]),
        TableColumn("perplexity", [f"{nll.perplexity:.4f}" for nll in found]),
    ]
    print_table(title, columns)
    if any(math.isinf(nll.nats) for nll in nlls.values()):
        print("inf: something there was never seen in training; counting with model.fake_count=1 gives it a chance")
