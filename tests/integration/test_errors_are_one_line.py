"""Checks that wrong input ends in one line and exit code 2, without traceback and without a run directory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

Command = Callable[..., Any]

FILES = {
    "empty.txt": b"",
    "blank.txt": b"\n \n\t\n",
    "binary.txt": bytes(range(128, 256)),
    "latin1.txt": "anna\nren\u00e9e\n".encode("latin-1"),
    "nul.txt": b"anna\nbo\0b\n",
    "two.txt": b"anna\nbob\n",
}

# of each kind of error some cases; the others, of --full, end in the same places
TRAIN = [
    ("data=text data.path=nowhere.txt", "nowhere.txt: no such file"),
    ("data=text data.path=empty.txt", "empty.txt: has no text"),
    ("data=text data.path=latin1.txt", "latin1.txt: line 2, byte 4 is not UTF-8 (0xe9)"),
    ("data=text data.path=.", "is a directory"),
    ("data=text", "data.path must be given"),
    ("data=text data.path=two.txt", "the validation split would be empty"),
    ("data.splits=[0.7,0.1,0.1]", "data.splits must sum to 1, not 0.9"),
    ("data.by=word", "data.by must be one of line, shuffle, randperm, example"),
    ("data.batch_size=0", "data.batch_size must be at least 1"),
    ("optimizer.lr=-1", "optimizer.lr must be at least 0, not -1"),
    ("optimizer.lr=fast", "optimizer.lr must be a finite number, not 'fast'"),
    ("optimizer.weight_decay=-1", "optimizer: Invalid weight_decay value: -1"),
    ("optimizer.lrr=1", "there is no key optimizer.lrr; did you mean optimizer.lr?"),
    ("modl.l2=1", "there is no key modl; did you mean model?"),
    ("+model.depth=2", "model mlp takes no depth"),
    ("model=gpt", "Could not find 'model/gpt'; there are bigram, bow, gru, kneser_ney, lstm, mlp, ngram, rnn"),
    ("scheduler.milestones=[9,3]", "scheduler.milestones must ascend"),
    ("trainer.accelerator=warp", "trainer: You selected an invalid accelerator"),
    ("compile=maybe", "compile must be true, false, xla or auto, not 'maybe'"),
    ("callbacks=early_stopping data.splits=[1,0,0]", "needs a validation split"),
    ("data.path=a[", "Hydra cannot read data.path=a["),
    ("data=text data.path=2024", "data.path: 2024 is not text to Hydra"),
    ("model.hidden_dim=1000000000000", "model: "),
    ("model.num_layers=0", "model.num_layers must be at least 1"),
    ("model.init=xavier", "model.init must be one of scaled, normal"),
    ("model.batch_norm=true model.momentum=2", "model.momentum must be at most 1"),
    ("model=wavenet model.block_size=6", "model.block_size must be a power of two"),
    ("model=transformer model.num_heads=3", "model.num_heads=3 does not divide model.embedding_dim=64"),
    ("model=gru model.dropout=1", "model.dropout must be below 1, not 1"),
    ("model=gru model.dropout=some", "model.dropout must be a finite number, not 'some'"),
    ("optimizer.clip_norm=0", "optimizer.clip_norm must be above 0, not 0"),
    ("lr=0.1", "there is no key lr; did you mean optimizer.lr?"),
    ("epochs=3", "there is no key epochs; did you mean trainer.max_steps?"),
    ("model.batch_size=32", "there is no key model.batch_size; did you mean data.batch_size?"),
    ("--lr 0.1", "there is no option --lr; a value is set by its key, without dashes: optimizer.lr=0.1"),
    ("data=two.txt", "Could not find 'data/two.txt'; a text of your own is data=text data.path=two.txt"),
    ("experiment=counts", "did you mean experiment=lessons/counts? There are lessons/bigram, lessons/bigram_long,"),
    ("name=a/b", "name=a/b: is not the name of one directory"),
    ("model=mixture", "Could not find 'model/mixture'"),
    ("model._target_=makemore.models.mlp.MLP", "model._target_ must be a language model"),
    ("optimizer._target_=torch.optim.Nothing", "optimizer: "),
    ("+callbacks.mine._target_=nowhere.Thing", "callbacks: "),
    ("+logger.mine._target_=lightning.pytorch.Trainer", "logger.mine._target_ must be a logger of Lightning"),
    (
        "+logger.mine._target_=lightning.pytorch.loggers.CSVLogger +logger.mine.depth=1",
        "logger.mine: got an unexpected",
    ),
    (
        "+logger.mine._target_=lightning.pytorch.loggers.WandbLogger +logger.mine.log_model=all",
        "logger.mine.log_model must be false; checkpoints stay in the directory of the run",
    ),
    ("~model", "Missing key model"),
    ("model=null", "a group takes the name of one of its files"),
    ("hydra.run.dir=two.txt", "two.txt: cannot be written: Not a directory; mend that or choose another"),
    ("data", "data is not KEY=VALUE"),
    ("+trainer.gradient_clip_val=1", "trainer.gradient_clip_val must be null, not 1; optimizer.clip_norm is"),
    (
        "+callbacks.x._target_=lightning.pytorch.callbacks.Timer",
        "callbacks.x._target_=lightning.pytorch.callbacks.Timer",
    ),
    ("scheduler._target_=torch.optim.lr_scheduler.CosineAnnealingLR", "use scheduler=cosine"),
    ("optimizer._target_=torch.optim.LBFGS", "use optimizer=adamw"),
]
TRAIN_ALIKE = [
    ("data=text data.path=blank.txt", "blank.txt: has no text"),
    ("data=text data.path=binary.txt", "binary.txt: line 1, byte 1 is not UTF-8 (0x80)"),
    ("data=text data.path=nul.txt", "nul.txt: line 2 has the control character U+0000"),
    ("data.splits=[0,0.5,0.5]", "its first ratio is 0"),
    ("data.splits=[2,-0.5,-0.5]", "data.splits must be three ratios"),
    ("data.draw=none", "data.draw must be one of"),
    ("data.boundary=both", "data.boundary must be one of"),
    ("model.hidden_dim=0", "model.hidden_dim must be at least 1"),
    ("model.init=zeros", "model.init must be one of scaled, normal"),
    ("model.l2=-1", "model.l2 must be at least 0"),
    ("model=ngram model.order=40", "the most is 13"),
    ("model=kneser_ney model.order=0", "model.order must be at least 1"),
    ("model=transformer model.positions=sinus", "model.positions must be one of learned, rotary, not 'sinus'"),
    ("model=transformer model.tied=no", "model.tied must be true or false, not 'no'"),
    ("model=lstm model.num_layers=0", "model.num_layers must be at least 1, not 0"),
    ("model=rnn model.hidden_dim=x", "model.hidden_dim must be a whole number, not 'x'"),
    ("model=bow model.block_size=0", "model.block_size must be at least 1, not 0"),
    ("model.architecture=mixture", "model mixture takes no batch_norm, block_size"),
    ("optimizer.ema_decay=1", "optimizer.ema_decay must be below 1, not 1"),
    ("optimizer.decay_vectors=no", "optimizer.decay_vectors must be true or false, not 'no'"),
    ("mixture=maybe", "mixture must be true or false, not 'maybe'"),
    ("scheduler=cosine scheduler.warmup=1", "scheduler.warmup must be below 1, not 1"),
    ("scheduler=cosine scheduler.final=-1", "scheduler.final must be at least 0, not -1"),
    ("scheduler=cosine scheduler.total_steps=0", "scheduler.total_steps must be at least 1, not 0"),
    ("scheduler.gamma=-1", "scheduler.gamma must be at least 0"),
    ("trainer.max_steps=0", "trainer.max_steps must be at least 1"),
    ("seed=-1", "seed must be at least 0"),
    ("seed=null", "seed must be a whole number"),
    ("threads=0", "threads must be at least 1"),
    ("num_samples=-1", "num_samples must be at least 0"),
    ("val_every=0", "val_every must be at least 1"),
    ("log_every=0", "log_every must be at least 1"),
    ("steps_per_execution=0", "steps_per_execution must be at least 1"),
    (
        "compile=true optimizer=sgd optimizer.momentum=0.9 +optimizer.dampening=0.5",
        "compile=true takes SGD without dampening, Adam or AdamW, not this SGD",
    ),
    ("data.splits=0.8", "data.splits must be three ratios"),
    ("data.splits=null", "data.splits must be three ratios"),
    ("max_steps=3", "there is no key max_steps; did you mean trainer.max_steps?"),
    ("batch_size=3", "there is no key batch_size; did you mean data.batch_size?"),
    ("--seed=3 model=mlp", "there is no option --seed; a value is set by its key, without dashes: seed=3"),
    ("seed=1 -m optimizer.lr=0.1,1", "optimizer.lr=0.1,1 stands after an option that follows other keys;"),
    ("--nonsense", "there is no option --nonsense; a value is set by its key, without dashes: KEY=VALUE"),
    ("name=..", "name=..: is not the name of one directory"),
    ("name=", "name=: is not the name of one directory"),
    ("+lr=0.1", "+lr=0.1: nothing refers to lr; did you mean optimizer.lr?"),
    ("+epochs=3", "+epochs=3: nothing refers to epochs; did you mean trainer.max_steps?"),
    ("+learning_rate=3", "+learning_rate=3: nothing refers to learning_rate; did you mean optimizer.lr?"),
    ("++width=3", "++width=3: nothing refers to width; a value may, as in 'model.block_size=${width}'"),
    ("model=lstm +max_steps=3", "+max_steps=3: nothing refers to max_steps; did you mean trainer.max_steps?"),
    ("experiment=nothing", "Could not find 'experiment/nothing'"),
    ("data.batch_size=100000000000", "data.batch_size must be at most"),
    ("scheduler=[1]", "a group takes the name of one of its files"),
    (
        "callbacks=early_stopping callbacks.early_stopping.monitor=loss",
        "monitor must be one of val/nll, not 'loss'",
    ),
    (
        "callbacks=early_stopping callbacks.early_stopping.min_delta=x",
        "min_delta must be a finite number",
    ),
    ("callbacks=early_stopping callbacks.early_stopping.patience=x", "patience must be a whole number, not 'x'"),
    ("optimizer.betas=[0.9]", "optimizer: list index out of range"),
    ("+optimizer.amsgrad=x", "optimizer: "),
    ("+optimizer.capturable=true optimizer.fused=false", "optimizer: If capturable=True"),
    (
        "optimizer._target_=torch.optim.RMSprop",
        "got an unexpected keyword argument 'betas'; a key is taken out by ~optimizer.KEY",
    ),
    ("hydra.run.dir=two.txt/run", "two.txt/run: cannot be written: Not a directory"),
    ("optimizer._partial_=1", "optimizer: Instantiation: _partial_ flag must be a bool"),
    ("~data.path", "data.path must be given"),
    ("data=text data.path=two.txt +data.sha256=1", "data.sha256: 1 is not text to Hydra"),
    ("data.splits=[1" + "0" * 400 + ",0,0]", "data.splits must be three ratios"),
    ("data._target_=builtins.dict", "data._target_ must be makemore.data.datamodule.TextDataModule"),
    ("~model.architecture", "model: "),
    ("scheduler=constant scheduler._target_=os.getcwd", "scheduler._target_ must make a function of the step"),
    ("trainer._target_=builtins.dict", "trainer._target_ must be lightning.pytorch.Trainer"),
    ("+trainer.precision=64", "trainer.precision must be null, 32, 32-true or bf16-mixed, not 64"),
    ("+callbacks.mine.patience=1", "callbacks: each must be a callback of Lightning"),
    ("+logger.csv.depth=1", "logger.csv: got an unexpected keyword argument 'depth'"),
    ("logger.csv=3", "logger.csv must be a logger with its _target_, not 3"),
]
CHECKPOINT = [
    ("evaluate", "", "ckpt_path must be given"),
    ("evaluate", "ckpt_path=nowhere.ckpt", "nowhere.ckpt: no such checkpoint"),
    ("evaluate", "ckpt_path=truncated.ckpt", "truncated.ckpt: is damaged (or not a checkpoint at all)"),
    ("evaluate", "ckpt_path={trained} output=no/such/directory.json", "cannot be written"),
    ("evaluate", "ckpt_path={trained} data.path=nowhere.txt", "nowhere.txt: no such file"),
    (
        "sample",
        "ckpt_path={trained} prompt='\u00c9'",
        "the character '\u00c9' in '\u00c9' is not in the vocabulary",
    ),
    ("sample", "ckpt_path={trained} temperature=0", "temperature must be above 0"),
    ("sample", "{trained}", "is not KEY=VALUE; did you forget a key, such as ckpt_path=?"),
    ("sample", "ckpt_path={trained} num_sample=1", "did you mean num_samples?"),
    ("score", "ckpt_path={trained}", "there is nothing to score"),
    (
        "score",
        "ckpt_path={trained} words=[é]",
        "quote the items, and all of it for the shell",
    ),
    ("score", "ckpt_path={trained} words_file=nul.txt", "control character U+0000"),
]
CHECKPOINT_ALIKE = [
    ("evaluate", "ckpt_path=nul.txt", "nul.txt: is damaged (or not a checkpoint at all)"),
    ("evaluate", "ckpt_path=.", "has no checkpoints"),
    ("evaluate", "ckpt_path=" + "x" * 5000, "File name too long"),
    ("evaluate", "ckpt_path=nowhere data=1", "a group takes the name of one of its files"),
    ("sample", "ckpt_path={trained} prompt=1", "is not text to Hydra"),
    ("sample", "ckpt_path={trained} top_k=0", "top_k must be at least 1"),
    ("sample", "ckpt_path={trained} num_samples=-1", "num_samples must be at least 0"),
    ("sample", "ckpt_path={trained} unseen=no", "unseen must be true or false, not 'no'"),
    ("sample", "ckpt_path=null", "ckpt_path: None is not text to Hydra"),
    ("evaluate", "ckpt_path={trained} output=1", "output: 1 is not text to Hydra"),
    ("score", "ckpt_path={trained} words_file=1", "words_file: 1 is not text to Hydra"),
    ("score", "ckpt_path={trained} words=[Anna]", "the character 'A' in 'Anna' is not in the vocabulary"),
    ("score", "ckpt_path={trained} words=[null]", "None is not text to Hydra"),
]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [*TRAIN, *(pytest.param(*case, marks=pytest.mark.full) for case in TRAIN_ALIKE)],
)
def test_train(arguments: str, says: str, command: Command, tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    # a later model= of the arguments counts
    assert says in command("train", "model=mlp", *arguments.split()).error
    assert not (tmp_path / "logs").exists()


def test_a_logger_whose_package_is_missing(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makemore.runs.opening_loggers.find_spec", lambda name: None)
    says = "logger.wandb: wandb is not installed; it comes with pip install -e '.[wandb]'"
    assert says in command("train", "model=mlp", "logger=wandb").error
    assert not (tmp_path / "logs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("launcher", [[], ["-m", "seed=0,1"], ["-m", "seed=0,1", "hydra/launcher=vectorized"]])
def test_a_missing_gpu(launcher: list[str], command: Command, tmp_path: Path) -> None:
    error = command("train", *launcher, "model=mlp", "trainer=gpu").error
    assert "trainer.accelerator=gpu: " in error
    assert error.endswith("; trainer=default trains on the CPU")
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("script", "arguments", "says"),
    [*CHECKPOINT, *(pytest.param(*case, marks=pytest.mark.full) for case in CHECKPOINT_ALIKE)],
)
def test_checkpoint_commands(
    script: str, arguments: str, says: str, trained: Path, command: Command, tmp_path: Path
) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    checkpoint = (trained / "checkpoints" / "step-00000300.ckpt").read_bytes()
    (tmp_path / "truncated.ckpt").write_bytes(checkpoint[: len(checkpoint) // 2])
    before = sorted(tmp_path.iterdir())
    assert says in command(script, *arguments.format(trained=trained).split()).error
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("allocate", [np.empty, torch.empty])
def test_too_little_memory_is_one_line(
    allocate: Callable[[int], Any], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("makemore.cli.finding.find_checkpoint", lambda path, which: path)
    monkeypatch.setattr("makemore.inference.trained_model.load", lambda path: allocate(10**17))
    assert command("evaluate", "ckpt_path=x").error.startswith("error: there is not enough memory")


@pytest.mark.full
def test_in_a_new_process_it_is_one_line_too(new_process: Command, tmp_path: Path) -> None:
    assert "no such file" in new_process("train", "data=text", "data.path=nowhere.txt").error
    assert "did you mean optimizer.lr?" in new_process("train", "optimizer.lrr=1").error
    assert "no such checkpoint" in new_process("sample", "ckpt_path=nowhere").error
    assert not (tmp_path / "logs").exists()


def test_a_directory_that_holds_a_run_is_refused_and_kept(trained: Path, command: Command) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    outcome = command("train", "model=ngram", f"hydra.run.dir={trained}")
    assert f"{trained}: holds the checkpoints of a run already" in outcome.error
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before
