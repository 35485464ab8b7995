"""Evaluation of networks and checkpoints: the exact NLL of every split."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from makemore.data.corpus import Corpus, read_corpus
from makemore.data.options import SPLITS, CorpusOptions
from makemore.data.windows import CountedWindows
from makemore.errors import UserError
from makemore.inference.likelihood import NLL, exact_nll
from makemore.inference.trained_model import TrainedModel
from makemore.models.network import Network
from makemore.system.console import TableColumn, print_table
from makemore.system.files import writing

NLL_HEADINGS = ("split", "characters", "NLL (nats/char)", "bits/char", "perplexity")


@dataclass(frozen=True)
class Evaluation:
    """The NLLs by split, or under "text" of another file, and a sentence for each file that has changed."""

    nlls: dict[str, NLL]
    changes: list[str]

    def as_dict(self) -> dict[str, float | bool | None]:
        """Return the metrics as JSON values, and whether the text has changed."""
        return metrics_dict(self.nlls) | {"text_changed": bool(self.changes)}

    def write(self, path: str | Path) -> None:
        """Write the metrics as JSON; raise `UserError` if the path cannot be written."""
        with writing(path):
            Path(path).write_text(json.dumps(self.as_dict(), indent=2) + "\n")


def counted_splits(corpus: Corpus, network: Network) -> dict[str, CountedWindows]:
    """Return the counted windows of each split of `corpus` that has examples."""
    size = corpus.context_size(network)
    return {split: corpus.windows(split, size).counted() for split in SPLITS if corpus.size(split)}


def split_nlls(network: Network, windows: Mapping[str, CountedWindows]) -> dict[str, NLL]:
    """Return the exact NLL of each split, from its counted windows."""
    return {split: exact_nll(network, counted) for split, counted in windows.items()}


def metrics_dict(nlls: Mapping[str, NLL]) -> dict[str, float | bool | None]:
    """Return the metrics of each split as JSON values: an infinite NLL is null, with a flag."""
    metrics: dict[str, float | bool | None] = {}
    for split, nll in nlls.items():
        values = {"nll": nll.nats, "bits_per_char": nll.bits_per_char, "perplexity": nll.perplexity}
        metrics |= {f"{split}/{name}": value if math.isfinite(value) else None for name, value in values.items()}
        if math.isinf(nll.nats):
            metrics[f"{split}/infinite"] = True
    return metrics


def evaluate(model: TrainedModel, data_path: str | Path | None = None) -> Evaluation:
    """Evaluate a model on each split of the text that it was trained on, or on the whole of another file.

    A text that is missing, or has characters that are not in the model's vocabulary, is a `UserError`.
    """
    if data_path is not None:
        options = CorpusOptions(str(data_path), splits=(1, 0, 0), normalize=model.options.normalize)
        corpus = read_corpus(options, model.vocabulary)
        windows = corpus.windows("train", corpus.context_size(model.network)).counted()
        return Evaluation({"text": exact_nll(model.network, windows)}, [])
    changes = model.changes()
    try:
        corpus = read_corpus(model.options, model.vocabulary)
    except UserError as error:
        raise UserError("; ".join([*changes, str(error)])) from error
    return Evaluation(split_nlls(model.network, counted_splits(corpus, model.network)), changes)


def nll_rows(nlls: Mapping[str, NLL]) -> list[tuple[str, ...]]:
    """Return the cells below `NLL_HEADINGS` for each split."""
    return [
        (split, f"{nll.characters:,}", f"{nll.nats:.7f}", f"{nll.bits_per_char:.4f}", f"{nll.perplexity:.4f}")
        for split, nll in nlls.items()
    ]


def print_nlls(title: str, nlls: Mapping[str, NLL], reference: Mapping[str, NLL] | None = None) -> None:
    """Print a table of NLLs on standard output, with those of the reference row of the same splits beside them."""
    rows = nll_rows(nlls)
    columns = [
        TableColumn(heading, [row[place] for row in rows], is_text=heading == "split")
        for place, heading in enumerate(NLL_HEADINGS)
    ]
    if reference is not None:
        columns.append(TableColumn("Kneser-Ney", [f"{reference[split].nats:.7f}" for split in nlls]))
    print_table(title, columns)
    if any(math.isinf(nll.nats) for nll in nlls.values()):
        print("inf: something there was never seen in training; counting with model.fake_count=1 gives it a chance")
