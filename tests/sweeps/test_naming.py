"""Checks what tells jobs apart, and the names of their directories."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore.overrides import differing, short_names, shown, spelt
from makemore.sweeps.naming import job_name, run_name

VALUES = st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.text("abcé/: '", min_size=1))


def quoted(value: object) -> str:
    return "'" + value.replace("'", "\\'") + "'" if isinstance(value, str) else str(value).lower()


def test_a_directory_has_the_name_that_is_given_or_its_time() -> None:
    assert [run_name(name, "12-30") for name in (None, "first", 7)] == ["12-30", "first", "7"]


def test_what_is_the_same_in_all_jobs_does_not_differ() -> None:
    overrides = ["experiment=lessons/mlp", "optimizer.lr=0.1", "+model.x=[1,2]", "model=mlp", "a='b c'", "~d=1"]
    assert differing(overrides, ["experiment"]) == {
        "optimizer.lr": 0.1,
        "model.x": [1, 2],
        "model": "mlp",
        "a": "b c",
        "d": 1,
    }


def test_a_key_is_short_unless_another_ends_alike() -> None:
    keys = ["optimizer.lr", "seed", "data.split_seed", "data.path", "x.path"]
    assert list(short_names(keys).values()) == ["lr", "seed", "split_seed", "data.path", "x.path"]


@pytest.mark.parametrize(
    ("overrides", "readable"),
    [
        (["optimizer.lr=0.1", "model.l2=0", "task=x"], "l2_0-lr_0.1"),
        (["optimizer.lr=0.0040645406276"], "lr_0.00406454"),
        (["data.path='/tmp/a b/ü.txt'"], "path__tmp_a_b_.txt"),
        (["task=x"], "job"),
        (["+a.b=../.."], "b_.._.."),
    ],
)
def test_a_name_says_what_differs_as_far_as_paths_allow(overrides: list[str], readable: str, tmp_path: Path) -> None:
    name, _, digest = job_name(overrides, ["task"], tmp_path).rpartition("-")
    assert name == readable
    assert re.fullmatch("[0-9a-f]{8}", digest)


@given(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=40), VALUES, min_size=1, max_size=8), st.randoms())
def test_names_are_short_safe_and_the_same_in_any_order(values: dict[str, object], random: object) -> None:
    overrides = [f"model.{key}={quoted(value)}" for key, value in values.items()]
    name = job_name(overrides, [], "nowhere")
    assert len(name) <= 80
    assert re.fullmatch(r"[\w.+-]+", name, re.ASCII)
    random.shuffle(overrides)  # type: ignore[attr-defined]
    assert job_name(overrides, [], "nowhere") == name


@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=2, unique=True))
def test_jobs_that_differ_have_different_names(values: list[float]) -> None:
    first, second = ([f"optimizer.lr={value}"] for value in values)
    assert job_name(first, [], "nowhere") != job_name(second, [], "nowhere")


def test_overrides_that_all_jobs_share_are_part_of_the_hash() -> None:
    first, second = (job_name(["seed=1", f"task={task}"], ["task"], "nowhere") for task in "xy")
    assert first != second


def test_a_job_that_has_begun_keeps_its_name(tmp_path: Path) -> None:
    overrides = ["seed=1", "optimizer.lr=0.1"]
    name = job_name(overrides, ["seed"], tmp_path)
    (tmp_path / name).mkdir()
    assert name.startswith("lr_0.1-")
    assert job_name(overrides, [], tmp_path) == name
    assert job_name(["seed=2", "optimizer.lr=0.1"], [], tmp_path).startswith("lr_0.1-seed_2-")


def test_values_are_shown_as_hydra_reads_them_and_numbers_with_six_digits() -> None:
    values = (0.1, 1e-5, 0.123456789, 123456789, [0.5], None, True, float("nan"), "a b", "")
    assert [shown(spelt(value)) for value in values] == [
        "0.1",
        "1e-05",
        "0.123457",
        "123456789",
        "[0.5]",
        "null",
        "true",
        "nan",
        "a b",
        '""',
    ]
