"""The numbers of a run that its config leaves to the text: by its tokens, and shares of its steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from makemore.errors import UserError
from makemore.runs.planned_numbers import dropout_for, planned, shares_of_steps, steps_for

NAMES = 183_876  # tokens of data/names.txt in training


def config(
    max_steps: int | str, val_every: int | str = "auto", log_every: int | str = "auto", **model: float | str
) -> DictConfig:
    content = {"trainer": {"max_steps": max_steps}, "val_every": val_every, "log_every": log_every, "model": model}
    cfg = OmegaConf.create({**content, "scheduler": {"total_steps": "${trainer.max_steps}"}})
    OmegaConf.set_struct(cfg, True)
    return cfg


@pytest.mark.parametrize(
    ("tokens", "steps", "dropout"),
    [
        (1, 50, 0.4),
        (1_000, 250, 0.4),
        (NAMES // 27, 500, 0.4),
        (NAMES // 8, 750, 0.3),
        (NAMES // 2, 1_200, 0.1),
        (NAMES, 1_500, 0.0),
        (4 * NAMES, 3_000, 0.0),
        (64 * NAMES, 12_000, 0.0),
    ],
)
def test_steps_grow_and_dropout_falls_with_the_tokens(tokens: int, steps: int, dropout: float) -> None:
    found = planned(config("auto", dropout="auto"), tokens)
    assert found.trainer.max_steps == found.scheduler.total_steps == steps
    assert (found.val_every, found.log_every) == (max(1, steps // 15), max(1, steps // 30))
    assert found.model.dropout == dropout


@given(tokens=st.integers(1, 10**10), more=st.integers(0, 10**10))
def test_every_text_has_numbers_in_range(tokens: int, more: int) -> None:
    found = planned(config("auto", dropout="auto"), tokens)
    assert 15 <= found.trainer.max_steps / found.val_every < 17
    assert 50 <= steps_for(tokens) <= steps_for(tokens + more)
    assert 0.4 >= dropout_for(tokens) >= dropout_for(tokens + more) >= 0


def test_a_run_that_was_left_its_intervals_has_others_with_more_steps() -> None:
    assert shares_of_steps(config("auto")) == shares_of_steps(config(1_500)) == ["val_every", "log_every"]
    assert shares_of_steps(config(1_500, 10)) == ["log_every"]
    assert shares_of_steps(config("auto", 10, 5)) == []


def test_numbers_stay_and_the_config_of_the_run_does_too() -> None:
    given_all = config(1_000, 10, 5, dropout=0.1)
    assert planned(given_all, 334) is given_all
    composed = config(7, dropout="auto")
    found = planned(composed, 334)
    assert (found.trainer.max_steps, found.val_every, found.log_every, found.model.dropout) == (7, 1, 1, 0.4)
    assert (composed.val_every, composed.model.dropout) == ("auto", "auto")
    assert planned(config("auto", dropout=0.1), 334).model.dropout == 0.1


def test_a_model_without_dropout_gets_none() -> None:
    assert planned(config("auto", hidden_dim=8), 334).model == {"hidden_dim": 8}


@pytest.mark.parametrize("steps", ["many", 0, -1, 2.5, None])
def test_another_word_is_one_line(steps: object) -> None:
    with pytest.raises(UserError, match=r"trainer\.max_steps must be"):
        planned(config(steps), 334)  # type: ignore[arg-type]
