"""The rows of docs/models.md: commands, the texts that they are run on, and their results."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

# by name, in the order of the page: what it is, and the overrides of its command
MODELS: dict[str, tuple[str, ...]] = {
    "bigram": ("model=bigram", "scheduler=constant", "optimizer.lr=0.01", "trainer.max_steps=5000"),
    "ngram, order 4": ("model=ngram", "model.order=4", "model.fake_count=0.1"),
    "kneser_ney": ("model=kneser_ney",),
    "kneser_ney, order 8": ("model=kneser_ney", "model.order=8"),
    "bow": ("model=bow",),
    "mlp": ("model=mlp", "model.block_size=8", "scheduler=cosine", "optimizer.clip_norm=1"),
    "wavenet": ("model=wavenet",),
    "rnn": ("model=rnn",),
    "gru": ("model=gru",),
    "lstm": ("model=lstm",),
    "transformer": ("model=transformer",),
    "1 second": ("experiment=records/1_second",),
    "10 seconds": ("experiment=records/10_seconds",),
    "30 seconds": ("experiment=records/30_seconds",),
    "2 minutes": ("experiment=records/2_minutes",),
    "10 minutes": ("experiment=records/10_minutes",),
    # the largest part of the record of an hour, which is a mixture
    "transformer of an hour": ("experiment=records/an_hour",),
}
# the text that the project ships, and the lessons' own with two splits that leak, as a name may be in several parts
TEXTS: dict[str, tuple[str, ...]] = {
    "shipped": (),
    "lectures": ("data=makemore", "data.by=shuffle", "data.split_seed=42"),
    # those of makemore.py for test, and 1,000 of its training words for validation
    "1,000 words": (
        "data=makemore",
        "data.by=randperm",
        "data.split_seed=3407",
        "data.splits=[0.9375644,0.0312178,0.0312178]",
    ),
}
# texts of other kinds and sizes, which docs/models.md says how to make
OTHER_TEXTS: dict[str, tuple[str, ...]] = {
    "places": ("data=text", "data.path=logs/texts/places.txt"),
    "german": ("data=text", "data.path=logs/texts/german.txt"),
    "words": ("data=text", "data.path=logs/texts/words.txt"),
    "smiles": ("data=text", "data.path=logs/texts/smiles.txt"),
}
ALL_TEXTS = TEXTS | OTHER_TEXTS


@dataclass(frozen=True)
class Result:
    """What a command gave on a text; NLLs in nats a character, None where there is none.

    Args:
        parameters: of the network.
        seconds: in training.
        mixed_val, mixed_test: of the mixture of the weights that it hands on and Kneser-Ney.
    """

    model: str
    text: str
    parameters: int
    seconds: float
    train: float
    val: float
    test: float
    mixed_val: float | None
    mixed_test: float | None


def read_results(path: Path) -> dict[tuple[str, str], Result]:
    """Return the results in a JSON file, by model and text; none if there is no file."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return {(row["model"], row["text"]): Result(**row) for row in rows}


def write_results(path: Path, results: Mapping[tuple[str, str], Result]) -> None:
    """Write results as JSON, in the order of the page."""
    rows = [asdict(results[key]) for key in product(MODELS, ALL_TEXTS) if key in results]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def result_of(model: str, text: str, run_dir: Path) -> Result:
    """Return the result of a run that has ended."""
    from makemore.inference.trained_model import load

    metrics = json.loads((run_dir / "metrics.json").read_text())
    parameters = sum(parameter.numel() for parameter in load(run_dir).network.parameters())
    nlls = (round(metrics[f"{split}/nll"], 4) for split in ("train", "val", "test"))
    # counts have no mixture with counts
    mixed = (metrics.get(f"mixture/{split}/nll") for split in ("val", "test"))
    both = (None if nll is None else round(nll, 4) for nll in mixed)
    return Result(model, text, parameters, round(metrics["seconds"], 1), *nlls, *both)
