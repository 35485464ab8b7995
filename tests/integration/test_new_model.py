"""A new model is a file: networks of torch.nn's layers, and ours with batch norm, do all that the shipped ones do."""

import csv
import itertools
import json
import logging
import os
import signal
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose
from omegaconf import OmegaConf, open_dict
from torch import Tensor, nn

from conftest import Command
from makemore.checkpoints import path_of
from makemore.data.batches import Minibatches
from makemore.inference.evaluation import evaluate
from makemore.inference.trained_model import load
from makemore.models import network as registry
from makemore.models.network import Network, architectures, build
from makemore.models.wavenet import WaveNet
from makemore.runs.train import train
from makemore.system import signals
from makemore.system.hydra_release import composing
from makemore.training.steps import Objective, eager_steps, whole_steps

STEPS = 53


class Layers(Network):
    """Layers that draw their initial weights as torch.nn has them: from torch's own generator."""

    block_size = 3

    def __init__(self, vocab_size: int, generator: torch.Generator) -> None:
        super().__init__()
        del generator
        self.vocab_size = vocab_size
        self.hidden = nn.Sequential(nn.Embedding(vocab_size, 4), nn.Flatten(), nn.Linear(12, 16), self.between())
        self.out = nn.Linear(16, vocab_size)

    def between(self) -> nn.Module:
        return nn.Tanh()

    @property
    def embedding(self) -> Tensor:
        return self.hidden[0].weight  # type: ignore[return-value]

    def activations(self, contexts: Tensor) -> dict[str, Tensor]:
        return {"hidden": self.hidden(contexts)}

    def forward(self, contexts: Tensor) -> Tensor:
        logits: Tensor = self.out(self.hidden(contexts))
        return logits


class Dropping(Layers):
    """With dropout, which draws in training."""

    def between(self) -> nn.Module:
        return nn.Sequential(nn.Tanh(), nn.Dropout(0.3))


class Normalizing(Layers):
    """With batch norm, whose buffers change in training."""

    def between(self) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(16), nn.Tanh())


NETWORKS = {
    "layers": Layers,
    "dropping": Dropping,
    "normalizing": Normalizing,
    "fusing": partial(WaveNet, block_size=4, embedding_dim=3, hidden_dim=8),
}
# what it cannot be compiled or mapped for
REASONS = {
    "dropping": "Dropping draws random numbers in training",
    "normalizing": "Normalizing changes its buffers in training",
}
each_network = pytest.mark.parametrize("name", NETWORKS)
each_with_a_reason = pytest.mark.parametrize("name", REASONS)


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    architectures()
    with pytest.MonkeyPatch.context() as patch:
        for name, network in NETWORKS.items():
            patch.setitem(registry._REGISTRY, name, network)
        yield


def overrides_of(text: Path, name: str) -> list[str]:
    """Return a short run of a network; no interval divides another, and each watcher looks several times."""
    own = ["model=bigram", "~model.init", f"model.architecture={name}", "data=text", f"data.path={text}"]
    every = ["val_every=20", "checkpoint_every=15", "log_every=7", "steps_per_execution=6"]
    looks = ["watch.gradients.every=9", "watch.activations.every=11", "watch.weights.every=25"]
    return [*own, *every, *looks, f"trainer.max_steps={STEPS}", "data.batch_size=8", "num_samples=5"]


def run(run_dir: Path, overrides: list[str]) -> Path:
    """Train in a directory as the command does; where it holds a run, go on with that."""
    # what others have drawn changes nothing
    torch.rand(int.from_bytes(os.urandom(1)) + 1)
    saved = run_dir / ".hydra" / "config.yaml"
    with composing():
        cfg = compose("train", overrides)
    if saved.exists():
        with open_dict(cfg):
            cfg.resume = str(run_dir)
    else:
        saved.parent.mkdir(parents=True)
        OmegaConf.save(cfg, saved)
    train(cfg, run_dir)
    return run_dir


def ending(run_dir: Path) -> dict[str, Any]:
    """Return what a run ended with and depends on, but for wall times and what watched it."""
    checkpoint = torch.load(path_of(run_dir, STEPS), weights_only=True)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    del metrics["seconds"], metrics["reference/seconds"]
    return {
        "state": {name: tensor.tolist() for name, tensor in checkpoint["state_dict"].items()},
        "optimizer": torch.nn.utils.parameters_to_vector(
            [
                tensor.float()
                for state in checkpoint["optimizer_states"][0]["state"].values()
                for tensor in state.values()
            ]
        ).tolist(),
        "metrics.json": metrics,
        "metrics.csv": (run_dir / "metrics.csv").read_text(),
        "samples.txt": (run_dir / "samples.txt").read_text(),
    }


@pytest.fixture(scope="module")
def whole(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of a network that nothing interrupted."""

    @cache
    def whole(name: str) -> Path:
        return run(tmp_path_factory.mktemp(name), overrides_of(text, name))

    return whole


@each_network
@pytest.mark.parametrize(
    "change",
    [
        pytest.param([], id="again", marks=pytest.mark.full),
        pytest.param(["watch=none"], id="unwatched"),
        pytest.param(["steps_per_execution=1"], id="blocks of one", marks=pytest.mark.full),
        pytest.param(["steps_per_execution=50"], id="longer blocks"),
    ],
)
def test_a_run_is_a_function_of_its_seed(
    name: str, change: list[str], whole: Callable[[str], Path], text: Path, tmp_path: Path
) -> None:
    overrides = overrides_of(text, name)
    if change == ["watch=none"]:
        overrides = [each for each in overrides if not each.startswith("watch.")]
    assert ending(run(tmp_path, [*overrides, *change])) == ending(whole(name))


def run_until(step: int, run_dir: Path, overrides: list[str]) -> None:
    """Do what `run` does, but have a signal come before that step after the start."""
    original, asked = signals.requested, itertools.count()

    def requested() -> bool:
        if next(asked) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "requested", requested)
        with pytest.raises(signals.Stopped):
            run(run_dir, overrides)


@each_network
def test_a_run_that_is_interrupted_and_resumed_ends_as_one_that_is_not(
    name: str, whole: Callable[[str], Path], text: Path, tmp_path: Path
) -> None:
    overrides = overrides_of(text, name)
    run_until(13, tmp_path, overrides)
    assert ending(run(tmp_path, overrides)) == ending(whole(name))


@each_network
def test_a_checkpoint_has_the_nll_of_the_run(name: str, whole: Callable[[str], Path]) -> None:
    model = load(whole(name))
    metrics = json.loads((whole(name) / "metrics.json").read_text())
    found = evaluate(model).nlls
    assert {split: nll.nats for split, nll in found.items()} == {split: metrics[f"{split}/nll"] for split in found}
    # that of the network in training, as the last validation had it
    *_, last = csv.DictReader((whole(name) / "metrics.csv").read_text().splitlines())
    assert float(last["val/nll"]) == pytest.approx(metrics["val/nll"], rel=1e-6)
    assert model.sample(5) == (whole(name) / "samples.txt").read_text().split("\n")[:-1]


@each_network
def test_jobs_of_the_vectorised_launcher_end_as_runs_by_themselves(
    name: str, whole: Callable[[str], Path], text: Path, command: Command, tmp_path: Path
) -> None:
    launcher = ["hydra/launcher=vectorized", "hydra.launcher.n_jobs=1", "hydra.sweep.dir=S"]
    outcome = command("train", "-m", *overrides_of(text, name), "seed=0,1", *launcher)
    assert outcome.code == 0, outcome.err
    (job,), (other,) = ((tmp_path / "S").glob(f"seed_{seed}-*") for seed in (0, 1))
    assert ending(other)["state"] != ending(job)["state"]
    alone = f"{REASONS.get(name)}; its jobs run one by one"
    assert outcome.err.count("one by one") == outcome.err.count(alone) == (name in REASONS)
    if name in REASONS:
        assert ending(job) == ending(whole(name))
    ours, theirs = (json.loads((path / "metrics.json").read_text()) for path in (job, whole(name)))
    assert [ours[f"{split}/nll"] for split in ("train", "val", "test")] == pytest.approx(
        [theirs[f"{split}/nll"] for split in ("train", "val", "test")], abs=1e-4
    )


@each_with_a_reason
def test_what_cannot_be_compiled_takes_eager_steps_and_says_so(
    name: str, whole: Callable[[str], Path], text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        compiled = run(tmp_path, [*overrides_of(text, name), "compile=true"])
    said = [record.getMessage() for record in caplog.records if record.name.startswith("makemore")]
    assert said == [f"compile=true: {REASONS[name]}; training continues without"]
    assert ending(compiled) == ending(whole(name))


@each_network
def test_a_block_that_is_taken_back_leaves_nothing(name: str) -> None:
    def trained(steps: int, rates: list[float]) -> tuple[Any, ...]:
        network = build(name, 5, {}, seed=0)
        optimizer = torch.optim.AdamW(network.parameters())
        take = whole_steps(eager_steps(Objective(network, 1.0), optimizer), optimizer, network)
        tokens = torch.randint(5, (steps, 6, network.block_size + 1), generator=torch.Generator().manual_seed(1))
        nlls, _, diverged = take(Minibatches(0, tokens[..., :-1], tokens[..., -1]), rates)
        return nlls, diverged, {key: tensor.tolist() for key, tensor in network.state_dict().items()}

    nlls, diverged, state = trained(12, [0.01] * 7 + [1e30] * 5)
    assert diverged is not None
    assert (nlls, None, state) == trained(8, [0.01] * 7 + [1e30])
