"""Checks the data module and the modules in a script of one's own: a plain Trainer, as docs/python.md says."""

import math
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch import callbacks
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.utils.data import DataLoader

import makemore
from makemore.data.batches import Minibatches
from makemore.data.datamodule import TextDataModule
from makemore.data.windows import CountedWindows
from makemore.errors import UserError
from makemore.inference.likelihood import exact_nll
from makemore.training.module import CountingLanguageModel, NeuralLanguageModel
from makemore.training.own_trainer import LIMITED, SealedCheckpointIO, prepare
from makemore.training.substitutes import ACT_IN_A_SCRIPT, CALLBACKS, check_callback
from makemore.training.trainer_arguments import ARGUMENTS

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
SMALL = {"block_size": 3, "embedding_dim": 4, "hidden_dim": 8}


def data_of(text: Path, **options: Any) -> TextDataModule:
    return TextDataModule(str(text), **({"batch_size": 64, "steps_per_execution": 10} | options))


def model_of(data: TextDataModule, **arguments: Any) -> NeuralLanguageModel:
    optimizer = partial(torch.optim.AdamW, lr=0.01)
    return NeuralLanguageModel("mlp", data.corpus.vocabulary, optimizer, **(SMALL | arguments))


def trainer_of(**arguments: Any) -> L.Trainer:
    return L.Trainer(**(QUIET | {"logger": False, "enable_checkpointing": False} | arguments))


def fit(text: Path, options: dict[str, Any] | None = None, **arguments: Any) -> L.Trainer:
    data, trainer = data_of(text, **(options or {})), trainer_of(**arguments)
    trainer.fit(model_of(data), datamodule=data)
    return trainer


def a_pass(text: Path) -> int:
    return math.ceil(data_of(text).corpus.size("train") / 64)


class Validations(L.Callback):
    """Remembers the steps of validations."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.steps.append(trainer.global_step)


# --- how long a fit takes


def test_an_epoch_is_a_pass_with_a_validation_at_its_end(text: Path) -> None:
    steps = a_pass(text)
    assert steps > 10
    trainer = fit(text, max_epochs=2, callbacks=[seen := Validations()])
    assert (trainer.global_step, trainer.current_epoch, seen.steps) == (2 * steps, 2, [steps, 2 * steps])


def test_val_every_is_the_length_of_an_epoch(text: Path) -> None:
    trainer = fit(text, {"val_every": 7}, max_epochs=3, check_val_every_n_epoch=2, callbacks=[seen := Validations()])
    assert (trainer.global_step, seen.steps) == (21, [14])


def test_a_pass_over_the_whole_split_at_once_is_a_step(text: Path) -> None:
    assert fit(text, {"batch_size": None}, max_epochs=3).global_step == 3


def test_lines_are_passed_over_line_by_line(text: Path) -> None:
    data, trainer = data_of(text), trainer_of(max_epochs=1)
    model = NeuralLanguageModel("bow", data.corpus.vocabulary, partial(torch.optim.SGD, lr=0.1), embedding_dim=4)
    trainer.fit(model, datamodule=data)
    assert trainer.global_step == math.ceil(len(data.examples("train")) / 64)


@pytest.mark.parametrize(
    ("limits", "steps"),
    [({"max_steps": 13}, 13), ({"max_steps": 13, "max_epochs": 1}, 13), ({"fast_dev_run": 3}, 3)],
)
def test_steps_are_optimiser_steps(text: Path, limits: dict[str, Any], steps: int) -> None:
    assert fit(text, **limits).global_step == steps


def test_time_ends_a_fit_after_a_block(text: Path) -> None:
    assert fit(text, max_time=timedelta(microseconds=1)).global_step == 10


def test_no_limit_is_lightnings_thousand_epochs(text: Path) -> None:
    class Stop(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            trainer.should_stop = True

    with pytest.warns(UserWarning, match="`max_epochs` was not set"):
        trainer = fit(text, callbacks=[Stop()])
    assert (trainer.global_step, trainer.max_epochs) == (10, 1000)
    assert trainer.datamodule.last_step == 1000 * a_pass(text)  # type: ignore[attr-defined]


def test_early_stopping_keeps_min_steps(text: Path) -> None:
    stop = EarlyStopping("val/nll", patience=0, min_delta=1e9)
    assert fit(text, {"val_every": 5}, max_epochs=9, min_steps=12, callbacks=[stop]).global_step == 15


def test_early_stopping_keeps_min_epochs(text: Path) -> None:
    stop = EarlyStopping("val/nll", patience=0, min_delta=1e9)
    assert fit(text, {"val_every": 5}, max_epochs=9, min_epochs=4, callbacks=[stop]).global_step == 20


def test_counting_takes_one_step_whatever_the_limits(text: Path) -> None:
    data, trainer = data_of(text), trainer_of(max_epochs=5)
    model = CountingLanguageModel("ngram", data.corpus.vocabulary, order=2, fake_count=1)
    trainer.fit(model, datamodule=data)
    assert trainer.global_step == 1
    found = trainer.validate(model, datamodule=data, verbose=False)
    assert found == [{"val/nll": pytest.approx(exact_nll(model.network, data.counted("val")).nats)}]


def test_an_empty_validation_split_is_left_out_of_a_fit(text: Path) -> None:
    with pytest.warns(UserWarning, match="Total length of `list` across ranks is zero"):
        assert fit(text, {"splits": (1, 0, 0)}, max_epochs=1).global_step > 1


# --- what it gives


def test_batches_of_evaluations_are_limited(text: Path) -> None:
    trainer = fit(text, max_steps=5, limit_val_batches=0, callbacks=[seen := Validations()])
    assert (trainer.global_step, seen.steps) == (5, [])
    data = data_of(text)
    model = model_of(data)
    limited = trainer_of(limit_test_batches=0, limit_predict_batches=2)
    assert not limited.test(model, datamodule=data, verbose=False)
    batches = limited.predict(model, DataLoader(["anna", "bob", "eve"], batch_size=1))
    assert batches is not None
    assert [len(nlls) for nlls in batches] == [1, 1]


class Modes(L.Callback):
    """Remembers in which modes of torch a fit has trained and validated."""

    def on_train_batch_start(self, *_: Any) -> None:
        self.deterministic, self.anomaly = torch.are_deterministic_algorithms_enabled(), torch.is_anomaly_enabled()

    def on_validation_batch_start(self, *_: Any) -> None:
        self.inference = torch.is_inference_mode_enabled()


@pytest.mark.parametrize("on", [True, False])
def test_modes_of_torch_are_those_of_the_trainer(text: Path, on: bool) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    try:
        trainer = fit(text, max_steps=5, deterministic=on, detect_anomaly=on, callbacks=[modes := Modes()])
        assert (modes.deterministic, modes.anomaly) == (on, on)
        trainer = trainer_of(inference_mode=on, callbacks=[modes])
        trainer.validate(model_of(data := data_of(text)), datamodule=data, verbose=False)
        assert modes.inference is on
    finally:
        torch.use_deterministic_algorithms(before)


def test_a_profiler_counts_blocks(text: Path) -> None:
    trainer = fit(text, max_steps=25, profiler="simple")
    assert len(trainer.profiler.recorded_durations["run_training_batch"]) == 3  # type: ignore[attr-defined]


def test_loaders_made_anew_change_nothing(text: Path) -> None:
    weights = [
        fit(text, max_epochs=2, reload_dataloaders_every_n_epochs=every).lightning_module.state_dict()
        for every in (0, 1)
    ]
    for before, after in zip(*(each.values() for each in weights), strict=True):
        assert torch.equal(before, after)


@pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")
def test_a_barebones_trainer_trains_and_logs_nothing(text: Path) -> None:
    data = data_of(text)
    trainer = L.Trainer(accelerator="cpu", barebones=True, max_steps=5)
    trainer.fit(model := model_of(data), datamodule=data)
    assert trainer.global_step == 5
    assert trainer.validate(model, datamodule=data, verbose=False) == [{}]


@pytest.mark.parametrize("on", [True, False])
def test_what_a_trainer_writes_and_shows(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], on: bool
) -> None:
    given = {"enable_checkpointing": on, "enable_model_summary": on, "enable_progress_bar": on}
    fit(text, max_steps=5, logger=True, default_root_dir=tmp_path, enable_autolog_hparams=on, **given)
    written = tmp_path / "lightning_logs" / "version_0"
    assert [path.name for path in written.glob("checkpoints/*")] == (["epoch=0-step=5.ckpt"] if on else [])
    assert bool((written / "hparams.yaml").read_text().strip("{}\n")) is on
    shown = "".join(capsys.readouterr())
    assert ("Trainable params" in shown, "Epoch 0" in shown) == (on, on)


def test_the_log_has_optimiser_steps_and_the_sanity_check_is_not_in_it(text: Path, tmp_path: Path) -> None:
    data = data_of(text, val_every=8)
    trainer = trainer_of(max_epochs=2, logger=CSVLogger(tmp_path), log_every_n_steps=5)
    model = model_of(data)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    header, *rows = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().split("\n")[:-1]
    columns = header.split(",")
    found = [dict(zip(columns, row.split(","), strict=True)) for row in rows]
    steps = {name: [int(row["step"]) for row in found if row[name]] for name in ("train/nll", "val/nll", "test/nll")}
    assert steps == {"train/nll": [0, 5, 10, 15], "val/nll": [8, 16], "test/nll": [16]}


def test_loggers_get_the_hparams_of_model_and_data(text: Path, tmp_path: Path) -> None:
    data = data_of(text, seed=1)
    logger = CSVLogger(tmp_path)
    trainer_of(max_steps=1, logger=logger).fit(model_of(data, seed=2), datamodule=data)
    hparams = logger.experiment.hparams
    assert (hparams["seed"], hparams["data/seed"], hparams["hidden_dim"], hparams["data/batch_size"]) == (2, 1, 8, 64)


@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.parametrize("architecture", ["mlp", "gru"])
def test_predict_gives_the_nll_of_each_line(text: Path, tmp_path: Path, architecture: str) -> None:
    data = data_of(text)
    trainer = trainer_of(max_steps=1)
    arguments = SMALL | {"block_size": 4}
    optimizer = partial(torch.optim.AdamW, lr=0.01)
    model = NeuralLanguageModel(architecture, data.corpus.vocabulary, optimizer, **arguments)
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    lines = text.read_text().split("\n")[:-1]
    assert [line for batch in data.predict_dataloader() for line in batch] == lines
    expected = pytest.approx(makemore.load(tmp_path / "model.ckpt").nll(lines), rel=1e-6)
    (found,) = trainer.predict(model, datamodule=data) or []
    assert isinstance(found, Tensor)
    assert found.tolist() == expected
    # a list of words
    some = trainer.predict(model, DataLoader(lines[:5], batch_size=2))  # type: ignore[arg-type]
    assert torch.cat(some or []).tolist() == pytest.approx(found[:5].tolist(), rel=1e-6)  # type: ignore[arg-type]


def test_predict_takes_any_words_of_the_alphabet(text: Path) -> None:
    data = data_of(text)
    model = model_of(data)
    model.trainer = trainer_of()
    words = next(iter(DataLoader(["ann", "b", ""], batch_size=3)))  # type: ignore[arg-type]
    found = model.predict_step(words, 0)
    # one after another, "" is its end alone
    assert found.tolist() == pytest.approx([model.predict_step([word], 0).item() for word in words], rel=1e-6)
    assert (found.shape, found.dtype) == ((3,), torch.float64)
    with pytest.raises(UserError, match="'1'"):
        model.predict_step(["ann", "a1"], 0)


# --- checkpoints


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`:UserWarning")
@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization:UserWarning")
def test_a_fit_goes_on_to_the_bit(text: Path, tmp_path: Path) -> None:
    data = data_of(text, seed=4, checkpoint_every=9)
    saved = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=9, save_top_k=-1)
    once = trainer_of(max_epochs=3, callbacks=[saved], enable_checkpointing=True)
    model = model_of(data, ema_decay=0.5, l2=0.1)
    once.fit(model, datamodule=data)
    steps = a_pass(text)
    assert {path.stem for path in tmp_path.glob("*")} == {f"step={step}" for step in range(9, 3 * steps + 1, 9)}
    # within the second epoch
    data, other = data_of(text, seed=4), model_of(data, ema_decay=0.5, l2=0.1)
    again = trainer_of(max_epochs=3)
    step = steps // 9 * 9 + 9
    again.fit(other, datamodule=data, ckpt_path=tmp_path / f"step={step}.ckpt")
    assert (again.global_step, again.current_epoch) == (3 * steps, 3)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


def test_the_best_checkpoint_is_tested_after_a_fit(text: Path, tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, "{step}", monitor="val/nll")
    data, trainer = data_of(text), trainer_of(max_epochs=2, callbacks=[best], enable_checkpointing=True)
    trainer.fit(model_of(data), datamodule=data)
    steps = trainer.global_step
    (found,) = trainer.test(datamodule=data, ckpt_path="best", verbose=False)
    model = makemore.load(best.best_model_path)
    assert found == {"test/nll": pytest.approx(exact_nll(model.network, data.counted("test")).nats)}
    assert trainer.global_step == steps


def test_a_checkpoint_io_of_ones_own_is_left(text: Path) -> None:
    class Mine(SealedCheckpointIO):
        pass

    io = Mine()
    assert fit(text, max_steps=1, plugins=[io]).strategy.checkpoint_io is io
    assert type(fit(text, max_steps=1).strategy.checkpoint_io) is SealedCheckpointIO


def test_a_checkpoint_of_other_characters_is_refused(text: Path, tmp_path: Path) -> None:
    trainer = fit(text, max_steps=1)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    other = tmp_path / "other.txt"
    other.write_text(text.read_text().upper())
    data = data_of(other)
    with pytest.raises(UserError, match=r"other characters; NeuralLanguageModel\.load_from_checkpoint"):
        trainer_of().validate(model_of(data), datamodule=data, ckpt_path=tmp_path / "model.ckpt")


# --- what is refused


SHOWN: dict[str, Any] = {
    "devices": 2,
    "num_nodes": 3,
    "strategy": "ddp",
    "precision": "64-true",
    "overfit_batches": 2,
    "limit_train_batches": 5,
    "val_check_interval": 4,
    "accumulate_grad_batches": 2,
    "gradient_clip_val": 1.0,
    "gradient_clip_algorithm": "norm",
}


@pytest.mark.parametrize("name", LIMITED)
def test_what_would_not_act_is_refused_in_one_line(text: Path, name: str) -> None:
    if name in ("devices", "num_nodes"):
        # Lightning starts the other processes before
        trainer: Any = SimpleNamespace(num_devices=1, num_nodes=1, fast_dev_run=False)
        setattr(trainer, {"devices": "num_devices"}.get(name, name), SHOWN[name])
        with pytest.raises(UserError) as refusal:
            prepare(trainer)
    else:
        with pytest.raises(UserError) as refusal:
            fit(text, max_epochs=1, devices=1, **{name: SHOWN[name]})
    message = str(refusal.value)
    assert message.startswith(f"the Trainer's {name} must be ")
    assert message.endswith(ARGUMENTS[name].says)
    assert "\n" not in message


def test_time_between_validations_is_refused(text: Path) -> None:
    with pytest.raises(UserError, match=r"val_check_interval must be null or 1\.0, not a time; "):
        fit(text, max_epochs=1, val_check_interval="00:00:00:01")


def test_a_part_of_a_validation_is_refused_by_lightning(text: Path) -> None:
    with pytest.raises(MisconfigurationException, match="limit_val_batches"):
        fit(text, max_epochs=1, limit_val_batches=0.5)


def test_loaders_without_their_data_module_are_refused(text: Path) -> None:
    data = data_of(text)
    data.model = model = model_of(data)
    with pytest.raises(UserError, match=r"use trainer\.fit\(model, datamodule=TextDataModule"):
        trainer_of(max_epochs=1).fit(model, data.train_dataloader())
    # an evaluation needs no more than these
    (found,) = trainer_of().validate(model, data.val_dataloader(), verbose=False)
    assert found == {"val/nll": pytest.approx(exact_nll(model.network, data.counted("val")).nats)}


def test_a_text_of_other_characters_is_refused(text: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("".join(f"{a}{b}{c}\n" for a in "abd" for b in "abd" for c in "abd"))
    model = model_of(data_of(text))
    with pytest.raises(UserError, match=r"give TextDataModule\(vocabulary=model\.vocabulary\)"):
        trainer_of().test(model, datamodule=data_of(other), verbose=False)
    data = TextDataModule(str(text), test_path=str(other), vocabulary=model.vocabulary)
    (found,) = trainer_of().test(model, datamodule=data, verbose=False)
    assert found == {"test/nll": pytest.approx(exact_nll(model.network, data.counted("test")).nats)}
    assert data.corpus.size("test") == 27 * 4


@pytest.mark.parametrize(("method", "split"), [("validate", "val"), ("test", "test")])
def test_an_empty_split_is_not_evaluated(text: Path, method: str, split: str) -> None:
    data = data_of(text, splits=(1, 0, 0))
    with pytest.raises(UserError, match=f"the {split} split is empty"):
        getattr(trainer_of(), method)(model_of(data), datamodule=data)


def test_training_without_an_optimiser_says_what_to_give(text: Path) -> None:
    data = data_of(text)
    model = NeuralLanguageModel("mlp", data.corpus.vocabulary, **SMALL)
    with pytest.raises(UserError, match=r"optimizer=partial\(torch\.optim\.AdamW"):
        trainer_of(max_steps=1).fit(model, datamodule=data)


@pytest.mark.parametrize("name", CALLBACKS)
def test_each_callback_of_lightning_acts_or_is_refused(name: str) -> None:
    kind = getattr(callbacks, name)
    # without what its constructor asks for
    callback = kind.__new__(kind)
    if CALLBACKS[name].acts or issubclass(kind, ACT_IN_A_SCRIPT):
        check_callback(callback)
    else:
        with pytest.raises(UserError, match=f"the callback {name} does not act here: ") as refusal:
            check_callback(callback)
        assert CALLBACKS[name].says in str(refusal.value)


def test_a_hook_within_a_step_is_refused(text: Path) -> None:
    class Mine(L.Callback):
        def on_before_optimizer_step(self, *_: Any) -> None:
            pass

    with pytest.raises(UserError, match="the callback Mine has on_before_optimizer_step, never called here; "):
        fit(text, max_epochs=1, callbacks=[Mine()])
    with pytest.raises(UserError, match="the callback LearningRateMonitor does not act here: it counts blocks"):
        fit(text, max_epochs=1, callbacks=[callbacks.LearningRateMonitor()])


# --- loaders without a Trainer


def test_the_loaders_need_a_model(text: Path) -> None:
    data = data_of(text)
    for loader in (data.train_dataloader, data.val_dataloader, data.test_dataloader):
        with pytest.raises(UserError, match=r"set data\.model = model before"):
            loader()
    data.model = model_of(data)
    block = next(iter(data.train_dataloader()))
    assert isinstance(block, Minibatches)
    assert (block.contexts.shape, block.targets.shape) == ((10, 64, 3), (10, 64))
    assert sum(len(block) for block in data.train_dataloader()) == data.epoch_steps == a_pass(text)  # type: ignore[arg-type]
    counted = next(iter(data.val_dataloader()))
    assert isinstance(counted, CountedWindows)
    assert counted.total == data.corpus.size("val")


def test_print_and_repr(text: Path) -> None:
    data = data_of(text)
    sizes = ", ".join(f"{split} {data.corpus.size(split):,}" for split in ("train", "val", "test"))
    assert str(data) == f"{text}: 200 lines, characters to predict: {sizes}"
    assert eval(repr(data), {"TextDataModule": TextDataModule}).hparams == data.hparams
