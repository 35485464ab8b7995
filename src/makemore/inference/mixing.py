"""Mixtures of trained models: their weights by EM on the validation split, and their checkpoints.

Counting and networks err differently, so a mixture of both is better than each (Bengio et al. 2003, section 4.2).
"""

import gc
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from makemore.checkpoints import RECORD_KEY, path_of, record_of
from makemore.data.corpus import Corpus, read_corpus
from makemore.data.options import SPLITS
from makemore.errors import UserError
from makemore.inference.evaluation import print_nlls
from makemore.inference.likelihood import NLL, log_probs, most_rows
from makemore.inference.reference import reference_row
from makemore.inference.trained_model import TrainedModel, load
from makemore.models.mixture import Mixture
from makemore.models.network import Counted, build
from makemore.system import files
from makemore.system.console import TableColumn, print_table
from makemore.system.files import writing

# EM ends when no weight changes by more
_TOLERANCE = 1e-7
_MOST_ITERATIONS = 10_000
# examples mixed at once
_CHUNK = 2**20


@dataclass(frozen=True)
class Mix:
    """A mixture of trained models.

    Args:
        network: the mixture.
        nlls: of the mixture, by split.
        nlls_of_parts: of each part, on the validation split.
    """

    models: Sequence[TrainedModel]
    network: Mixture
    nlls: dict[str, NLL]
    nlls_of_parts: list[NLL]

    def as_dict(self) -> dict[str, float]:
        """Return the metrics as JSON values; none is infinite where Kneser-Ney is a part."""
        return {f"mixture/{split}/nll": nll.nats for split, nll in self.nlls.items()}

    def write(self, run_dir: Path) -> Path:
        """Write the mixture's checkpoint into a directory like that of a run, and return its path.

        Raises:
            UserError: it cannot be written.
        """
        first, step = self.models[0], max(model.step for model in self.models)
        record = record_of("mixture", _arguments(self.models), first.vocabulary, first.options, first.sha256, step)
        state = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        path = path_of(run_dir, step)
        with writing(path):
            files.write_sealed({"state_dict": state, RECORD_KEY: record}, path)
        return path


def mix(models: Sequence[TrainedModel]) -> Mix:
    """Mix models that were trained on the same text with the same splits.

    Raises:
        UserError: the vocabularies or texts differ, the text has changed or is gone, or has no validation split.
    """
    for model in models[1:]:
        check_alike(models[0], model)
    if changes := models[0].changes():
        raise UserError(changes[0])
    corpus = read_corpus(models[0].options, models[0].vocabulary)
    if not corpus.size("val"):
        raise UserError("the weights of a mixture are fitted on the validation split, which is empty; see data.splits")
    return _fitted(models, corpus)


def mix_with_counts(checkpoint: Path, corpus: Corpus) -> Mix | None:
    """Mix the model of a checkpoint with Kneser-Ney of its text, which has a validation split; None if it counts."""
    model = load(checkpoint)
    if isinstance(model.network, Counted):
        return None
    # the windows of a run that has ended: its Trainer, model and data refer to each other
    gc.collect()
    counts = reference_row(corpus).network
    arguments = {"order": counts.order}
    other = replace(model, path=Path("Kneser-Ney"), architecture="kneser_ney", arguments=arguments, network=counts)
    return _fitted([model, other], corpus)


def _fitted(models: Sequence[TrainedModel], corpus: Corpus) -> Mix:
    """Return the mixture of models, its weights fitted on the validation split of their text."""
    network = build("mixture", models[0].vocabulary.size, _arguments(models), seed=0)
    assert isinstance(network, Mixture)
    for part, model in zip(network.parts, models, strict=True):
        part.load_state_dict(model.network.state_dict())
    of_val = target_log_probs(network, corpus, "val")
    network.weights = em_weights(*of_val)
    nlls = {}
    for split in filter(corpus.size, SPLITS):
        # of one split at a time
        log_probs, counts = of_val if split == "val" else target_log_probs(network, corpus, split)
        nlls[split] = _nll(_mixed(log_probs, network.weights), counts)
    log_probs, counts = of_val
    return Mix(models, network.eval(), nlls, [_nll(of_part, counts) for of_part in log_probs])


def check_alike(first: TrainedModel, other: TrainedModel) -> None:
    """Raise `UserError` where two models differ in their vocabulary, text or splits."""
    if what := difference_of_texts(first, other):
        raise UserError(f"{first.path} and {other.path} {what}; mix models of the same text and splits")


def difference_of_texts(first: TrainedModel, other: TrainedModel) -> str | None:
    """Return in what two models differ that are not of the same vocabulary, text and splits, in words."""
    if first.vocabulary != other.vocabulary:
        return "have different vocabularies"
    if first.sha256 != other.sha256:
        return "were trained on different texts"
    mine, theirs = (asdict(model.options) for model in (first, other))
    keys = [key for key in mine if mine[key] != theirs[key] and not key.endswith("path")]
    return f"have different data.{keys[0]}: {mine[keys[0]]} and {theirs[keys[0]]}" if keys else None


def target_log_probs(mixture: Mixture, corpus: Corpus, split: str) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities (K, P) of the distinct examples of a split by each part, and their counts (P,).

    Both are float64; log-probabilities are in nats. No part sees more than the mixture does.
    """
    sizes = [part.block_size for part in mixture.parts if part.reads == "windows"]
    windows = corpus.windows(split, max([corpus.context_size(mixture), *sizes])).counted()
    found = torch.empty((len(mixture.parts), len(windows.pair_count)), dtype=torch.float64)
    for part, of_part in zip(mixture.parts, found, strict=True):
        for chunk in log_probs(part, windows, most_rows(part)):
            of_part[chunk.pairs] = chunk.chosen.double()
    return found, windows.pair_count.double()


def _mixed(log_probs: Tensor, weights: Tensor) -> Tensor:
    """Return the log-probabilities (P,) of a mixture from those of its parts (K, P) and their weights (K,)."""
    chunks = (log_probs[:, first : first + _CHUNK] for first in range(0, log_probs.shape[1], _CHUNK))
    return torch.cat([(chunk + weights.log().unsqueeze(1)).logsumexp(0) for chunk in chunks])


def em_weights(log_probs: Tensor, counts: Tensor) -> Tensor:
    """Return the weights (K,) of a mixture that maximise the likelihood (Dempster et al. 1977).

    Args:
        log_probs: (K, P) of each example by each part, in nats.
        counts: (P,) how often each example occurs.
    """
    weights = torch.full((len(log_probs),), 1 / len(log_probs), dtype=torch.float64)
    # no weights make possible what no part does
    possible = log_probs.isfinite().any(0)
    if not possible.any():
        return weights
    log_probs, counts = log_probs[:, possible], counts[possible]
    for _ in range(_MOST_ITERATIONS):
        shares = torch.softmax(log_probs + weights.log().unsqueeze(1), 0)
        before, weights = weights, (shares * counts).sum(1) / counts.sum()
        if (weights - before).abs().max() < _TOLERANCE:
            break
    return weights


def print_mix(found: Mix) -> None:
    """Print the parts with their weights, then the NLLs of the mixture, on standard output."""
    columns = [
        TableColumn("part", [str(model.path) for model in found.models], is_text=True),
        TableColumn("model", [model.architecture for model in found.models], is_text=True),
        TableColumn("val NLL (nats/char)", [f"{nll.nats:.4f}" for nll in found.nlls_of_parts]),
        TableColumn("weight", [f"{weight:.4f}" for weight in found.network.weights.tolist()]),
    ]
    print_table("parts of the mixture", columns)
    print_nlls("NLL of the mixture", found.nlls)


def _nll(log_probs: Tensor, counts: Tensor) -> NLL:
    return NLL(float(-(log_probs * counts).sum()), int(counts.sum()))


def _arguments(models: Sequence[TrainedModel]) -> dict[str, object]:
    return {"parts": [{"architecture": model.architecture, "arguments": model.arguments} for model in models]}
