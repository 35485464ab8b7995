"""Trials of kills: whatever moment a process is killed at, the run goes on to the end that it would have had."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trials import ending, forked, in_parallel, resume, run, run_in, signal_at_step, start, train

from makemore.checkpoints import RECORD_KEY, checkpoints_of, directory_of, find_newest, read, step_of
from makemore.runs.saving import AtomicCheckpointIO, Checkpoints
from makemore.system.files import clear_temporaries

OFTEN = ("log_every=7", "val_every=101", "checkpoint_every=37", "steps_per_execution=50", "data.max_lines=1000")
SHORT = (
    *("trainer.max_steps=12", "val_every=5", "log_every=2", "checkpoint_every=4", "model=mlp", "model.hidden_dim=8"),
    *("data.max_lines=1000", "num_samples=3"),
)
# all that a step may have
STEP = (
    *("optimizer.clip_norm=0.5", "optimizer.decay_vectors=false", "optimizer.ema_decay=0.99"),
    *("scheduler=cosine", "scheduler.warmup=0.25"),
)
SMALL_LINES = ("data.batch_size=8", "model.embedding_dim=8", "model.dropout=0.2", *STEP)
OVER_LINES = {
    "transformer": ("model=transformer", "model.num_layers=1", *SMALL_LINES),
    **{name: (f"model={name}", "model.hidden_dim=8", *SMALL_LINES) for name in ("rnn", "gru", "lstm", "bow")},
}
MODELS = {
    "ngram": ("model=ngram", "model.order=4"),
    "kneser_ney": ("model=kneser_ney",),
    "bigram": ("model=bigram", "optimizer=sgd", "optimizer.lr=1"),
    "mlp, SGD": ("model=mlp", "model.hidden_dim=16", "optimizer=sgd"),
    "mlp, AdamW": ("model=mlp", "model.hidden_dim=16", "scheduler.milestones=[200,900]"),
    "mlp, compiled": ("model=mlp", "model.hidden_dim=16", "compile=true"),
    "mlp, xla": ("model=mlp", "model.hidden_dim=16", "compile=xla"),
    "mlp, batch norm": ("model=mlp", "model.hidden_dim=16", "model.batch_norm=true", *STEP),
    "wavenet": ("model=wavenet", "model.hidden_dim=8", "model.embedding_dim=4", *STEP),
    **OVER_LINES,
}
# seconds after the start of a process, or of its training, that it is killed at the latest; compiling takes some
LONGEST = {"ngram": 0.1, "kneser_ney": 0.1, "mlp, compiled": 6.0, "mlp, xla": 3.0}


def killed_again_and_again(cwd: Path, model: str, arguments: tuple[str, ...], kills: int) -> Counter[str]:
    """Kill a run that often, each time at a random moment, let it end, and return where the kills have hit."""
    moments = random.Random(model)
    hits: Counter[str] = Counter()
    run_dir = None
    while sum(hits.values()) < kills:
        child = start("train", *(arguments if run_dir is None else (f"resume={run_dir}",)), cwd=cwd)
        if moments.random() < 0.8:
            # the last line before the first step
            child.wait_for("examples:")
        time.sleep(moments.uniform(0, LONGEST.get(model, 0.6)))
        child.send(signal.SIGKILL)
        outcome = child.wait()
        assert outcome.code in (-9, 0), outcome.err
        made = [path.parent.parent for path in cwd.glob("logs/train/runs/*/.hydra/overrides.yaml")]
        run_dir = max(made) if made else None
        ended = run_dir is not None and (run_dir / "metrics.json").exists()
        hits["after" if ended else "inside" if "examples:" in outcome.err else "before"] += 1
    if run_dir is None:
        run_dir = train(cwd, *arguments)
    assert resume(run_dir).code == 0
    return hits


def check_kills(models: list[str], kills: int, tmp_path: Path) -> None:
    """Check that each model ends as if nothing had been."""

    def trial(model: str) -> None:
        # a step over lines takes longer
        steps = kills * (100 if model in OVER_LINES else 400)
        arguments = (*OFTEN, *MODELS[model], f"trainer.max_steps={steps}")
        began = time.perf_counter()
        cwd = tmp_path / str(list(MODELS).index(model))
        hits = killed_again_and_again(cwd / "killed", model, arguments, kills)
        print(f"{model}: {steps} steps, {dict(hits)}, {time.perf_counter() - began:.0f} s")
        (run_dir,) = (path.parent for path in (cwd / "killed").glob("logs/train/runs/*/metrics.json"))
        assert ending(run_dir) == ending(train(cwd / "whole", *arguments)), model
        assert not list(run_dir.rglob("*.tmp"))

    in_parallel(trial, models)


@pytest.mark.full
def test_a_run_that_is_killed_ends_as_one_that_is_not(tmp_path: Path) -> None:
    check_kills(["mlp, AdamW", "mlp, xla", "gru"], 2, tmp_path)


@pytest.mark.slow
def test_each_model_that_is_killed_twenty_times_ends_as_one_that_is_not(tmp_path: Path) -> None:
    check_kills(list(MODELS), 20, tmp_path)


def save_again_and_again(run_dir: Path, step: int, temporaries: str) -> None:
    """Save checkpoints of 4 MB, one after another."""
    os.environ["TMPDIR"] = temporaries
    callback = Checkpoints(every=1)
    module: Any = torch.nn.Linear(1, 1)
    trainer: Any = SimpleNamespace(default_root_dir=run_dir, lightning_module=module)
    while True:
        step += 1
        content = {RECORD_KEY: {"format_version": 2, "step": step}, "state_dict": torch.full((2**20,), float(step))}
        trainer.global_step = step
        trainer.save_checkpoint = lambda path, content=content: AtomicCheckpointIO().save_checkpoint(content, path)
        callback.on_train_end(trainer, module)


@pytest.mark.full
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs another file system, /dev/shm")
@pytest.mark.parametrize("kills", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_kills_while_checkpoints_are_saved_tear_none(kills: int, tmp_path: Path) -> None:
    # what is made on another file system could not be renamed to where it belongs
    temporaries = "/dev/shm"
    moments = random.Random(0)

    def trial(run_dir: Path) -> int:
        newest, hits = 0, 0
        for _ in range(kills // 2):
            before = len(checkpoints_of(run_dir))
            process = forked(save_again_and_again, run_dir, newest, temporaries)
            deadline = time.monotonic() + 60
            while not [path for path in checkpoints_of(run_dir) if step_of(path) > newest]:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.06))
            process.kill()
            process.join()
            found = find_newest(run_dir)
            assert found is not None
            assert step_of(found) > newest
            newest = step_of(found)
            for path in checkpoints_of(run_dir):
                content = read(path)
                assert content[RECORD_KEY]["step"] == step_of(path)
                assert torch.equal(content["state_dict"], torch.full((2**20,), float(step_of(path))))
            # the last two; where a kill came before old ones were deleted, one more than at the start
            assert 1 <= len(checkpoints_of(run_dir)) <= max(before, 2) + 1
            hits += bool(list(directory_of(run_dir).glob(".*.tmp")))
            clear_temporaries(directory_of(run_dir))
            assert set(directory_of(run_dir).iterdir()) == set(checkpoints_of(run_dir))
        return hits

    hits = in_parallel(trial, [tmp_path / "a", tmp_path / "b"])
    print(f"{sum(hits)} of {kills} kills hit inside a save")
    assert sum(hits) > 0


def flip_a_byte(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    return train(tmp_path_factory.mktemp("whole") / "cwd", *SHORT)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same one, stopped at step 10."""
    cwd = tmp_path_factory.mktemp("stopped") / "cwd"
    assert run("train", *SHORT, cwd=cwd, prepare=signal_at_step(10)).code == 143
    return run_in(cwd)


def copied(run_dir: Path, cwd: Path) -> Path:
    """Return a copy of a run, below another working directory."""
    return Path(shutil.copytree(run_dir, cwd / run_dir.relative_to(run_dir.parents[3])))


@pytest.mark.full
@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-1000], flip_a_byte, lambda content: bytes(len(content)), lambda content: b""],
    ids=["truncated", "a byte flipped", "zeroed", "empty"],
)
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(
    damage: Callable[[bytes], bytes], stopped: Path, whole: Path, command: Any, tmp_path: Path
) -> None:
    run_dir = copied(stopped, tmp_path)
    newest = directory_of(run_dir) / "step-00000010.ckpt"
    newest.write_bytes(damage(newest.read_bytes()))
    (directory_of(run_dir) / "best-step-00000010.ckpt").unlink(missing_ok=True)
    for script in ("evaluate", "sample"):
        outcome = command(script, f"ckpt_path={run_dir}")
        assert outcome.code == 0
        assert [line for line in outcome.err.splitlines() if f"{newest}: is damaged" in line], outcome.err
    outcome = resume(run_dir)
    assert outcome.code == 0, outcome.err
    assert outcome.err.count(f"{newest}: is damaged") == 1
    assert "resuming from step 8" in outcome.err
    assert newest.with_name(f"{newest.name}.damaged").exists()
    assert ending(run_dir) == ending(whole)


@pytest.mark.full
def test_where_no_checkpoint_is_whole_the_run_begins_anew(whole: Path, tmp_path: Path) -> None:
    run_dir = copied(whole, tmp_path)
    for path in directory_of(run_dir).iterdir():
        path.write_bytes(b"")
    assert "training begins at step 0" in resume(run_dir).err
    assert ending(run_dir) == ending(whole)
