"""Which members go on at a rung: the rule by hand, where the rungs are, and what is kept of what was decided."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore.errors import UserError
from makemore.sweeps.vectorized.halving import Halving, best_share

NLLS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(allow_nan=True), min_size=1)
ETA = st.integers(2, 5)


@pytest.mark.parametrize(
    ("nlls", "eta", "best"),
    [
        ({"a": 2.3, "b": 2.1, "c": 2.2, "d": 2.4}, 2, {"b", "c"}),
        ({"a": 2.3, "b": 2.1, "c": 2.2, "d": 2.4}, 3, {"b", "c"}),
        ({"a": 2.3, "b": 2.1, "c": 2.2, "d": 2.4}, 4, {"b"}),
        # the first to come has nobody to be compared with
        ({"a": 9.0}, 4, {"a"}),
        ({"b": 2.0, "c": 2.0, "a": 2.0}, 3, {"a"}),
        ({"a": math.nan, "b": math.inf, "c": 5.0}, 3, {"c"}),
    ],
)
def test_the_best_share_goes_on(nlls: dict[str, float], eta: int, best: set[str]) -> None:
    assert best_share(nlls, eta) == best


@given(nlls=NLLS, eta=ETA)
def test_as_many_go_on_as_the_share_rounded_up_and_none_is_worse_than_one_that_does_not(
    nlls: dict[str, float], eta: int
) -> None:
    best = best_share(nlls, eta)
    assert len(best) == math.ceil(len(nlls) / eta)
    assert all(not nlls[out] < nlls[name] for name in best for out in nlls.keys() - best)


def test_a_rung_is_at_its_step_or_at_the_next_validation() -> None:
    halving = Halving(100, 4, Path())
    at = {step: halving.rung(step, every=50) for step in range(50, 2000, 50)}
    assert {step: rung for step, rung in at.items() if rung} == {100: 100, 400: 400, 1600: 1600}
    assert [halving.rung(step, every=250) for step in (250, 500, 750, 1750)] == [100, 400, None, 1600]
    # two rungs before one validation
    assert halving.rung(500, every=500) == 400


@given(first=st.integers(1, 300), eta=ETA, every=st.integers(1, 400))
def test_each_rung_is_at_one_validation_unless_a_later_one_is(first: int, eta: int, every: int) -> None:
    halving = Halving(first, eta, Path())
    found = [rung for step in range(every, 3000, every) if (rung := halving.rung(step, every)) is not None]
    assert found == sorted(set(found))
    reached = max(range(every, 3000, every))
    wanted = {first * eta**k for k in range(12) if first * eta**k <= reached}
    assert set(found) <= wanted
    # those left out share a validation with a later one
    for rung in wanted - set(found):
        assert -(-rung // every) == -(-rung * eta // every)


def test_members_are_compared_with_all_that_came_before_and_decisions_are_kept(tmp_path: Path) -> None:
    halving = Halving(10, 2, tmp_path / "rungs")
    assert halving.decided(10) == {}
    assert halving.decide(10, {"a": 2.0, "b": 3.0}) == {"a": True, "b": False}
    # of another process: two of four are among the best half, of which "b" would be none
    first = {"a": True, "b": False, "c": False, "d": True}
    assert halving.decide(10, {"c": 2.7, "d": 2.6}) == first
    # the half of five is three, but what was decided stays
    assert halving.decide(10, {"b": 1.0, "c": 1.0, "e": 2.65}) == first | {"e": True}
    assert halving.decided(10) == first | {"e": True}
    assert halving.decided(20) == {}


@given(waves=st.lists(NLLS, min_size=1, max_size=4), eta=ETA)
def test_the_best_so_far_is_never_pruned(
    waves: list[dict[str, float]], eta: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    halving, seen = Halving(1, eta, tmp_path_factory.mktemp("rungs")), dict[str, float]()
    for number, wave in enumerate(waves):
        named = {f"{number}{name}": nll for name, nll in wave.items() if not math.isnan(nll)}
        before = halving.decided(1)
        after = halving.decide(1, named)
        assert before.items() <= after.items()
        seen |= named
        lowest = min(seen.values(), default=0.0)
        assert all(after[name] for name in named if list(seen.values()).count(lowest) == 1 and seen[name] == lowest)
        assert sum(after[name] for name in named) <= math.ceil(len(seen) / eta)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    halving = Halving(10, 2, tmp_path)
    halving.decide(10, {"a": 2.0})
    (path,) = tmp_path.iterdir()
    path.write_text("job,val/nll,goes_on\na,two,1\n")
    with pytest.raises(UserError, match=f"{path.name}: cannot be read .*delete it"):
        halving.decided(10)
