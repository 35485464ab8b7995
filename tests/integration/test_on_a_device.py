"""All that a run computes runs on a device too: on a CUDA device without a card, with the figures of the CPU."""

import importlib
import inspect
import math
import pkgutil
import sys
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from types import CodeType
from typing import Any

import fitting
import pytest
import torch
from hydra import compose
from omegaconf import OmegaConf
from torch import Tensor, nn

from makemore.data.batches import Minibatches
from makemore.data.datamodule import TextDataModule
from makemore.inference.likelihood import exact_nll
from makemore.models.network import Network, architectures, build
from makemore.runs.assemble import assemble
from makemore.runs.saved_config import saved_config_of
from makemore.runs.saving import Checkpoints
from makemore.runs.watching import dashboards, health
from makemore.runs.watching.watcher import SampledNames, Watchers
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.memory import most_members
from makemore.sweeps.vectorized.train_group import train_group
from makemore.system.hydra_release import composing
from makemore.training.loggers import TensorBoard
from makemore.training.module import CountingLanguageModel, NeuralLanguageModel
from makemore.training.steps import Objective, eager_steps, whole_steps
from makemore.training.substitutes import OPTIMIZERS
from pretended_cuda import CUDA, pretended_cuda

CONF = Path(__file__).parents[2] / "conf"
STEPS = 3
SMALL = {"embedding_dim": 4, "hidden_dim": 8}
OVER_LINES = {"block_size": 8, "embedding_dim": 4, "dropout": 0.1}
# arguments of a small network by its registered name; a mixture is made of others
MODELS: dict[str, dict[str, Any]] = {
    "bigram": {},
    "bow": {**OVER_LINES, "hidden_dim": 8},
    "gru": {**OVER_LINES, "hidden_dim": 8},
    "kneser_ney": {"order": 3},
    "lstm": {**OVER_LINES, "hidden_dim": 8, "num_layers": 2},
    "mlp": {**SMALL, "num_layers": 2, "batch_norm": True, "output_norm": True},
    "ngram": {"order": 2, "fake_count": 1},
    "rnn": {**OVER_LINES, "hidden_dim": 8},
    "transformer": {**OVER_LINES, "num_heads": 2, "num_layers": 1, "positions": "rotary", "tied": True},
    "wavenet": {**SMALL, "block_size": 4},
}
# of the parts of the mixture
PARTS = ("ngram", "mlp", "bow")

# an exercise computes on cuda:0, or else on the CPU, and returns figures
Figures = list[Any]
Exercise = Callable[[bool, Path, Path], Figures]
EXERCISES: dict[str, Exercise] = {}


def exercise(function: Exercise) -> Exercise:
    EXERCISES[function.__name__] = function
    return function


def device_of(cuda: bool) -> torch.device:
    return CUDA if cuda else torch.device("cpu")


def numbers_of(module: nn.Module) -> list[float]:
    return [number for tensor in module.state_dict().values() for number in tensor.detach().flatten().tolist()]


def data_of(text: Path, **options: Any) -> TextDataModule:
    return TextDataModule(
        str(text), **{"batch_size": 4, "val_every": 2, "checkpoint_every": 2, "steps_per_execution": 2, **options}
    )


def model_of(architecture: str, data: TextDataModule, **options: Any) -> NeuralLanguageModel:
    make = partial(torch.optim.AdamW, lr=0.01, fused=True)
    return NeuralLanguageModel(
        architecture, data.corpus.vocabulary, make, None, 0.1, log_every=1, **options, **MODELS[architecture]
    )


def fitted(cuda: bool, model: Any, data: TextDataModule, *callbacks: Any, **options: Any) -> Figures:
    trainer = fitting.fit(model, data, STEPS, *callbacks, accelerator="gpu" if cuda else "cpu", **options)
    assert float(trainer.callback_metrics["val/nll"]) > 0
    return [float(trainer.callback_metrics["val/nll"]), *numbers_of(model)]


def every_model_is_trained(architecture: str, cuda: bool, text: Path, directory: Path) -> Figures:
    # lines whose targets are partly of other splits, too
    data = data_of(text, by="example", draw="permutation")
    if architecture in ("ngram", "kneser_ney"):
        model: Any = CountingLanguageModel(architecture, data.corpus.vocabulary, **MODELS[architecture])
        return [*fitted(cuda, model, data), model.network.most_common()[:3]]
    watching = Watchers([health.Activations()], SampledNames(1, seed=0))
    return fitted(cuda, model_of(architecture, data), data, watching, directory=directory)


for name in MODELS:
    EXERCISES[f"{name} is trained"] = partial(every_model_is_trained, name)


@exercise
def the_split_is_one_batch(cuda: bool, text: Path, _directory: Path) -> Figures:
    found = []
    for architecture in ("bigram", "bow"):
        data = data_of(text, batch_size=None)
        found += fitted(cuda, model_of(architecture, data, clip_norm=0.1, decay_vectors=False), data)
    return found


@exercise
def a_run_is_watched_saved_and_resumed(cuda: bool, text: Path, directory: Path) -> Figures:
    saved_config_of(directory).parent.mkdir(parents=True)
    saved_config_of(directory).write_text("seed: 0\n")

    def fit(**options: Any) -> Figures:
        data = data_of(text)
        model = model_of("mlp", data, clip_norm=0.1, ema_decay=0.9)
        watchers = [kind(1) for kind in (health.Speed, health.Gradients, health.Weights, health.Activations)]
        watchers += [dashboards.Names(1), dashboards.Embedding(1), dashboards.Graph(), dashboards.Config()]
        watching = Watchers(watchers, SampledNames(2, seed=0))
        logged = {"directory": directory, "loggers": [TensorBoard(directory)]}
        return fitted(cuda, model, data, watching, Checkpoints(every=2), **logged, **options)

    whole = fit()
    assert fit(resume=directory / "checkpoints" / "step-00000002.ckpt") == whole
    return whole


@exercise
def a_model_is_evaluated(cuda: bool, text: Path, _directory: Path) -> Figures:
    found = []
    for architecture in ("mlp", "gru"):
        data = data_of(text)
        model = model_of(architecture, data)
        trainer = fitting.trainer_of(data, STEPS, accelerator="gpu" if cuda else "cpu")
        for loop in (trainer.validate_loop, trainer.test_loop, trainer.predict_loop):
            # in which the pretended device makes no tensors
            loop.inference_mode = False
        for evaluate in (trainer.validate, trainer.test):
            found += [*evaluate(model, data, verbose=False)[0].values()]
        found += torch.cat(trainer.predict(model, data)).tolist()
    return found


@exercise
def a_mixture_is_evaluated(cuda: bool, text: Path, _directory: Path) -> Figures:
    data = data_of(text)
    parts = [{"architecture": part, "arguments": MODELS[part]} for part in PARTS]
    network: Any = build("mixture", data.corpus.vocabulary.size, {"parts": parts}, seed=0).to(device_of(cuda))
    windows = data.corpus.windows("train", network.block_size).counted().to(device_of(cuda))
    network.parts[0].count(data.corpus.windows("train", 1).counted().to(device_of(cuda)))
    padded = windows.contexts[:5, -3:].long()
    return [exact_nll(network, windows).nats, network.eval()(padded).cpu().tolist()]


@exercise
def steps_are_taken_as_if_compiled(cuda: bool, text: Path, _directory: Path) -> Figures:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda function, **_: function)
        data = data_of(text)
        # the rule of torch.optim that is compiled runs on CUDA alone otherwise
        model = model_of("mlp", data, compile=cuda, ema_decay=0.9)
        return fitted(cuda, model, data)


class Draws(Network):
    """A network of torch's own layers that draw random numbers and change buffers."""

    block_size, vocab_size = 2, 5

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Embedding(5, 4), nn.Flatten(), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 5)
        )

    def forward(self, contexts: Tensor) -> Tensor:
        return self.layers(contexts)  # type: ignore[no-any-return]


@exercise
def every_optimiser_takes_steps(cuda: bool, _text: Path, _directory: Path) -> Figures:
    acting = [name for name, part in OPTIMIZERS.items() if part.acts and name != "Optimizer"]
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(5, (STEPS, 4, 3), generator=generator)
    block = Minibatches(0, tokens[..., :-1], tokens[..., -1]).to(device_of(cuda))
    found = []
    for name in acting:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = Draws().to(device_of(cuda))
        optimizer = getattr(torch.optim, name)(network.parameters(), lr=0.01)
        take = whole_steps(eager_steps(Objective(network, 0.1), optimizer), optimizer, network)
        found.append([take(block, [0.01] * STEPS)[:2], numbers_of(network)])
        if name == "SGD":
            # the steps up to a loss that is not finite are taken again
            *_, diverged = take(block, [math.nan] * STEPS)
            assert diverged is not None
    return found


def grouped(cuda: bool, text: Path, directory: Path, *overrides: str) -> Figures:
    """Train two members at once, by a config as the vectorised launcher composes it."""
    plan = f"trainer.max_steps={STEPS} val_every=2 checkpoint_every=3 steps_per_execution=2 watch=none num_samples=1"
    given = [*plan.split(), "mixture=false", "logger.tensorboard=null", "data=text", f"data.path={text}"]
    members = []
    for seed in (0, 1):
        run_dir = directory / str(seed)
        run_dir.mkdir()
        with composing():
            accelerator = f"trainer.accelerator={'gpu' if cuda else 'cpu'}"
            config = compose("train", [*given, accelerator, f"seed={seed}", *overrides])
        OmegaConf.set_struct(config, False)
        members.append(Member(assemble(config, run_dir, members[0].parts if members else None), seed))
    assert most_members(members[0], device_of(cuda), processes=1) > 1
    train_group(members, len(members))
    assert [member.error for member in members] == [None, None]
    return [[member.val_nll, *numbers_of(member.model)] for member in members]


@exercise
def a_group_over_windows(cuda: bool, text: Path, directory: Path) -> Figures:
    given = ("model=mlp", "model.hidden_dim=8", "model.batch_norm=true", "data.batch_size=4", "model.l2=0.1")
    return grouped(cuda, text, directory, *given, "optimizer.clip_norm=1", "optimizer.ema_decay=0.9")


@exercise
def a_group_over_lines(cuda: bool, text: Path, directory: Path) -> Figures:
    return grouped(cuda, text, directory, "model=bow", "model.hidden_dim=8", "model.dropout=0.1", "data.batch_size=4")


@exercise
def a_group_over_a_whole_split(cuda: bool, text: Path, directory: Path) -> Figures:
    given = ("model=bigram", "data.batch_size=null", "optimizer=sgd", "optimizer.momentum=0.9", "model.l2=0.1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda function, **_: function)
        return grouped(cuda, text, directory, *given, "compile=true")


# --- what is compared


def flat(figures: Any) -> Iterator[Any]:
    if isinstance(figures, list | tuple):
        for each in figures:
            yield from flat(each)
    else:
        yield figures


def run(name: str, cuda: bool, text: Path, directory: Path) -> list[Any]:
    directory.mkdir()
    return list(flat(EXERCISES[name](cuda, text, directory)))


# --- whether that is all there is

WINGS = ("data", "models", "inference", "training", "runs", "sweeps.vectorized")
# functions of theirs that no exercise calls, by module or by name in it, and why
_ON_THE_CPU = "a model that is loaded from a checkpoint is on the CPU"
_NO_TENSORS = "computes nothing on the device: the text, configs, processes, the terminal"
LEFT_OUT: dict[str, str] = {
    "data.batches.FullBatches.steps": "slices of its tensors, as those of Minibatches are",
    "data.batches.PackedBatches.steps": "slices of its tensors, as those of Minibatches are",
    "data.corpus": _NO_TENSORS,
    "data.splits": _NO_TENSORS,
    "data.windows.padded": _NO_TENSORS,
    "inference.continuations": _ON_THE_CPU,
    "inference.diagnosis": _ON_THE_CPU,
    "inference.exported": _ON_THE_CPU,
    "inference.mixing": _ON_THE_CPU,
    "inference.sampling.unseen": _NO_TENSORS,
    "inference.scoring.WordScore": _NO_TENSORS,
    "inference.scoring.print_scores": _NO_TENSORS,
    "inference.scoring.read_words": _NO_TENSORS,
    "inference.scoring.score": _ON_THE_CPU,
    "inference.trained_model.TrainedModel": _ON_THE_CPU,
    "models.network.Counted.count": "that of the base",
    "models.network.Counted.most_common": "that of the base",
    "models.network.Network.embedding": "that of the base",
    "models.network.register": _NO_TENSORS,
    "models.sequence.EmbeddedSequenceNetwork.embedding": "a parameter, as that of the MLP is",
    "models.wavenet.WaveNet.embedding": "a parameter, as that of the MLP is",
    "runs.assemble.check": _NO_TENSORS,
    "runs.callbacks": _ON_THE_CPU,
    "sweeps.vectorized.composing": _NO_TENSORS,
    "sweeps.vectorized.memory.keep_freed_memory": _NO_TENSORS,
    "sweeps.vectorized.workers": _NO_TENSORS,
    "training.aten": "XLA was tried on CPUs alone",
    "training.compiling.automatic": _NO_TENSORS,
    "training.language_model.LanguageModel.block_size": _NO_TENSORS,
    "training.language_model.LanguageModel.forward": "calls the network",
    "training.language_model.LanguageModel.load_from_checkpoint": _ON_THE_CPU,
    "training.module_loading": _ON_THE_CPU,
    "training.xla": "XLA was tried on CPUs alone",
}


def code_of(value: Any) -> CodeType | None:
    """Return the code of a function, a method or a property as it was written."""
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    if isinstance(value, cached_property):
        value = value.func
    return getattr(inspect.unwrap(value), "__code__", None) if callable(value) else None


def public_functions() -> dict[str, CodeType]:
    """Return the code of the public functions and methods of all modules with tensors, by name."""
    found = {}
    for wing in WINGS:
        package = importlib.import_module(f"makemore.{wing}")
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            if not {"torch", "Tensor"} & vars(module).keys():
                continue
            owners: list[Any] = [module, *(each for each in vars(module).values() if inspect.isclass(each))]
            for owner in owners:
                for name, value in vars(owner).items():
                    code = code_of(value)
                    abstract = getattr(value, "__isabstractmethod__", False)
                    ours = code is not None and code.co_filename == module.__file__
                    if ours and not abstract and not name.startswith("_"):
                        found[f"{info.name.removeprefix('makemore.')}.{code.co_qualname}"] = code
    return found


def left_out(name: str) -> bool:
    return any(name == key or name.startswith(f"{key}.") for key in LEFT_OUT)


def test_every_model_is_exercised() -> None:
    assert MODELS.keys() | {"mixture"} == set(architectures())


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{a}{b}{a}\n" for a in "abc" for b in "defgh"))
    return path


# attention and recurrent layers have other kernels on the CPU
def alike(figures: list[Any]) -> list[Any]:
    return [pytest.approx(figure, rel=1e-3, abs=1e-5) for figure in figures]


@pytest.mark.parametrize("name", ["mlp is trained", "bow is trained", "steps_are_taken_as_if_compiled"])
def test_it_runs_on_a_device_as_it_does_on_the_cpu(name: str, text: Path, tmp_path: Path) -> None:
    expected = run(name, False, text, tmp_path / "cpu")
    with pretended_cuda():
        found = run(name, True, text, tmp_path / "cuda")
    assert found == alike(expected)


# in short: the test above
@pytest.mark.slow
def test_all_runs_on_a_device_as_it_does_on_the_cpu(text: Path, tmp_path: Path) -> None:
    called: set[CodeType] = set()

    def remember(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            called.add(frame.f_code)

    for name in EXERCISES:
        expected = run(name, False, text, tmp_path / f"{name} cpu")
        with pretended_cuda():
            sys.setprofile(remember)
            try:
                found = run(name, True, text, tmp_path / f"{name} cuda")
            finally:
                sys.setprofile(None)
        assert found == alike(expected), name
    functions = public_functions()
    missed = {name for name, code in functions.items() if code not in called}
    assert {name for name in missed if not left_out(name)} == set()
    # and nothing is left out that runs, or is gone
    assert {key for key in LEFT_OUT if not any(name == key or name.startswith(f"{key}.") for name in missed)} == set()
