"""The pictures of a trained model and of its training run."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from makemore.data.corpus import Corpus
from makemore.data.options import SPLITS
from makemore.inference.diagnosis import bigram_counts, diagnose
from makemore.inference.trained_model import TrainedModel
from makemore.pictures import plots
from makemore.pictures.curves import Curves
from makemore.pictures.picture import Picture

# for the histogram of lengths: samples, the longest one, and the characters of all
_SAMPLES, _LONGEST, _CHARACTERS = 2000, 1000, 200_000
# the most characters that an embedding can show side by side
_MAX_POINTS = 100


def bigram_picture(corpus: Corpus, splits: Sequence[str] = SPLITS) -> Picture:
    """Return the lessons' heat map of the bigram counts of a text, or of some of its splits."""
    tokens, counts = bigram_counts(corpus, splits)
    labels = [corpus.vocabulary.labels[token] for token in tokens]
    where = "the whole text" if splits == SPLITS else f"the {' and '.join(splits)} split"
    caption = f"Bigram counts of {where}: how often each character (row) is followed by each other one (column)."
    return Picture("bigrams", caption, plots.bigram_matrix(counts, labels))


def range_test_picture(rates: Sequence[float], losses: Sequence[float]) -> Picture:
    """Return the picture of a learning-rate range test: ascending rates and the NLL at each, nats a character."""
    caption = "Loss by learning rate, which rises at each step; rates above the suggested one gain nothing."
    return Picture("lr_range", caption, plots.learning_rate_range(rates, losses))


def pictures_of_model(model: TrainedModel, corpus: Corpus) -> Iterator[Picture]:
    """Yield the pictures of a model on the validation split, or on the training split where that is empty.

    The wide ones come first; the bigram counts are those of the whole text.
    """
    split = "val" if corpus.size("val") else "train"
    found = diagnose(model.network, corpus, split)
    every = model.vocabulary.labels
    labels = [every[token] for token in found.tokens]
    yield bigram_picture(corpus)
    caption = "Probability of each next character: as counted, and as the model predicts it for the same text."
    yield Picture("network_beside_counts", caption, plots.network_beside_counts(found, labels))
    figure = plots.nll_by_place_and_character(found, dict(enumerate(every)))
    yield Picture("nll_by_place_and_character", "NLL by position in the item and by character.", figure)
    if model.network.embedding is not None:
        vectors = model.network.embedding.detach().double().numpy()
        tokens = range(len(every)) if len(every) <= _MAX_POINTS else found.tokens
        figure = plots.embedding(vectors[tokens], [every[token] for token in tokens])
        yield Picture("embedding", "Embedding of the characters.", figure)
    caption = "How often the likeliest character was right, by its probability; the error is the mean gap."
    yield Picture("calibration", caption, plots.calibration(found.calibration, split))
    caption = "Mean probability of each character, by true character."
    yield Picture("confusion", caption, plots.confusion(found, labels))
    real = corpus.lengths - 1
    # a model that has learnt little ends few of its items
    longest = min(2 * int(real.max()) + 10, _LONGEST)
    samples = model.sample(min(_SAMPLES, _CHARACTERS // longest), max_length=longest)
    figure = plots.lengths([len(item) for item in samples], real.tolist())
    yield Picture("lengths", f"Lengths of sampled items, cut at {longest:,} characters, and of the text's.", figure)


def pictures_of_training(curves: Curves) -> Iterator[Picture]:
    """Yield the pictures of a training run: its NLL, and the range test where the learning rate only rises."""
    if any(name in curves for name in ("train/nll", "val/nll")):
        yield Picture("loss", "NLL of minibatches and of validation.", plots.loss_curve(curves))
    losses = dict(zip(*curves.get("train/nll", ([], [])), strict=True))
    rates = {step: rate for step, rate in zip(*curves.get("lr", ([], [])), strict=True) if step in losses}
    if len(rates) > 2 and all(before < after for before, after in pairwise(rates.values())):
        yield range_test_picture(list(rates.values()), [losses[step] for step in rates])
