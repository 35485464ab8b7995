"""Checks scripts/evaluate.py, score.py and sample.py: they need a checkpoint's path and nothing else."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trials import SHORT

import makemore
from makemore.data.text import read_text
from makemore.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
Command = Callable[..., Any]


def test_evaluate_gives_what_training_ended_with(trained: Path, process: Command, tmp_path: Path) -> None:
    outcome = process("evaluate", f"ckpt_path={trained}", "output=metrics.json")
    assert outcome.code == 0
    assert outcome.err == ""
    evaluated = json.loads((tmp_path / "metrics.json").read_text())
    ended = json.loads((trained / "metrics.json").read_text())
    for split in ("train", "val", "test"):
        assert evaluated[f"{split}/nll"] == pytest.approx(ended[f"{split}/nll"], abs=1e-6)
        assert f"{ended[f'{split}/nll']:.7f}" in outcome.out
    assert evaluated["text_changed"] is False
    assert list(tmp_path.iterdir()) == [tmp_path / "metrics.json"]


@pytest.mark.full
def test_evaluate_warns_of_nothing_in_a_process_of_its_own(
    trained: Path, new_process: Command, tmp_path: Path
) -> None:
    outcome = new_process("evaluate", f"ckpt_path={trained}")
    assert (outcome.code, outcome.err) == (0, "")


def test_evaluate_says_that_the_text_has_changed(command: Command, tmp_path: Path) -> None:
    text = tmp_path / "names.txt"
    shutil.copy(ROOT / "data" / "names.txt", text)
    small = ("model=ngram", "model.fake_count=1", "data.max_lines=1000")
    assert command("train", *small, "data=text", "data.path=names.txt").code == 0
    (run_dir,) = (tmp_path / "logs" / "train" / "runs").iterdir()
    assert "changed" not in command("evaluate", f"ckpt_path={run_dir}").err
    text.write_text(text.read_text() + "zzyzx\n")
    outcome = command("evaluate", f"ckpt_path={run_dir}")
    assert outcome.code == 0
    assert f"warning: {text} has changed since training" in outcome.err
    text.unlink()
    assert str(text) in command("evaluate", f"ckpt_path={run_dir}").error


def test_evaluate_takes_another_text_as_one(trained: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("emma\nava\n")
    outcome = command("evaluate", f"ckpt_path={trained}", "data.path=words.txt", "output=out.json")
    assert outcome.code == 0
    expected = makemore.load(trained).nll(["emma", "ava"])
    nll = json.loads((tmp_path / "out.json").read_text())["text/nll"]
    assert nll == pytest.approx((5 * expected[0] + 4 * expected[1]) / 9, abs=1e-6)
    (tmp_path / "words.txt").write_text("emma\nÉve\n")
    assert "the character 'É' in 'Éve'" in command("evaluate", f"ckpt_path={trained}", "data.path=words.txt").error


def test_score_reads_words_from_the_command_line_a_file_and_standard_input(trained: Path, process: Command) -> None:
    outcome = process("score", f"ckpt_path={trained}", "words=[emma]", "words_file=-", stdin="ava\n\nmia\r\n")
    assert outcome.code == 0
    for word, nll in zip(("emma", "ava", "mia"), makemore.load(trained).nll(["emma", "ava", "mia"]), strict=True):
        (row,) = (line for line in outcome.out.splitlines() if line.startswith(f"{word} "))
        assert row.split()[-1] == f"{nll:.4f}"


def test_score_shows_each_character(trained: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("bo\n")
    lines = command("score", f"ckpt_path={trained}", "words_file=words.txt").out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["bo", "b", "o", "."]
    total = sum(float(line.split()[2]) for line in lines[1:4])
    assert -total / 3 == pytest.approx(makemore.load(trained).nll(["bo"])[0], abs=1e-4)


def test_sample_prints_names_and_nothing_else(trained: Path, process: Command, tmp_path: Path) -> None:
    outcome = process("sample", f"ckpt_path={trained}", "num_samples=100", "seed=3")
    assert outcome.code == 0
    assert outcome.err == ""
    assert outcome.out.splitlines() == makemore.load(trained).sample(100, seed=3)
    assert list(tmp_path.iterdir()) == []


def test_the_first_ten_of_a_hundred_names_are_the_ten(trained: Path, command: Command) -> None:
    ten = command("sample", f"ckpt_path={trained}", "num_samples=10", "seed=3").out.splitlines()
    assert len(ten) == 10
    assert command("sample", f"ckpt_path={trained}", "num_samples=100", "seed=3").out.splitlines()[:10] == ten
    assert command("sample", f"ckpt_path={trained}", "num_samples=10", "seed=4").out.splitlines() != ten


def test_sample_takes_a_prompt_a_length_and_unseen(trained: Path, command: Command) -> None:
    options = ("num_samples=30", "prompt=an", "max_length=6", "unseen=true", "temperature=0.7", "top_k=9")
    names = command("sample", f"ckpt_path={trained}", *options).out.splitlines()
    assert len(names) == 30
    assert all(name.startswith("an") and len(name) <= 6 for name in names)
    assert not set(names) & set(read_text(ROOT / "data" / "names.txt").lines())


def test_unseen_names_that_do_not_come_up_are_an_error_after_those_that_did(trained: Path, command: Command) -> None:
    options = ("unseen=true", "num_samples=50", "max_attempts=20")
    outcome = command("sample", f"ckpt_path={trained}", *options)
    found = len(outcome.out.splitlines())
    assert 0 < found < 20
    assert f"only {found} of 50" in outcome.error


@pytest.mark.full
def test_sample_ends_quietly_when_its_reader_has_had_enough(trained: Path, tmp_path: Path) -> None:
    line = [sys.executable, str(ROOT / "scripts" / "sample.py"), f"ckpt_path={trained}", "num_samples=1000000"]
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sampling:
        assert sampling.stdout is not None
        assert sampling.stderr is not None
        first = sampling.stdout.readline().strip()
        sampling.stdout.close()
        assert sampling.stderr.read() == ""
    assert [first] == makemore.load(trained).sample(1)


def test_unseen_warns_that_the_text_has_changed(command: Command, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("ab\nba\naab\n")
    one_file = ("data=text", "data.path=words.txt", "data.splits=[1,0,0]")
    assert command("train", "model=ngram", *one_file).code == 0
    (run_dir,) = (tmp_path / "logs" / "train" / "runs").iterdir()
    (tmp_path / "words.txt").write_text("ab\n")
    outcome = command("sample", f"ckpt_path={run_dir}", "unseen=true", "num_samples=5")
    assert outcome.err.startswith("warning: ")
    assert "ab" not in outcome.out.splitlines()
    assert command("sample", f"ckpt_path={run_dir}", "num_samples=5").err == ""


def test_a_directory_of_checkpoints_is_its_newest(trained: Path, command: Command) -> None:
    names = command("sample", f"ckpt_path={trained}/checkpoints").out.splitlines()
    assert names == makemore.load(trained).sample(10)


@pytest.mark.parametrize("script", ["evaluate", "score", "sample"])
def test_every_command_takes_latest_a_pattern_and_the_best(
    script: str, command: Command, trained: Path, tmp_path: Path
) -> None:
    words = ["words=[emma]"] if script == "score" else []
    (best,) = (trained / "checkpoints").glob("best-*.ckpt")
    of_best = command(script, f"ckpt_path={best}", *words)
    assert command(script, f"ckpt_path={trained}", "which=best", *words) == of_best
    # as a shell hands it on where nothing is named so
    assert command(script, f"ckpt_path={trained}/checkpoints/best-step-*.ckpt", *words) == of_best
    shutil.copytree(trained, tmp_path / "logs" / "train" / "runs" / "mine")
    assert command(script, "ckpt_path=latest", "which=best", *words) == of_best


def test_training_ends_with_commands_for_the_run_and_for_its_best(command: Command, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("ada\nbob\neve\nann\nmia\nzoe\nmax\nleo\nida\nkim\n")
    arguments = ["data=text", "data.path=names.txt", *SHORT, "trainer.max_steps=400", "optimizer.lr=0.1"]
    lines = command("train", *arguments, "hydra.run.dir=r").out.splitlines()
    assert lines[-4:] == [
        f"  python scripts/report.py {tmp_path / 'r'}",
        f"  python scripts/sample.py ckpt_path={tmp_path / 'r'}",
        f"  python scripts/sample.py ckpt_path={tmp_path / 'r'} which=last # the final weights",
        f"  python scripts/sample.py ckpt_path={tmp_path / 'r' / 'mixture'} # the mixture",
    ]
    found = [command("sample", *line.partition("#")[0].split()[2:]) for line in lines[-3:]]
    assert [each.code for each in found] == [0, 0, 0]
    assert len({each.out for each in found}) == 3
    assert "which must be one of null, last, best" in command("sample", "ckpt_path=r", "which=first").error


def test_a_word_alone_is_no_list_of_words(trained: Path) -> None:
    with pytest.raises(UserError, match="must be a list"):
        makemore.load(trained).nll("emma")
