"""Checks the reference row: what counting alone gives on the splits that a text has."""

import gc
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from makemore.data.corpus import read_corpus
from makemore.data.options import CorpusOptions
from makemore.inference import reference
from makemore.inference.evaluation import counted_splits, split_nlls
from makemore.inference.reference import nll_of_pairs, reference_row
from makemore.models.kneser_ney import KneserNey
from makemore.models.network import Counted, build

CONFIG = Path(__file__).parents[2] / "conf" / "model" / "kneser_ney.yaml"


def test_it_is_what_the_model_of_the_config_gives(text: Path) -> None:
    corpus = read_corpus(CorpusOptions(str(text)))
    config = yaml.safe_load(CONFIG.read_text())
    network = build(config["architecture"], corpus.vocabulary.size, {"order": config["order"]}, seed=0)
    assert isinstance(network, Counted)
    windows = counted_splits(corpus, network)
    network.count(windows["train"])
    found = reference_row(corpus)
    reference._rows.clear()
    assert reference_row(corpus, windows).nlls == found.nlls
    reference._rows.clear()
    other = build("ngram", corpus.vocabulary.size, {"order": 3}, seed=0)
    assert reference_row(corpus, counted_splits(corpus, other)).nlls == found.nlls
    assert (found.nlls, found.order) == (split_nlls(network, windows), config["order"])
    assert found.seconds > 0
    expected = {f"reference/{split}/nll": nll.nats for split, nll in found.nlls.items()}
    expected |= {"reference/order": found.order, "reference/seconds": found.seconds}
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False)) == expected
    assert "order 5" in str(found)


def test_pairs_are_counted_by_order_2(text: Path) -> None:
    corpus = read_corpus(CorpusOptions(str(text)))
    network = KneserNey(corpus.vocabulary.size, torch.Generator(), 2)
    windows = counted_splits(corpus, network)
    network.count(windows["train"])
    assert nll_of_pairs(corpus) == nll_of_pairs(corpus) == split_nlls(network, windows)["val"].nats


def test_its_order_is_the_better_by_validation(tmp_path: Path) -> None:
    # pairs of words of two letters, which four of them do not tell apart
    draw = random.Random(0)
    words = ["".join(draw.choices("ab", k=9)) for _ in range(20)]
    path = tmp_path / "pairs.txt"
    path.write_text("".join(f"{first}{second}\n" for first, second in itertools.product(words, repeat=2)))
    corpus = read_corpus(CorpusOptions(str(path)))
    row = reference_row(corpus)
    assert row.order == row.network.order == 8
    network = KneserNey(corpus.vocabulary.size, torch.Generator(), 5)
    windows = counted_splits(corpus, network)
    network.count(windows["train"])
    assert row.nlls["val"].nats < split_nlls(network, windows)["val"].nats
    # without a validation split there is nothing to choose by
    assert reference_row(read_corpus(CorpusOptions(str(path), splits=(1, 0, 0)))).order == 5


@pytest.mark.parametrize(
    ("options", "splits"),
    [
        ({"splits": (1, 0, 0)}, ["train"]),
        ({"splits": (0.5, 0, 0.5)}, ["train", "test"]),
        ({"by": "example"}, ["train", "val", "test"]),
        ({"boundary": "separate", "boundary_at": "last"}, ["train", "val", "test"]),
        ({"val_path": "other.txt"}, ["train", "val"]),
    ],
)
def test_it_has_the_splits_that_there_are(
    options: dict[str, Any], splits: list[str], text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.txt").write_text("zoë\nñandú\n")
    corpus = read_corpus(CorpusOptions(str(text), **options))
    nlls = reference_row(corpus).nlls
    assert list(nlls) == splits
    assert all(nll.nats < 8 and nll.characters == corpus.size(split) for split, nll in nlls.items())


def test_it_is_computed_once_for_a_corpus_and_goes_with_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"ann{name}\nhanna\n" * 20)
    first, second = (CorpusOptions(str(tmp_path / name), splits=(1, 0, 0)) for name in ("a", "b"))
    row = reference_row(read_corpus(first))
    assert reference_row(read_corpus(first)) is row
    kept = len(reference._rows)
    assert reference_row(read_corpus(second)).nlls != row.nlls
    gc.collect()
    assert len(reference._rows) <= kept
