"""Checks every argument of Lightning's Trainer: what it says to do is done, or the config is refused before a run."""

import inspect
from pathlib import Path
from typing import Any, get_args

import lightning as L
import pytest
import torch
from lightning.fabric.connector import _PRECISION_INPUT_INT, _PRECISION_INPUT_STR, _PRECISION_INPUT_STR_ALIAS
from omegaconf import DictConfig, OmegaConf
from short_runs import assert_documented, compose_short, fit_short, given, names_a_key

from makemore.errors import UserError
from makemore.inference.likelihood import exact_nll
from makemore.models.mlp import MLP
from makemore.runs import train as training
from makemore.runs.assemble import check
from makemore.training.trainer_arguments import ARGUMENTS, choices, shown

# for each argument that does nothing here, what someone may write
WRONG = {
    "strategy": "ddp",
    "devices": 2,
    "num_nodes": 2,
    "logger": True,
    "callbacks": [],
    "fast_dev_run": True,
    "max_epochs": 5,
    "min_epochs": 2,
    "min_steps": 3,
    "max_time": "00:00:01:00",
    "limit_train_batches": 1,
    "limit_val_batches": 0,
    "limit_test_batches": 0.5,
    "limit_predict_batches": 0.5,
    "overfit_batches": 1,
    "val_check_interval": 0.5,
    "check_val_every_n_epoch": 2,
    "num_sanity_val_steps": 2,
    "log_every_n_steps": 10,
    "enable_checkpointing": False,
    "accumulate_grad_batches": 2,
    "gradient_clip_val": 1.0,
    "gradient_clip_algorithm": "value",
    "inference_mode": False,
    "use_distributed_sampler": False,
    "barebones": True,
    "plugins": [],
    "sync_batchnorm": True,
    "reload_dataloaders_every_n_epochs": 1,
    "default_root_dir": "elsewhere",
    "enable_autolog_hparams": False,
    "model_registry": "mine",
}
ACTING = [name for name, argument in ARGUMENTS.items() if argument.acts]


@pytest.fixture(scope="module")
def config(text: Path) -> DictConfig:
    return compose_short(text)


@pytest.fixture(scope="module")
def stopping(text: Path) -> DictConfig:
    """A config that has the keys of early stopping too."""
    return compose_short(text, "callbacks=early_stopping")


def check_given(config: DictConfig, tmp_path: Path, **arguments: Any) -> None:
    check(given(config, "trainer", **arguments), tmp_path / "run")


class Probe(L.Callback):
    """Remembers what holds in training."""

    def __init__(self) -> None:
        self.holds: dict[str, bool] = {}

    def on_train_batch_start(self, *_: Any) -> None:
        self.holds = {
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "warns": torch.is_deterministic_algorithms_warn_only_enabled(),
            "benchmark": torch.backends.cudnn.benchmark,
            "anomaly": torch.is_anomaly_enabled(),
        }


def fit(config: DictConfig, tmp_path: Path, *callbacks: L.Callback, **arguments: Any) -> L.Trainer:
    return fit_short(given(config, "trainer", **arguments), tmp_path, *callbacks)


def probed(config: DictConfig, tmp_path: Path, **arguments: Any) -> Probe:
    fit(config, tmp_path, probe := Probe(), **arguments)
    return probe


# --- all of them


def test_the_table_has_every_argument_of_the_trainer() -> None:
    assert set(ARGUMENTS) == set(inspect.signature(L.Trainer.__init__).parameters) - {"self"}
    assert [name for name in ARGUMENTS if not (ARGUMENTS[name].acts or name in WRONG)] == []


@pytest.mark.parametrize("name", ACTING)
def test_what_acts_has_a_test_that_says_so(name: str) -> None:
    assert f"test_{name}_acts" in globals()


@pytest.mark.parametrize(("name", "value"), WRONG.items(), ids=WRONG)
def test_what_does_not_act_is_refused_before_anything_is_written(
    config: DictConfig, tmp_path: Path, name: str, value: Any
) -> None:
    assert not ARGUMENTS[name].acts
    with pytest.raises(UserError) as refusal:
        check_given(config, tmp_path, **{name: value})
    message = str(refusal.value)
    assert message.startswith(f"trainer.{name} must be ")
    assert message.endswith(f", not {shown(value)}; {ARGUMENTS[name].says}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", WRONG)
def test_a_refusal_names_a_key_to_use(stopping: DictConfig, name: str) -> None:
    assert names_a_key(ARGUMENTS[name].says, stopping)


def test_what_a_run_does_anyway_may_be_said(config: DictConfig, tmp_path: Path) -> None:
    said = {name: argument.accepts[0] for name, argument in ARGUMENTS.items() if argument.accepts}
    assert fit(config, tmp_path, **said).global_step == 7


@pytest.mark.parametrize("name", [name for name in ACTING if ARGUMENTS[name].accepts])
def test_a_value_of_another_kind_is_refused(config: DictConfig, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"trainer.{name} must be .*, not maybe; "):
        check_given(config, tmp_path, **{name: "maybe"})


def test_an_argument_that_the_trainer_lacks_is_one_line(config: DictConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trainer: .*unexpected keyword argument 'max_stepps'"):
        check_given(config, tmp_path, max_stepps=3)


def test_the_document_has_the_table() -> None:
    for acts in (True, False):
        rows = []
        for name, argument in ARGUMENTS.items():
            if argument.acts == acts:
                values = "what Lightning takes" if argument.accepts is None else f"`{choices(argument.accepts)}`"
                rows.append(f"| `{name}` | {values} | {argument.says} |")
        assert_documented(rows)


# --- those that act


def test_accelerator_acts(config: DictConfig, tmp_path: Path) -> None:
    trainer = fit(config, tmp_path, accelerator="cpu")
    assert trainer.lightning_module.device.type == "cpu"
    with pytest.raises(UserError, match="trainer: You selected an invalid accelerator"):
        check_given(config, tmp_path, accelerator="warp")


def test_max_steps_acts(config: DictConfig, tmp_path: Path) -> None:
    assert fit(config, tmp_path, max_steps=4).global_step == 4


def test_bfloat16_is_the_same_for_every_size_of_a_block(config: DictConfig, tmp_path: Path) -> None:
    # autocast may keep a copy of weights that have changed since
    states = []
    for steps in (1, 3, 7):
        sized = OmegaConf.merge(config, {"steps_per_execution": steps, "val_every": 7})
        states.append(fit(sized, tmp_path / str(steps), precision="bf16-mixed").lightning_module.state_dict())
    assert all(torch.equal(state[name], states[0][name]) for state in states for name in state)


def test_every_other_precision_is_refused(config: DictConfig, tmp_path: Path) -> None:
    # 16-mixed would need its loss scaled
    known = {
        value
        for kind in (_PRECISION_INPUT_STR, _PRECISION_INPUT_INT, _PRECISION_INPUT_STR_ALIAS)
        for value in get_args(kind)
    }
    others = {*known} - {*(ARGUMENTS["precision"].accepts or ())}
    assert {"16-mixed", "16-true", "bf16-true", "64-true", "transformer-engine"} < others
    for value in others:
        with pytest.raises(UserError, match=f"^trainer.precision must be .*, not {value}; bf16-mixed is"):
            check_given(config, tmp_path, precision=value)


def test_precision_acts(config: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: set[tuple[bool, torch.dtype]] = set()
    forward = MLP.forward

    def remembered(network: MLP, tokens: torch.Tensor) -> torch.Tensor:
        logits = forward(network, tokens)
        kinds.add((torch.is_grad_enabled(), logits.dtype))
        return logits

    monkeypatch.setattr(MLP, "forward", remembered)
    weights = {}
    for precision in (None, "bf16-mixed"):
        kinds.clear()
        trainer = fit(config, tmp_path / str(precision), precision=precision)
        # steps are in the lower precision, NLLs are not
        low = torch.float32 if precision is None else torch.bfloat16
        assert {kind for is_step, kind in kinds if is_step} == {low}
        assert {kind for is_step, kind in kinds if not is_step} == {torch.float32}
        model: Any = trainer.lightning_module
        weights[precision] = torch.cat([weight.flatten() for weight in model.network.parameters()])
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        assert float(trainer.callback_metrics["val/nll"]) == pytest.approx(
            exact_nll(model.network.eval(), data.counted("val")).nats, rel=1e-6
        )
    assert weights["bf16-mixed"].dtype == torch.float32
    assert 0 < (weights[None] - weights["bf16-mixed"]).abs().max() < 0.01


@pytest.mark.parametrize(
    ("value", "expected"), [(False, (False, False)), (True, (True, False)), ("warn", (True, True))]
)
def test_deterministic_acts(config: DictConfig, tmp_path: Path, value: Any, expected: tuple[bool, bool]) -> None:
    try:
        probe = probed(config, tmp_path, deterministic=value)
    finally:
        torch.use_deterministic_algorithms(False)
    assert (probe.holds["deterministic"], probe.holds["warns"]) == expected


def test_benchmark_acts(config: DictConfig, tmp_path: Path) -> None:
    try:
        assert probed(config, tmp_path, benchmark=True).holds["benchmark"]
    finally:
        torch.backends.cudnn.benchmark = False


def test_enable_progress_bar_acts(config: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "train_locked", lambda _cfg, _run_dir, shown: shown)
    for value, bars in ((None, 1), (True, 1), (False, 0)):
        run: Any = training.train(given(config, "trainer", enable_progress_bar=value), tmp_path)
        assert len(run) == bars


def test_enable_model_summary_acts(config: DictConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(config, tmp_path, enable_model_summary=False)
    assert "Total params" not in capsys.readouterr().out
    trainer = fit(config, tmp_path, enable_model_summary=True)
    count = sum(weight.numel() for weight in trainer.lightning_module.parameters())
    assert f"Total params: {count / 1000:.1f} K" in capsys.readouterr().out


@pytest.mark.parametrize(
    "kind",
    ["simple", pytest.param("advanced", marks=pytest.mark.full), pytest.param("pytorch", marks=pytest.mark.full)],
)
@pytest.mark.filterwarnings("ignore:The PyTorch Profiler default schedule will be overridden")
def test_profiler_acts(config: DictConfig, tmp_path: Path, kind: str) -> None:
    fit(config, tmp_path, profiler=kind)
    report = (tmp_path / "fit-profile.txt").read_text()
    assert "FIT Profiler Report" in report
    assert ("aten::" if kind == "pytorch" else "training_step") in report
    # blocks of three and two steps up to the validation, and one of two
    if kind == "simple":
        (line,) = [line for line in report.splitlines() if ".training_step " in line]
        assert line.split("|")[3].strip() == "3"


def test_detect_anomaly_acts(config: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probed(config, tmp_path, detect_anomaly=True).holds["anomaly"]
    assert not probed(config, tmp_path, detect_anomaly=False).holds["anomaly"]
    with pytest.raises(UserError, match="use compile=false"):
        check_given(OmegaConf.merge(config, {"compile": True}), tmp_path, detect_anomaly=True)


# the operator of the forward pass is named in a warning
@pytest.mark.filterwarnings("ignore:Error detected in SqrtBackward0")
@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_a_gradient_of_nan_is_found(config: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = MLP.forward
    monkeypatch.setattr(
        MLP, "forward", lambda network, tokens: forward(network, tokens) + (network.C.square() * 0).sqrt().sum() * 0
    )
    with pytest.raises(RuntimeError, match="returned nan values"):
        fit(config, tmp_path, detect_anomaly=True)
    with pytest.raises(UserError, match="the loss is nan at step 1"):
        fit(config, tmp_path, detect_anomaly=False)
