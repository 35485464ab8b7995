"""A small network of every registered model as the checkpoint of a run, untrained: counts, and drawn weights."""

from functools import cache
from pathlib import Path
from typing import Any

from makemore.checkpoints import RECORD_KEY, path_of, record_of
from makemore.data.corpus import read_corpus
from makemore.data.options import CorpusOptions
from makemore.inference.evaluation import counted_splits
from makemore.models.network import Counted, Network, build
from makemore.system import files

_SIZES = {"embedding_dim": 4, "hidden_dim": 6}
SMALL: dict[str, dict[str, Any]] = {
    "bigram": {"init": "normal"},
    "bow": _SIZES,
    "gru": _SIZES,
    "kneser_ney": {"order": 3},
    "lstm": _SIZES | {"num_layers": 2},
    "mlp": _SIZES | {"num_layers": 2, "batch_norm": True, "output_norm": True},
    "ngram": {"order": 3},
    "rnn": _SIZES,
    "transformer": {"embedding_dim": 8, "num_layers": 1, "num_heads": 2, "positions": "rotary", "tied": True},
    "wavenet": _SIZES | {"block_size": 4},
}
_PARTS = ("kneser_ney", "bow", "transformer")
SMALL["mixture"] = {"parts": [{"architecture": name, "arguments": SMALL[name]} for name in _PARTS]}
# others that an export must not confuse
MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "learned positions": ("transformer", {"embedding_dim": 8, "num_layers": 2, "num_heads": 2, "block_size": 9}),
    "zerogram": ("ngram", {"order": 0}),
    "unigram": ("ngram", {"order": 1, "fake_count": 0.5}),
    "counted bigram": ("ngram", {"order": 2}),
    "unigram of Kneser-Ney": ("kneser_ney", {"order": 1}),
}


def options(text: Path, boundary: str = "shared") -> CorpusOptions:
    """Return options in which the start token is not 0 where the boundary is separate."""
    return CorpusOptions(str(text), boundary=boundary, boundary_at="first" if boundary == "shared" else "last")


@cache
def network(architecture: str, text: Path, boundary: str = "shared", more: str | None = None) -> Network:
    """Return the network of an architecture, or one of `MORE`."""
    corpus = read_corpus(options(text, boundary))
    arguments = SMALL[architecture] if more is None else MORE[more][1]
    built = build(architecture, corpus.vocabulary.size, arguments, seed=1).eval()
    for module in built.modules():
        if isinstance(module, Counted):
            module.count(counted_splits(corpus, module)["train"])
    return built


def checkpoint(
    run_dir: Path, text: Path, architecture: str, more: str | None = None, boundary: str = "shared"
) -> Path:
    """Write the checkpoint of such a network into the directory of a run, and return its path."""
    corpus = read_corpus(options(text, boundary))
    arguments = SMALL[architecture] if more is None else MORE[more][1]
    tensors = network(architecture, text, boundary, more).state_dict()
    state = {f"network.{name}": tensor for name, tensor in tensors.items()}
    record = record_of(architecture, arguments, corpus.vocabulary, corpus.options, corpus.sha256, 7)
    files.write_sealed({"state_dict": state, RECORD_KEY: record}, path := path_of(run_dir, 7))
    return path
