"""Processes that run parts of a group: what they give, say and raise."""

import os
import signal
from typing import Any

import pytest

from makemore.errors import UserError
from makemore.sweeps import progress
from makemore.sweeps.vectorized.workers import can_fork, run_parts

pytestmark = pytest.mark.skipif(not can_fork(), reason="no forking here")


def test_all_parts_are_run_each_in_a_process_of_its_own() -> None:
    outcomes = run_parts([[1, 2], [3]], lambda part: {number: os.getpid() for number in part})
    assert outcomes.keys() == {1, 2, 3}
    assert outcomes[1] == outcomes[2] != outcomes[3]
    assert os.getpid() not in outcomes.values()


def test_the_progress_of_a_part_is_shown_here(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(progress, "show_group", lambda group, sender=0: shown.append((group, sender)))
    group = progress.GroupProgress(3, 10, 20, 5.0, 2.5, lasting=True)

    def run(part: int) -> dict[int, Any]:
        monkeypatch.undo()
        progress.show_group(group)
        return {part: None}

    run_parts([1, 2], run)
    assert [said for said, _ in shown] == [group, group, None, None]
    assert len({sender for _, sender in shown[:2]}) == 2
    # none is shown any more
    assert {sender for _, sender in shown[2:]} == {sender for _, sender in shown[:2]}


def test_an_error_of_a_user_is_raised_here_when_all_have_ended() -> None:
    def run(part: int) -> dict[int, Any]:
        if part == 1:
            raise UserError("what, where and the mend")
        return {part: None}

    with pytest.raises(UserError, match=r"^what, where and the mend$"):
        run_parts([1, 2], run)


def test_a_process_that_is_killed_is_told() -> None:
    def run(part: int) -> dict[int, Any]:
        if part == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return {part: None}

    with pytest.raises(RuntimeError, match="a process of the launcher was killed"):
        run_parts([1, 2, 3], run)


def test_a_bug_in_a_process_is_told_with_its_traceback() -> None:
    def run(part: int) -> dict[int, Any]:
        raise LookupError(f"part {part}")

    with pytest.raises(RuntimeError, match="LookupError: part 1") as raised:
        run_parts([1, 2], run)
    assert "Traceback" in str(raised.value)
