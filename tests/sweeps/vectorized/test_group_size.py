"""Checks how many members a task of an engine gets, and what that is chosen by."""

import math
from pathlib import Path

import pytest
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import setup_globals
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import open_dict

from makemore.sweeps import naming
from makemore.sweeps.vectorized import group_size
from makemore.sweeps.vectorized.composing import Composer
from makemore.sweeps.vectorized.group_size import FILES, START, Cost, measured, members_for
from makemore.sweeps.vectorized.member import Member
from makemore.system.hydra_release import composing

CONF = Path(__file__).resolve().parents[3] / "conf"


@pytest.mark.parametrize(
    "model",
    [
        ("model=mlp", "trainer.max_steps=1000"),
        pytest.param(("model=bigram", "data.batch_size=null"), marks=pytest.mark.full),
        pytest.param(("model=rnn",), marks=pytest.mark.slow),
    ],
)
def test_a_step_of_a_group_is_measured_and_nothing_written(
    model: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step_seconds = group_size._step_seconds

    def by_members(member: Member, number: int) -> float:
        # how much of a real step is the members' is a matter of noise
        assert step_seconds(member, number) > 0
        return number / 1000

    monkeypatch.setattr(group_size, "_step_seconds", by_members)
    naming.register()
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("".join(f"{a}{b}{a}\n" for a in "abcdefg" for b in "hijklmno"))
    with composing():
        setup_globals()
        master = compose("train", ["data=text", "data.path=text.txt"], return_hydra_config=True)
        with open_dict(master):
            master.hydra.sweep.dir = "S"
        composer = Composer(GlobalHydra.instance().config_loader(), master)
        cost = measured(composer.compose(0, model))
        wrong = measured(composer.compose(0, [*model, "num_samples=-1"]))
    assert cost.fixed >= START
    assert cost.member > FILES
    assert wrong == Cost(START, FILES)
    assert [path.name for path in Path().iterdir()] == ["text.txt"]


def test_the_cost_is_fitted_to_two_measurements() -> None:
    # a = 0.9 ms and b = 0.1 ms
    cost = Cost.of(steps=1000, one=1.0e-3, several=2.5e-3)
    assert cost.fixed == pytest.approx(START + 0.9)
    assert cost.member == pytest.approx(FILES + 0.1)
    # where the measurements are noise
    assert Cost.of(steps=1000, one=2e-3, several=1e-3) == Cost(START + 2.0, FILES)


@pytest.mark.parametrize(
    ("members", "workers", "chosen"),
    [
        (1000, 2, 500),  # a share
        (1000, 3, 334),
        (1000, 100, 20),  # no less, or start-up takes most of the time
        (1000, 10_000, 20),
        (8, 4, 8),
    ],
)
def test_a_task_gets_a_share_unless_that_were_mostly_start_up(members: int, workers: int, chosen: int) -> None:
    assert members_for(members, workers, Cost(fixed=10.0, member=0.5)) == chosen


@given(st.integers(1, 10_000), st.integers(1, 500), st.floats(START, 1e4), st.floats(FILES, 1e3))
def test_no_worker_is_left_idle_by_less_than_a_tasks_start(
    members: int, workers: int, fixed: float, member: float
) -> None:
    size = members_for(members, workers, Cost(fixed, member))
    assert 1 <= size <= members
    assert math.ceil(members / size) <= workers
    if math.ceil(members / size) < workers and size < members and size > math.ceil(members / workers):
        # one member less would be less than the start
        assert (size - 1) * member < fixed
