"""Small untrained models of every registered architecture over a text of a few names."""

from pathlib import Path
from typing import Any

import torch

from makemore.data.corpus import Corpus, read_corpus
from makemore.data.options import CorpusOptions
from makemore.inference.trained_model import TrainedModel
from makemore.models.network import Counted, build

NAMES = ["anna", "hanna", "ann", "hal", "lana", "nala", "alan", "zoë", "noah", "noa", "jo-anne", "anna"]
_EMBEDDED = {"block_size": 12, "embedding_dim": 4, "hidden_dim": 6}
SMALL: dict[str, dict[str, Any]] = {
    "bigram": {},
    "bow": _EMBEDDED,
    "gru": _EMBEDDED,
    "kneser_ney": {"order": 3},
    "lstm": _EMBEDDED,
    "mixture": {
        "parts": [
            {"architecture": "lstm", "arguments": _EMBEDDED},
            {"architecture": "mlp", "arguments": {"block_size": 2, "embedding_dim": 2, "hidden_dim": 3}},
        ]
    },
    "mlp": {"block_size": 2, "embedding_dim": 2, "hidden_dim": 3},
    "ngram": {"order": 2},
    "rnn": _EMBEDDED,
    "transformer": {"block_size": 12, "embedding_dim": 8, "num_layers": 1, "num_heads": 2},
    "wavenet": {"block_size": 4, "embedding_dim": 4, "hidden_dim": 6},
}


def small_model(directory: Path, architecture: str, **options: Any) -> TrainedModel:
    """Return such a model, counted if it counts; its text is written to the directory."""
    path = directory / "names.txt"
    path.write_text("\n".join(NAMES) + "\n")
    corpus: Corpus = read_corpus(CorpusOptions(str(path), splits=(1, 0, 0), **options))
    network = build(architecture, corpus.vocabulary.size, SMALL[architecture], seed=1)
    if isinstance(network, Counted):
        network.count(corpus.windows("train", network.block_size).counted())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1)
    checkpoint = directory / "run" / "checkpoints" / "step-00000007.ckpt"
    return TrainedModel(
        checkpoint, architecture, SMALL[architecture], network.eval(), corpus.vocabulary, corpus.options, {}, 7
    )
