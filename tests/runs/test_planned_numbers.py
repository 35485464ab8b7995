"""The numbers of a run that its config leaves to the text: by its tokens, and shares of its steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict

from makemore.errors import UserError
from makemore.runs.planned_numbers import (
    decay_for,
    dropout_for,
    planned,
    rate_for,
    shares_of_steps,
    steps_for,
    units_for,
)

NAMES = 183_876  # tokens of data/names.txt in training


def config(
    max_steps: int | str,
    val_every: int | str = "auto",
    log_every: int | str = "auto",
    lr: float | str = 0.1,
    **model: float | str,
) -> DictConfig:
    content = {"trainer": {"max_steps": max_steps}, "val_every": val_every, "log_every": log_every, "model": model}
    own = {"optimizer": {"lr": lr}, "scheduler": {"total_steps": "${trainer.max_steps}"}}
    cfg = OmegaConf.create(content | own)
    OmegaConf.set_struct(cfg, True)
    return cfg


@pytest.mark.parametrize(
    ("tokens", "steps", "dropout", "lr"),
    [
        (1, 50, 0.4, 0.005),
        (1_000, 250, 0.4, 0.005),
        (NAMES // 27, 500, 0.4, 0.005),
        (NAMES * 3 // 32, 700, 0.3, 0.0075),
        (NAMES // 8, 750, 0.3, 0.01),
        (NAMES // 2, 1_200, 0.1, 0.01),
        (NAMES, 1_500, 0.0, 0.01),
        (4 * NAMES, 3_000, 0.0, 0.01),
        (64 * NAMES, 12_000, 0.0, 0.01),
    ],
)
def test_numbers_follow_the_tokens(tokens: int, steps: int, dropout: float, lr: float) -> None:
    found = planned(config("auto", lr="auto", architecture="lstm", dropout="auto"), tokens)
    assert found.trainer.max_steps == found.scheduler.total_steps == steps
    assert (found.val_every, found.log_every) == (max(1, steps // 15), max(1, steps // 30))
    assert (found.model.dropout, found.optimizer.lr) == (dropout, lr)
    assert rate_for("gru", tokens) == pytest.approx(0.8 * lr)


@given(tokens=st.integers(1, 10**10), more=st.integers(0, 10**10))
def test_every_text_has_numbers_in_range(tokens: int, more: int) -> None:
    found = planned(config("auto", dropout="auto"), tokens)
    assert 15 <= found.trainer.max_steps / found.val_every < 17
    assert 50 <= steps_for(tokens) <= steps_for(tokens + more)
    assert 0.4 >= dropout_for(tokens) >= dropout_for(tokens + more) >= 0
    assert 0.004 <= rate_for("gru", tokens) <= rate_for("gru", tokens + more) <= 0.008


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
    found = planned(config("auto", lr=0.02, architecture="lstm", dropout=0.1), 334)
    assert (found.model.dropout, found.optimizer.lr) == (0.1, 0.02)


@pytest.mark.parametrize(
    ("tokens", "decay"),
    [(1, 1.0), (NAMES // 64, 1.0), (NAMES // 32, 0.1), (NAMES // 16, 0.01), (NAMES, 0.01), (64 * NAMES, 0.01)],
)
def test_weight_decay_follows_the_tokens_under_adamw_alone(tokens: int, decay: float) -> None:
    composed = config(7)
    for target, found in (("torch.optim.AdamW", {"weight_decay": decay}), ("torch.optim.SGD", {})):
        with open_dict(composed):
            composed.optimizer = {"_target_": target, "weight_decay": "auto"}
        assert planned(composed, tokens).optimizer == {"_target_": target, **found}
        assert composed.optimizer.weight_decay == "auto"


@given(tokens=st.integers(1, 10**10), more=st.integers(0, 10**10))
def test_weight_decay_falls_with_the_tokens(tokens: int, more: int) -> None:
    found, of_more = (decay_for("torch.optim.AdamW", each) for each in (tokens, tokens + more))
    assert found is not None
    assert of_more is not None
    assert 1 >= found >= of_more >= 0.01


@pytest.mark.parametrize(
    ("tokens", "units"),
    [(1, 128), (NAMES, 128), (NAMES * 3 // 2 - 100, 128), (NAMES * 3 // 2 + 100, 256), (64 * NAMES, 256)],
)
def test_units_follow_the_tokens(tokens: int, units: int) -> None:
    assert planned(config("auto", hidden_dim="auto"), tokens).model.hidden_dim == units == units_for(tokens)
    assert planned(config("auto", hidden_dim=64), tokens).model.hidden_dim == 64


def test_a_model_without_dropout_or_a_rate_of_its_own_gets_none() -> None:
    assert planned(config("auto", hidden_dim=8), 334).model == {"hidden_dim": 8}
    # `make_model` says that it must be a number
    assert planned(config("auto", lr="auto", architecture="mlp"), 334).optimizer.lr == "auto"


@pytest.mark.parametrize("steps", ["many", 0, -1, 2.5, None])
def test_another_word_is_one_line(steps: object) -> None:
    with pytest.raises(UserError, match=r"trainer\.max_steps must be"):
        planned(config(steps), 334)  # type: ignore[arg-type]
