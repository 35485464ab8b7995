"""Checks what runs on one text share of their parts."""

import threading
from pathlib import Path
from typing import Any

import pytest
from hydra import compose
from omegaconf import OmegaConf

from makemore.runs.assemble import Parts, assemble
from makemore.runs.watching.health import Speed
from makemore.runs.watching.watcher import RunState, Watcher
from makemore.system.hydra_release import composing

SPEED = {"_target_": "makemore.runs.watching.health.Speed", "every": 7}
CSV = {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": "${task}"}


class Locked(Watcher):
    """A watcher that cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def observe(self, state: RunState) -> None:
        """Do nothing."""


@pytest.fixture
def assembled(text: Path, tmp_path: Path) -> Any:
    """Assemble a run with other values at the top of its config, watching its speed alone."""

    def make(like: Parts | None = None, **values: Any) -> Parts:
        with composing():
            config: Any = compose("train", ["model=mlp", "data=text", f"data.path={text}"])
        values = {"watch": {"speed": SPEED}} | values
        kept = {key: value for key, value in config.items() if key not in values}
        return assemble(OmegaConf.create(kept | values), tmp_path, like)

    return make


def test_equal_watchers_are_copies_and_loggers_are_shared(assembled: Any) -> None:
    first = assembled()
    (of_first,) = first.watchers.watchers
    second = assembled(first, seed=1)
    (of_second,) = second.watchers.watchers
    assert second.data is first.data
    assert second.loggers is first.loggers
    assert isinstance(of_second, Speed)
    assert of_second is not of_first
    assert of_second.every == 7


def test_what_differs_is_made_anew(assembled: Any) -> None:
    first = assembled()
    second = assembled(first, watch={"speed": SPEED | {"every": 9}}, logger=None)
    assert [watcher.every for watcher in second.watchers.watchers] == [9]
    assert (len(first.loggers), second.loggers) == (2, [])


def test_a_logger_that_refers_to_its_run_is_the_runs_own(assembled: Any) -> None:
    first = assembled(logger=[CSV], task="one")
    second = assembled(first, logger=[CSV], task="two")
    assert [maker.arguments["save_dir"] for maker in (*first.loggers, *second.loggers)] == ["one", "two"]


def test_a_watcher_that_cannot_be_copied_is_made_anew(assembled: Any) -> None:
    watch = {"mine": {"_target_": f"{__name__}.Locked"}}
    first = assembled(watch=watch)
    second = assembled(first, watch=watch)
    assert second.watchers.watchers[0].lock is not first.watchers.watchers[0].lock


@pytest.mark.parametrize(
    ("given", "steps", "dropout"), [((), 250, 0.4), (("trainer.max_steps=7", "model.dropout=0.1"), 7, 0.1)]
)
def test_what_is_left_to_the_text_is_a_number_in_every_part(
    given: tuple[str, ...], steps: int, dropout: float, text: Path, tmp_path: Path
) -> None:
    with composing():
        composed = compose("train", ["data=text", f"data.path={text}", *given])
    parts = assemble(composed, tmp_path)
    assert (parts.cfg.trainer.max_steps, parts.cfg.model.dropout) == (steps, dropout)
    assert parts.model.arguments["dropout"] == parts.outcome.hyperparameters["model.dropout"] == dropout
    # the config that is saved
    assert parts.composed is composed


def test_the_shipped_names_have_the_numbers_of_their_records(tmp_path: Path) -> None:
    with composing():
        parts = assemble(compose("train"), tmp_path)
    assert (parts.cfg.trainer.max_steps, parts.cfg.val_every, parts.cfg.model.dropout) == (1_500, 100, 0.0)
