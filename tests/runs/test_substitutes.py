"""Checks every callback of Lightning and every class of torch.optim: it acts in a run, or is refused before it."""

import copy
import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import lightning.pytorch.callbacks as lightning_callbacks
import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LambdaCallback, ModelCheckpoint
from omegaconf import DictConfig
from short_runs import assert_documented, compose_short, fit_short, given, names_a_key

from makemore.checkpoints import path_of
from makemore.errors import UserError
from makemore.models.network import Network
from makemore.runs.assemble import assemble, check
from makemore.runs.train import train
from makemore.training.optimizers import groups_of
from makemore.training.substitutes import CALLBACKS, HOOKS, OPTIMIZERS, SCHEDULERS, Part

SHIPPED = {
    "callbacks": ("lightning.pytorch.callbacks", CALLBACKS),
    "optimizer": ("torch.optim", OPTIMIZERS),
    "scheduler": ("torch.optim.lr_scheduler", SCHEDULERS),
}
REFUSED = [
    (group, f"{module}.{name}", part)
    for group, (module, parts) in SHIPPED.items()
    for name, part in parts.items()
    if not part.acts
]


class Plain(torch.optim.Optimizer):
    """An optimiser of one's own: gradient descent."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(group["lr"] * parameter.grad)


class Keeps(ModelCheckpoint):
    """A callback of one's own that is one of Lightning's."""


class WatchesGradients(L.Callback):
    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        raise AssertionError

    def on_train_batch_end(self, *_: Any) -> None:
        pass


class OnlyTests(L.Callback):
    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        raise AssertionError


class EndsEarly(L.Callback):
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        trainer.limit_train_batches = 0


class Objects(L.Callback):
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        raise MisconfigurationException("not with this Trainer\nat all")


@pytest.fixture(scope="module")
def config(text: Path) -> DictConfig:
    return compose_short(text)


def naming(config: DictConfig, group: str, target: str, **values: Any) -> DictConfig:
    """Return the config with a class named in a group."""
    if group == "callbacks":
        return given(config, group, mine={"_target_": target, **values})
    return given(config, group, _target_=target, **values)


def with_optimizer(config: DictConfig, target: str, **values: Any) -> DictConfig:
    """Return the config with an optimiser, without the options that AdamW alone has."""
    config = config.copy()
    config.optimizer = {"_target_": target, "_partial_": True, "lr": 0.01, **values}
    return config


# --- all of them


def test_the_tables_have_all_there_is() -> None:
    assert set(CALLBACKS) == set(lightning_callbacks.__all__)
    for module, parts, base in (
        (torch.optim, OPTIMIZERS, torch.optim.Optimizer),
        (torch.optim.lr_scheduler, SCHEDULERS, torch.optim.lr_scheduler.LRScheduler),
    ):
        kinds = {name: kind for name, kind in vars(module).items() if isinstance(kind, type)}
        assert set(parts) == {name for name, kind in kinds.items() if issubclass(kind, base) and name[0] != "_"}
        assert set(parts) >= {name for name in module.__all__ if name in kinds}


@pytest.mark.parametrize(("group", "target", "part"), REFUSED, ids=[target for _, target, _ in REFUSED])
@pytest.mark.parametrize("partial", [False, True])
def test_what_does_not_act_is_refused_before_anything_is_written(
    config: DictConfig, tmp_path: Path, group: str, target: str, part: Part, partial: bool
) -> None:
    with pytest.raises(UserError) as refusal:
        check(naming(config, group, target, _partial_=partial), tmp_path / "run")
    key = "callbacks.mine" if group == "callbacks" else group
    assert str(refusal.value) == f"{key}._target_={target} does not act here: {part.says}"
    assert names_a_key(part.says, config)
    assert list(tmp_path.iterdir()) == []


def test_the_document_has_the_tables() -> None:
    for _, parts in SHIPPED.values():
        assert_documented(
            [f"| `{name}` | {'acts' if part.acts else 'refused'} | {part.says} |" for name, part in parts.items()]
        )
    hooks_at: dict[str, list[str]] = {}
    for hook, when in HOOKS.items():
        hooks_at.setdefault(when, []).append(f"`{hook}`")
    assert_documented([f"| {when} | {', '.join(hooks)} |" for when, hooks in hooks_at.items()])


def test_a_class_that_is_not_there_is_one_line(config: DictConfig, tmp_path: Path) -> None:
    for group in SHIPPED:
        with pytest.raises(UserError, match=f"^{group}: Error loading 'torch.optim.Nothing'"):
            check(naming(config, group, "torch.optim.Nothing"), tmp_path / "run")


def test_a_subclass_is_as_its_base(config: DictConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Keeps does not act here: checkpoint_every"):
        check(naming(config, "callbacks", f"{__name__}.Keeps"), tmp_path / "run")
    with pytest.raises(UserError, match="SWALR does not act here: use scheduler=constant"):
        check(naming(config, "scheduler", "torch.optim.swa_utils.SWALR"), tmp_path / "run")


# --- callbacks


def test_the_table_has_every_hook_and_when_it_is_called(
    config: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # which would refuse it for those within a step
    monkeypatch.setattr("makemore.training.own_trainer.check_callback", lambda _: None)
    public = {name for name, made in vars(L.Callback).items() if inspect.isfunction(made) and name[0] != "_"}
    assert set(HOOKS) == public
    called = dict.fromkeys(HOOKS, 0)

    class Counts(L.Callback):
        pass

    def counting(hook: str) -> Callable[..., Any]:
        def call(self: L.Callback, *_: Any, **__: Any) -> dict[str, int]:
            called[hook] += 1
            return {"any": 1}

        return call

    for hook in HOOKS:
        setattr(Counts, hook, counting(hook))
    fit_short(config, tmp_path, Counts())
    # steps 0-2 and 3-4, a validation, 5-6, a validation
    times = {"once a run": 1, "at each validation": 2, "before and after each block": 3, "never": 0}
    for hook, when in HOOKS.items():
        for start, expected in times.items():
            if when.startswith(start):
                assert called[hook] == expected, hook
    # two are the best so far, the last is the newest
    assert called["state_dict"] == called["on_save_checkpoint"] == 3
    assert called["on_load_checkpoint"] == called["load_state_dict"] == called["on_exception"] == 0


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("WatchesGradients", "WatchesGradients has on_after_backward, never called here; use on_train_batch_end"),
        ("OnlyTests", "OnlyTests has no hook that a run calls"),
    ],
)
def test_a_callback_whose_hooks_are_not_called_is_refused(
    config: DictConfig, tmp_path: Path, kind: str, says: str
) -> None:
    with pytest.raises(UserError, match=f"callbacks.mine: {says}"):
        check(naming(config, "callbacks", f"{__name__}.{kind}"), tmp_path / "run")


def test_the_base_of_all_callbacks_does_nothing(config: DictConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Callback has no hook that a run calls"):
        check(naming(config, "callbacks", "lightning.pytorch.callbacks.Callback"), tmp_path / "run")


def test_a_lambda_is_called_or_refused(config: DictConfig, tmp_path: Path) -> None:
    steps: list[int] = []
    fit_short(
        config, tmp_path, LambdaCallback(on_train_batch_end=lambda trainer, *_: steps.append(trainer.global_step))
    )
    assert steps == [3, 5, 7]
    target = "lightning.pytorch.callbacks.LambdaCallback"
    never = {"on_before_zero_grad": {"_target_": "hydra.utils.get_method", "path": "builtins.print"}}
    with pytest.raises(UserError, match="LambdaCallback has on_before_zero_grad, never called here"):
        check(naming(config, "callbacks", target, **never), tmp_path / "run")


def test_early_stopping_counts_validations(text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stops = compose_short(text, "callbacks=early_stopping", "optimizer.lr=0", "trainer.max_steps=50")
    stops.callbacks.early_stopping.update(patience=2, verbose=True)
    with caplog.at_level(logging.INFO, "lightning.pytorch.callbacks.early_stopping"):
        assert fit_short(stops, tmp_path).global_step == 15
    logged = [record.message for record in caplog.records if record.name.endswith("early_stopping")]
    assert any("did not improve in the last 2 records" in message for message in logged)


@pytest.mark.parametrize("kind", ["ModelSummary", "RichModelSummary"])
def test_a_summary_is_shown(
    config: DictConfig,
    tmp_path: Path,
    kind: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Lightning prints by a handler of its own where the root has none
    monkeypatch.setattr(logging.getLogger("lightning.pytorch"), "propagate", True)
    fit_short(naming(config, "callbacks", f"lightning.pytorch.callbacks.{kind}"), tmp_path)
    assert "otal params" in capsys.readouterr().out + caplog.text


def test_two_callbacks_that_exclude_each_other_are_one_line(config: DictConfig, tmp_path: Path) -> None:
    stop = {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val/nll"}
    with pytest.raises(UserError, match="trainer: Found more than one stateful callback of type `EarlyStopping`"):
        check(given(config, "callbacks", one=stop, two=stop), tmp_path / "run")


def test_what_a_callback_objects_to_in_a_run_is_one_line(config: DictConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^trainer: not with this Trainer$"):
        train(naming(config, "callbacks", f"{__name__}.Objects"), tmp_path)


def test_a_run_that_a_callback_shortens_is_no_result(config: DictConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="training ended after 0 of 7 steps; take out the callback"):
        train(naming(config, "callbacks", f"{__name__}.EndsEarly"), tmp_path)


# --- optimisers


class BySteps(L.Callback):
    """Takes the steps of each block anew with torch's own class and autograd."""

    def __init__(self, make: Callable[[Any], torch.optim.Optimizer], rates: list[float]) -> None:
        self.make, self.rates = make, rates

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.network: Network = copy.deepcopy(pl_module.network)
        self.optimizer = self.make(groups_of(self.network, True))

    def on_train_batch_start(self, trainer: L.Trainer, _module: Any, block: Any, _batch_idx: int) -> None:
        for batch in block.batches():
            (group,) = self.optimizer.param_groups
            group["lr"] = self.rates.pop(0)
            self.optimizer.zero_grad()
            block.nll(self.network, *batch).backward()
            self.optimizer.step()


@pytest.mark.parametrize("name", [name for name, part in OPTIMIZERS.items() if part.acts])
def test_an_optimiser_takes_its_own_steps(config: DictConfig, tmp_path: Path, name: str) -> None:
    kind = Plain if name == "Optimizer" else getattr(torch.optim, name)
    target = f"{kind.__module__}.{name}" if kind is not Plain else f"{__name__}.Plain"
    own = with_optimizer(config, target)
    own.scheduler = {"_target_": "makemore.training.schedules.step_decay", "milestones": [4], "gamma": 0.1}
    check(own, tmp_path / "run")
    by_steps = BySteps(lambda groups: kind(groups, lr=0.01), [0.01] * 4 + [0.01 * 0.1] * 3)
    trained: Any = fit_short(own, tmp_path / "fit", by_steps).lightning_module
    assert by_steps.rates == []
    for ours, theirs in zip(trained.network.parameters(), by_steps.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name, part in OPTIMIZERS.items() if part.acts and name != "Optimizer"])
def test_an_optimiser_goes_on_from_a_checkpoint(config: DictConfig, tmp_path: Path, name: str) -> None:
    own = with_optimizer(config, f"torch.optim.{name}")
    whole = fit_short(own, tmp_path / "whole").lightning_module.state_dict()
    fit_short(given(own, "trainer", max_steps=4), tmp_path / "parts")
    parts = assemble(own, tmp_path / "parts")
    trainer = parts.trainer([parts.checkpoints])
    path = path_of(tmp_path / "parts", 4)
    trainer.fit(parts.model, datamodule=parts.data, ckpt_path=path, weights_only=True)
    assert trainer.global_step == 7
    for key, value in parts.model.state_dict().items():
        assert torch.equal(value, whole[key])


def test_an_option_that_an_optimiser_lacks_is_one_line(config: DictConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unexpected keyword argument 'betas'; a key is taken out by ~optimizer.KEY"):
        check(naming(config, "optimizer", "torch.optim.RMSprop"), tmp_path / "run")


def test_what_is_no_optimiser_is_one_line(config: DictConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"optimizer._target_ must be an optimiser of torch"):
        check(with_optimizer(config, f"{__name__}.as_dict"), tmp_path / "run")


def as_dict(groups: Any, **_: Any) -> dict[str, Any]:
    return {"groups": groups}


# --- schedules


def five(**_: Any) -> int:
    return 5


def test_a_schedule_is_a_function_of_the_step(config: DictConfig, tmp_path: Path) -> None:
    for target in (f"{__name__}.five", "os.getcwd"):
        other = config.copy()
        other.scheduler = {"_target_": target}
        with pytest.raises(UserError, match=r"scheduler._target_ must make a function of the step"):
            check(other, tmp_path / "run")
