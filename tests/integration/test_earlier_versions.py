"""Checkpoints of earlier versions stay what they were."""

import json
from pathlib import Path

import pytest

import makemore

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "checkpoints"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text())


def test_each_checkpoint_has_its_expectations() -> None:
    assert sorted(EXPECTED) == sorted(path.name for path in FIXTURES.glob("*.ckpt"))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_checkpoint_gives_what_it_gave(name: str) -> None:
    expected = EXPECTED[name]
    model = makemore.load(FIXTURES / name)
    assert model.step == expected["step"]
    assert model.nll(list(expected["nll"])) == pytest.approx(list(expected["nll"].values()), rel=1e-6)
    assert model.sample(5, seed=3) == expected["names"]
