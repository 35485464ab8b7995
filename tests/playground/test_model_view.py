"""Checks what the page shows of a model of every architecture, and that wrong input is one line."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from small_models import NAMES, SMALL, small_model

from makemore.inference.trained_model import TrainedModel
from makemore.models.network import architectures
from makemore.playground.model_view import LONGEST, ModelView, views_of


def view(directory: Path, architecture: str, **options: str) -> ModelView:
    found = ModelView(small_model(directory, architecture, **options), "run")
    found.known.start()
    found.known.wait()
    return found


def titles(html: str) -> list[str]:
    return re.findall("<h3>(.*?)(?:, .*?)?</h3>", html)


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> ModelView:
    return view(tmp_path_factory.mktemp("mlp"), "mlp")


def test_there_is_a_small_model_of_every_architecture() -> None:
    assert SMALL.keys() == {name for name in architectures() if name.islower() and "test" not in name}


@pytest.mark.parametrize("architecture", SMALL)
def test_every_model_answers(architecture: str, tmp_path: Path) -> None:
    shown = view(tmp_path, architecture)
    expected = ["Next character", "Surprise", "Likeliest continuations"]
    if shown.model.network.embedding is not None:
        expected.append("Embedding")
    for typed in ("", "a", "hanna", "a" * LONGEST):
        html = shown.answer(typed)
        assert titles(html) == expected
        assert 'role="alert"' not in html
        # all characters and the end
        assert html.count('class="cell"') == len(typed) + 1
    nll = shown.model.nll(["hanna"])[0]
    assert f"NLL <b>{nll:.3f}</b>" in shown.answer("hanna")
    assert "<b>in the text</b>" in shown.answer("hanna")
    assert "<b>not in the text</b>" in shown.answer("hannah")


@pytest.mark.parametrize("architecture", ["bigram", "ngram", "lstm"])
def test_a_separate_start_token_is_never_shown_as_next(architecture: str, tmp_path: Path) -> None:
    html = view(tmp_path, architecture, boundary="separate").answer("an")
    assert "▫" not in html.partition("<h3>Embedding")[0]


def test_the_rank_is_among_the_items_of_the_text(mlp: ModelView) -> None:
    nlls = sorted(mlp.model.nll(sorted(set(NAMES))))
    place = [round(nll, 9) for nll in nlls].index(round(mlp.model.nll(["noah"])[0], 9)) + 1
    assert re.search(rf"of {len(nlls)} items of the text \(rank {place}\)", mlp.answer("noah"))


def test_before_the_text_is_scored_the_rest_is_there(tmp_path: Path) -> None:
    shown = ModelView(small_model(tmp_path, "mlp"), "run")
    html = shown.answer("anna")
    assert len(titles(html)) == 4
    assert "its rank follows once the text is scored" in html
    assert "in the text</b>" not in html
    assert "are not in the text" not in shown.make_up("", 3, 0, 1.0, 0, False)


def test_without_its_text_a_model_answers_and_says_so(tmp_path: Path) -> None:
    shown = ModelView(small_model(tmp_path, "mlp"), "run")
    (tmp_path / "names.txt").unlink()
    shown.known.start()
    shown.known.wait()
    html = shown.answer("anna")
    assert len(titles(html)) == 4
    assert "is gone" in html
    assert "is gone" in shown.make_up("", 3, 0, 1.0, 0, True)
    assert shown.make_up("", 3, 0, 1.0, 0, False).count("<li>") == 3


def test_a_changed_text_is_named_and_unseen_items_are_those_not_in_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = replace(small_model(tmp_path, "mlp"), sha256={"train": "0" * 64})
    shown = ModelView(model, "run")
    shown.known.start()
    shown.known.wait()
    html = shown.answer("anna")
    assert f"{model.options.path} has changed since training" in html
    assert "<b>in the text</b>" in html
    expected = model.sample(5, seed=3, max_length=100, unseen=True)
    monkeypatch.setattr(TrainedModel, "seen", None)
    html = shown.make_up("", 5, 3, 1.0, 0, True)
    assert [unescape(item) for item in re.findall('data-type="(.*?)"', html)] == expected


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ("<b>", "the character '<' in '<b>' is not in the vocabulary"),
        ("a" * 41, "41 characters are typed; the most is 40"),
    ],
)
def test_what_cannot_be_typed_is_one_line(typed: str, error: str, mlp: ModelView) -> None:
    for html in (mlp.answer(typed), mlp.make_up(typed, 3, 0, 1.0, 0, False)):
        assert error in unescape(html)
        assert html.count('role="alert"') == 1
        assert "<b>'" not in html


def test_items_are_those_that_the_model_samples(mlp: ModelView) -> None:
    html = mlp.make_up("an", 5, 3, 0.8, 4, False)
    expected = mlp.model.sample(5, seed=3, prompt="an", temperature=0.8, top_k=4, max_length=100)
    assert [unescape(item) for item in re.findall('data-type="(.*?)"', html)] == expected
    new = sum(item not in NAMES for item in expected)
    assert f"{new} of 5 are not in the text" in html
    assert html.count('<li class="new">') == new
    unseen = mlp.make_up("", 5, 3, 1.0, 0, True)
    assert "5 of 5 are not in the text" in unseen


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((51, 0, 1.0, 0), "the number of items must be at most 50, not 51"),
        ((5, -1, 1.0, 0), "seed must be at least 0, not -1"),
        ((5, None, 1.0, 0), "seed must be a whole number, not None"),
        ((5, 0, 0, 0), "temperature must be above 0, not 0"),
        ((5, 0, 1.0, -2), "top_k must be at least 1, not -2"),
    ],
)
def test_wrong_controls_are_one_line(arguments: tuple[int, int, float, int], error: str, mlp: ModelView) -> None:
    assert error in unescape(mlp.make_up("", *arguments, False))


def test_unseen_items_that_do_not_come_up_are_said_to_be_few(tmp_path: Path) -> None:
    shown = view(tmp_path, "kneser_ney")
    # of the likeliest characters alone there is one item
    html = shown.make_up("hanna", 5, 0, 1.0, 1, True)
    assert "only 0 of 5 unseen items came up in 1,000 attempts<" in html


def test_models_are_named_by_their_runs_and_by_their_checkpoints_in_the_same_run(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = small_model(tmp_path / "a", "mlp"), small_model(tmp_path / "b", "bigram")
    assert [shown.name for shown in views_of([first])] == ["run"]
    names = [shown.name for shown in views_of([first, first, second])]
    assert names == ["a/run/step-00000007", "a/run/step-00000007", "b/run"]
    assert "<h2>run</h2>" in views_of([second])[0].answer("")
