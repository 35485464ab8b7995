"""Checks what a report on several runs leads with: the best of them, where they can be compared."""

from itertools import product
from pathlib import Path

import pytest

import every_model
from makemore.report.page import Headline
from makemore.report.run_comparison import comparison_sections
from makemore.report.run_data import RunData, read_run_data


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two texts of the same characters."""
    directory = tmp_path_factory.mktemp("texts")
    words = ["".join(letters) for letters in product("anh", repeat=3)]
    for name, some in (("a", words[:20]), ("b", words[7:])):
        (directory / name).write_text("".join(f"{word}\n" for word in some))
    return [directory / "a", directory / "b"]


@pytest.fixture(scope="module")
def runs(texts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunData]:
    def trained(architecture: str, text: Path) -> RunData:
        return read_run_data(every_model.checkpoint(tmp_path_factory.mktemp("run"), text, architecture))

    models = {name: trained(name, texts[0]) for name in ("kneser_ney", "mlp", "bigram")}
    return models | {"other": trained("kneser_ney", texts[1])}


def headline(runs: dict[str, RunData], *names: str) -> Headline:
    (found,) = comparison_sections(names, [runs[name] for name in names])[0].elements
    assert isinstance(found, Headline)
    return found


def test_the_best_of_runs_leads_with_how_far_it_is_ahead(runs: dict[str, RunData]) -> None:
    nlls = {name: runs[name].objective for name in ("bigram", "kneser_ney", "mlp")}
    found = headline(runs, *nlls)
    first, second, _ = sorted(nlls, key=nlls.__getitem__)
    best, lead = nlls[first], nlls[second] - nlls[first]
    assert found.sentence == f"The best of 3 runs is {first}: {best:.4f} nats a character, {lead:.4f} below {second}."
    reference = runs["mlp"].reference
    assert reference is not None
    counting = reference.nlls["val"].nats
    side = "above" if best > counting else "below"
    assert found.numbers == [
        (f"{best:.4f}", "validation NLL of the best, in nats a character"),
        (f"{nlls[second]:.4f}", f"that of the next, {second}"),
        (f"{abs(best - counting):.4f}", f"{side} counting alone (Kneser-Ney: {counting:.4f})"),
        ("3", "runs"),
    ]


def test_the_same_weights_twice_are_as_good_as_each_other(runs: dict[str, RunData]) -> None:
    assert headline(runs, "mlp", "mlp").sentence.endswith("nats a character, as much as mlp.")


def test_runs_on_different_texts_are_not_compared(runs: dict[str, RunData]) -> None:
    found = headline(runs, "kneser_ney", "mlp", "other")
    assert found.sentence.startswith("3 runs, which cannot be compared: ")
    assert found.sentence.endswith(" were trained on different texts.")
    assert found.numbers == ()


def test_nothing_is_said_of_runs_whose_text_is_gone(texts: list[Path], tmp_path: Path) -> None:
    gone = tmp_path / "gone.txt"
    gone.write_text(texts[0].read_text())
    path = every_model.checkpoint(tmp_path, gone, "bigram")
    gone.unlink()
    data = read_run_data(path)
    (section,) = comparison_sections(("a", "b"), [data, data])
    assert section.elements == [Headline("2 runs: how well they predict is not known here.")]
