"""The steps of a run that its config leaves to the text: by its lines, and shares of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from makemore.errors import UserError
from makemore.runs.planned_steps import planned, shares_of_steps


def config(max_steps: int | str, val_every: int | str = "auto", log_every: int | str = "auto") -> DictConfig:
    content = {"trainer": {"max_steps": max_steps}, "val_every": val_every, "log_every": log_every}
    cfg = OmegaConf.create({**content, "scheduler": {"total_steps": "${trainer.max_steps}"}})
    OmegaConf.set_struct(cfg, True)
    return cfg


@pytest.mark.parametrize(
    ("lines", "steps"), [(160, 100), (334, 150), (3_000, 500), (25_806, 1_500), (100_000, 2_950), (800_000, 8_350)]
)
def test_steps_grow_as_the_root_of_the_lines(lines: int, steps: int) -> None:
    found = planned(config("auto"), lines)
    assert found.trainer.max_steps == found.scheduler.total_steps == steps
    assert (found.val_every, found.log_every) == (steps // 15, steps // 30)


@given(lines=st.integers(1, 10**9))
def test_every_text_has_steps_and_fifteen_validations(lines: int) -> None:
    found = planned(config("auto"), lines)
    assert found.trainer.max_steps >= 50
    assert 15 <= found.trainer.max_steps / found.val_every < 17


def test_a_run_that_was_left_its_intervals_has_others_with_more_steps() -> None:
    assert shares_of_steps(config("auto")) == shares_of_steps(config(1_500)) == ["val_every", "log_every"]
    assert shares_of_steps(config(1_500, 10)) == ["log_every"]
    assert shares_of_steps(config("auto", 10, 5)) == []


def test_numbers_stay_and_the_config_of_the_run_does_too() -> None:
    given_all = config(1_000, 10, 5)
    assert planned(given_all, 334) is given_all
    composed = config(7)
    found = planned(composed, 334)
    assert (found.trainer.max_steps, found.val_every, found.log_every) == (7, 1, 1)
    assert composed.val_every == "auto"


@pytest.mark.parametrize("steps", ["many", 0, -1, 2.5, None])
def test_another_word_is_one_line(steps: object) -> None:
    with pytest.raises(UserError, match=r"trainer\.max_steps must be"):
        planned(config(steps), 334)  # type: ignore[arg-type]
