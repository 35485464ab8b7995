"""Checks the rows and how our side is measured: runs, steps, commands and a big file, all of them tiny."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import training_cases
from benchmarks.big_file import BigFile, write_names
from benchmarks.cases import cases
from benchmarks.commands import first_step, peak_memory, python
from benchmarks.loading import load_seconds
from benchmarks.measure import measure
from benchmarks.runs import later_steps, run, unseen_terminal, whole_run
from benchmarks.setting import FULL, QUICK, Setting, new_setting, reductions
from benchmarks.step_clock import Tick, after_first_block, clock_overrides, first_block, read_ticks
from benchmarks.vectorized_cases import member_steps
from makemore.errors import UserError

TINY = replace(
    QUICK,
    repeats=1,
    command_repeats=1,
    steps=20,
    stock_steps=10,
    bigram_steps=1,
    members=4,
    member_steps=20,
    names=10,
    names_of_lines=10,
    trained=1,
    line_steps=1,
    lines=50,
    compiled=False,
)
RUN = ("model=mlp", "trainer.max_steps=30", "steps_per_execution=10", "data.max_lines=100")


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(TINY, tmp_path_factory.mktemp("setting"))


def test_the_rows_have_names_of_their_own_and_targets(setting: Setting, tmp_path: Path) -> None:
    rows = cases(Setting(FULL, tmp_path))
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    targets = {row.name: row.at_most for row in rows}
    assert targets == {
        "mlp": 1.0,
        "mlp-adamw": 1.0,
        "mlp-stock": 0.2,
        "mlp-watched": 1.05,
        "bigram": 0.01,
        "bigram-run": None,
        "windows": 0.03,
        "corpus": None,
        "nll": 0.02,
        "nll-counting": None,
        "sampling": 0.05,
        "gru-step": 0.6,
        "gru-nll": 0.3,
        "lstm-step": 0.6,
        "lstm-nll": 0.3,
        "transformer-step": 0.6,
        "transformer-nll": 0.3,
        "gru-sampling": 0.2,
        "gru-sampling-batch": None,
        "transformer-sampling": 0.2,
        "transformer-sampling-batch": None,
        "kneser-ney": 2,
        "vectorized": 0.3,
        "vectorized-command": 0.2,
        "vectorized-command-stock": 0.06,
        "vectorized-halving": None,
        "command-help": 0.5,
        "command-first-step": 1.5,
        "file-first-load": 60,
        "file-second-load": 3,
        "file-memory": 1.5,
        "xla": 0.25,
        "xla-step": 0.15,
        "xla-step-jax": 1.3,
        "xla-large": 0.45,
        "xla-cold": 4.0,
        "xla-cached": None,
        "vectorized-xla": 0.11,
        "vectorized-xla-jax": 1.3,
        "vectorized-xla-command": 0.1,
        "vectorized-xla-command-stock": 0.012,
        "auto-bigram": 1.02,
        "auto-bow": 1.02,
        "auto-mlp": 1.02,
        "auto-wavenet": 1.02,
        "auto-gru": 1.02,
        "auto-lstm": 1.02,
        "auto-rnn": 1.02,
        "auto-transformer": 1.02,
        "compiled": 0.35,
        "compiled-adamw": 0.35,
        "compiled-cold": None,
        "compiled-cached": None,
        "vectorized-compiled": 0.2,
    }
    # a smaller file has no targets
    assert [row.at_most for row in cases(setting, "file-")] == [None] * 3
    # nor has a smaller group
    assert [row.at_most for row in cases(setting, "vectorized")] == [None] * 4


def test_only_takes_parts_of_names_and_stars(setting: Setting) -> None:
    assert [row.name for row in cases(setting, "nll-")] == ["nll-counting"]
    assert [row.name for row in cases(setting, "gru-s")] == ["gru-step", "gru-sampling", "gru-sampling-batch"]
    assert [row.name for row in cases(setting, "mlp*stock")] == ["mlp-stock"]
    with pytest.raises(UserError, match="there is no row nonsense; there are mlp, mlp-adamw"):
        cases(setting, "nonsense")


def test_what_is_reduced_is_said() -> None:
    assert reductions(FULL) == []
    assert len(reductions(QUICK)) == 14
    assert "200,000 in place of 10,000,000 lines" in " ".join(reductions(QUICK))


@pytest.mark.full
@pytest.mark.parametrize(
    "name",
    [
        *("mlp", "bigram", "corpus", "nll-counting", "lstm"),
        # a quarter of a minute each
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("sampling", "vectorized*stock")),
    ],
)
def test_every_row_gives_two_times(setting: Setting, name: str) -> None:
    for case in cases(setting, name):
        row = measure(case)
        assert row.baseline is not None
        assert min(row.ours + row.baseline) > 0


@pytest.mark.full
def test_the_lessons_and_we_are_given_the_same(setting: Setting) -> None:
    contexts, targets = setting.examples
    assert len(contexts) == len(targets) == setting.counted.total
    assert setting.content.splitlines() == setting.words
    assert len(setting.pairs[0]) == len(targets)


def test_the_progress_bar_and_the_log_are_drawn_but_not_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(RUN, tmp_path)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
    assert list(tmp_path.glob("events.out.tfevents*"))
    assert list(tmp_path.glob("checkpoints/*.ckpt"))
    with unseen_terminal():
        from makemore.system.console import MESSAGES

        assert MESSAGES.is_terminal


def test_the_step_clock_notes_each_block(tmp_path: Path) -> None:
    run([*RUN, *clock_overrides(tmp_path / "ticks.json")], tmp_path)
    ticks = read_ticks(tmp_path / "ticks.json")
    assert [step for step, _ in ticks] == [0, 10, 20, 30]
    assert [time for _, time in ticks] == sorted(time for _, time in ticks)


def test_the_first_block_is_apart_from_the_later_steps() -> None:
    ticks = [(0, 100.0), (10, 140.0), (20, 141.0), (25, 141.5)]
    assert first_block(ticks) == 40.0
    assert after_first_block(ticks, ended=143.0) == pytest.approx(0.2)


def test_compiling_is_timed_with_an_empty_cache_and_with_a_filled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def ticks_of(overrides: list[str], environment: dict[str, str]) -> tuple[float, list[Tick]]:
        assert {"experiment=lessons/mlp", "compile=true"} <= set(overrides)
        cache = environment["TORCHINDUCTOR_CACHE_DIR"]
        seen.append(cache)
        return 0.0, [(0, 5.0), (100, 5.0 + (1 if cache in seen[:-1] else 40))]

    monkeypatch.setattr(training_cases, "ticks_of", ticks_of)
    cold, cached = cases(Setting(FULL, tmp_path), "compiled-c")
    assert measure(cold).ours == [40]
    assert measure(cached).ours == [1, 1, 1]
    assert len(set(seen)) == 2


@pytest.mark.full
def test_runs_and_steps_take_time() -> None:
    assert whole_run(RUN)() > 0
    assert later_steps(RUN)() > 0
    assert member_steps(["experiment=lessons/mlp", *RUN], 5)() > 0


@pytest.mark.full
def test_a_command_is_timed_until_its_first_step() -> None:
    assert first_step("model.hidden_dim=8", "data.max_lines=100")() > 0


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"ended with 1: (.|\n)*ZeroDivisionError"):
        python(["-c", "1 / 0"])


@pytest.mark.full
def test_the_memory_is_that_of_the_command_and_not_of_this_process() -> None:
    held = bytearray(300_000_000)
    assert peak_memory(["-c", "pass"]) < 0.1
    assert 0.2 < peak_memory(["-c", "'x' * 200_000_000 == input"]) < 0.7
    assert len(held) == 300_000_000


def test_names_are_written_until_there_are_enough(tmp_path: Path) -> None:
    write_names(tmp_path / "names.txt", iter(["ann", "", "bob", "eve", "dan"]), 3)
    assert (tmp_path / "names.txt").read_text() == "ann\nbob\neve\n"


@pytest.mark.full
def test_a_big_file_is_loaded_twice_with_one_cache(setting: Setting) -> None:
    big = BigFile(setting)
    assert len(big.path.read_text().splitlines()) == 50
    assert big.first_load() > 0
    assert big.second_load() > 0
    assert load_seconds(str(big.path)) > 0


def test_a_setting_leaves_nothing_behind() -> None:
    with new_setting(quick=True, lines=7) as setting:
        assert setting.sizes == replace(QUICK, lines=7)
        assert setting.directory.is_dir()
    assert not setting.directory.exists()
