"""The pictures of a trained model and of its training: which there are, as files, and in TensorBoard."""

import csv
import logging
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from makemore.data.corpus import Corpus
from makemore.data.vocabulary import Vocabulary
from makemore.inference.diagnosis import Diagnosis, diagnose
from makemore.inference.trained_model import TrainedModel
from makemore.pictures import plots
from makemore.pictures.picture import Picture

log = logging.getLogger(__name__)
# Made-up items whose lengths are compared with those of the text, and the characters of one and of all.
_ITEMS, _LONGEST, _CHARACTERS = 2000, 1000, 200_000
# Characters in the plane of an embedding, more of which hide each other.
_POINTS = 100
Curves = dict[str, tuple[list[float], list[float]]]


def bigram_picture(found: Diagnosis, vocabulary: Vocabulary) -> Picture:
    """Return the lessons' heat map of the bigrams of a split."""
    labels = [vocabulary.labels[token] for token in found.tokens]
    caption = f"How often each character stands before each other one in the {found.split} split."
    return Picture("bigrams", caption, plots.bigram_matrix(found.counted, labels))


def range_test_picture(rates: Sequence[float], losses: Sequence[float]) -> Picture:
    """Return the picture of a learning-rate range test: ascending rates and the NLL at each, nats a character."""
    caption = "Loss against the learning rate, which rose at each step; beyond the suggested one nothing is gained."
    return Picture("lr_range", caption, plots.learning_rate_range(rates, losses))


def pictures_of_model(model: TrainedModel, corpus: Corpus) -> Iterator[Picture]:
    """Yield what one can see of a model on its text: on validation, or on training where there is no such split."""
    split = "val" if corpus.size("val") else "train"
    found = diagnose(model.network, corpus, split)
    every = model.vocabulary.labels
    labels = [every[token] for token in found.tokens]
    yield bigram_picture(found, model.vocabulary)
    yield Picture(
        "network_beside_counts",
        "What follows each character: as counted, and as the model expects on the same text.",
        plots.network_beside_counts(found, labels),
    )
    if model.network.embedding is not None:
        vectors = model.network.embedding.detach().double().numpy()
        shown = range(len(every)) if len(every) <= _POINTS else found.tokens
        figure = plots.embedding(vectors[shown], [every[token] for token in shown])
        yield Picture("embedding", "The characters where the embedding has put them.", figure)
    yield Picture(
        "nll_by_place_and_character",
        "Where the model is surprised: by the place in the item, and by the character.",
        plots.nll_by_place_and_character(found, dict(enumerate(every))),
    )
    yield Picture(
        "calibration",
        "How often the likeliest character was right, against its probability; the error is the mean gap.",
        plots.calibration(found.calibration, split),
    )
    yield Picture("confusion", "What is expected where a character is right.", plots.confusion(found, labels))
    real = corpus.lengths - 1
    # a model that has learnt little ends few of its items
    longest = min(2 * int(real.max()) + 10, _LONGEST)
    made_up = model.sample(min(_ITEMS, _CHARACTERS // longest), max_length=longest)
    figure = plots.lengths([len(item) for item in made_up], real.tolist())
    yield Picture(
        "lengths", f"How long made-up items are, none of which may have more than {longest:,} characters.", figure
    )


def pictures_of_training(curves: Curves) -> Iterator[Picture]:
    """Yield what one can see of a training run in its log: the loss, and the range test where it was one."""
    if any(name in curves for name in ("train/nll", "val/nll")):
        yield Picture("loss", "NLL of minibatches and of validation.", plots.loss_curve(curves))
    losses = dict(zip(*curves.get("train/nll", ([], [])), strict=True))
    rates = {step: rate for step, rate in zip(*curves.get("lr", ([], [])), strict=True) if step in losses}
    if len(rates) > 2 and all(before < after for before, after in pairwise(rates.values())):
        yield range_test_picture(list(rates.values()), [losses[step] for step in rates])


def read_curves(path: Path) -> Curves:
    """Return the columns of a run's `metrics.csv`, each with its steps, without what is missing or not finite."""
    curves: Curves = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                if name != "step" and text and math.isfinite(value := float(text)):
                    steps, values = curves.setdefault(name, ([], []))
                    steps.append(int(row["step"]))
                    values.append(value)
    return curves
