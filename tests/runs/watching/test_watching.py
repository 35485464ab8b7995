"""Checks what TensorBoard shows of a run, and that looking at it changes nothing."""

import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import fitting
import pytest
import torch
from google.protobuf import text_format
from hydra import compose
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from torch.nn.functional import cross_entropy

from makemore.data.datamodule import TextDataModule
from makemore.errors import UserError
from makemore.inference.sampling import sample
from makemore.runs.assemble import assemble
from makemore.runs.saved_config import saved_config_of
from makemore.runs.saving import Checkpoints
from makemore.runs.watching.dashboards import CHARTS, Charts, Config, Embedding, Graph, Names
from makemore.runs.watching.health import Activations, Gradients, Speed, Weights
from makemore.runs.watching.watcher import RunState, SampledNames, Watcher, Watchers
from makemore.system.hydra_release import composing
from makemore.training.language_model import LanguageModel
from makemore.training.loggers import TensorBoard
from makemore.training.module import CountingLanguageModel, NeuralLanguageModel
from makemore.training.nll_curves import Baselines, NllCurves

ROOT = Path(__file__).resolve().parents[3]
CONFIG = "seed: 9\nmodel:\n  l2: 0.1\n"


def data_of(text: Path, **options: Any) -> TextDataModule:
    return TextDataModule(str(text), **({"batch_size": 8, "val_every": 5, "checkpoint_every": 4} | options))


def mlp(data: TextDataModule, optimizer: Any = None, l2: float = 0.1) -> NeuralLanguageModel:
    optimizer = optimizer or partial(torch.optim.SGD, lr=0.5)
    return NeuralLanguageModel("mlp", data.corpus.vocabulary, optimizer, None, l2, hidden_dim=16)


def fit(
    directory: Path, model: LanguageModel, data: TextDataModule, steps: int, *watchers: Watcher, **more: Any
) -> Watchers:
    watching = Watchers(watchers, SampledNames(3, seed=9))
    saved_config_of(directory).parent.mkdir(parents=True, exist_ok=True)
    saved_config_of(directory).write_text(CONFIG)
    callbacks = [watching, *more.get("callbacks", [])]
    fitting.fit(model, data, steps, *callbacks, directory=directory, loggers=[TensorBoard(directory)])
    return watching


def events(directory: Path) -> Any:
    return EventAccumulator(str(directory), {"tensors": 0, "scalars": 0, "histograms": 0, "images": 0}).Reload()


class Steps(Watcher):
    """Remembers the steps that it looked at, and the one to come there."""

    def __init__(self, every: int | None = None) -> None:
        super().__init__(every)
        self.states: list[RunState] = []

    def observe(self, state: RunState) -> None:
        self.states.append(state)

    @property
    def steps(self) -> list[int]:
        return [state.step for state in self.states]


class SparseSteps(Steps):
    """Looks less and less often."""

    sparse = True


@settings(max_examples=10)
@given(every=st.integers(1, 9), block=st.integers(1, 9), steps=st.integers(1, 20))
def test_one_looks_before_the_first_step_at_multiples_and_at_the_end(
    text: Path, tmp_path_factory: pytest.TempPathFactory, every: int, block: int, steps: int
) -> None:
    watcher, once, sparse = Steps(every), Steps(), SparseSteps(every)
    data = data_of(text, steps_per_execution=block)
    fit(tmp_path_factory.mktemp("run"), mlp(data), data, steps, watcher, once, sparse)
    assert watcher.steps == sorted({*range(0, steps, every), steps})
    assert once.steps == [0]
    assert sparse.steps == sorted({0, *(every * times for times in (4, 8, 16) if every * times < steps), steps})
    # with the step to come, but for the last
    coming = [None if state.next is None else state.next.block.first_step for state in watcher.states]
    assert coming == [*watcher.steps[:-1], None]


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW, partial(torch.optim.SGD, momentum=0.9)])
@pytest.mark.parametrize("batch_size", [8, None])
def test_looking_changes_nothing(text: Path, tmp_path: Path, optimizer: Any, batch_size: int | None) -> None:
    watchers = [
        Names(5),
        Speed(3),
        Gradients(2),
        Weights(3),
        Activations(4),
        Embedding(5),
        Graph(),
        Config(),
        Charts(),
    ]
    found = []
    for name, chosen in (("plain", []), ("watched", watchers)):
        data = data_of(text, batch_size=batch_size, steps_per_execution=4)
        model = mlp(data, partial(optimizer, lr=0.1))
        checkpoints = Checkpoints(every=4)
        fit(tmp_path / name, model, data, 11, *chosen, callbacks=[checkpoints])
        state = torch.load(tmp_path / name / "checkpoints" / "step-00000011.ckpt", weights_only=True)
        found.append((state["state_dict"], state["optimizer_states"], events(tmp_path / name).Scalars("val/nll")[-1]))
    (plain, plain_state, plain_nll), (watched, watched_state, watched_nll) = found
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    torch.testing.assert_close(watched_state, plain_state, rtol=0, atol=0)
    assert (watched_nll.step, watched_nll.value) == (plain_nll.step, plain_nll.value)


@pytest.mark.slow
def test_looking_changes_nothing_of_compiled_steps(
    text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = []
    for name, chosen in (("plain", []), ("watched", [Gradients(2)])):
        # blocks of one step: what ten unrolled ones are takes several times as long to compile
        data = data_of(text, steps_per_execution=1)
        optimizer = partial(torch.optim.AdamW, lr=0.1, fused=True)
        model = NeuralLanguageModel("bigram", data.corpus.vocabulary, optimizer, compile=True)
        fit(tmp_path / name, model, data, 5, *chosen, callbacks=[Checkpoints(every=4)])
        state = torch.load(tmp_path / name / "checkpoints" / "step-00000005.ckpt", weights_only=True)
        found.append((state["state_dict"], state["optimizer_states"]))
    # nothing says that the steps were eager after all
    assert not [record for record in caplog.records if record.name == "makemore.training.inductor"]
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    updates = events(tmp_path / "watched").Scalars("update_to_weight/W")
    assert [event.step for event in updates] == [0, 2, 4]
    assert all(event.value > 0 for event in updates)


def test_ratios_of_gradient_and_update_are_those_of_the_step_to_come(text: Path, tmp_path: Path) -> None:
    data = data_of(text)
    model = mlp(data, partial(torch.optim.SGD, lr=0.05))
    weights = {name: weight.detach().clone() for name, weight in model.network.named_parameters()}
    watcher = Steps(1)
    fit(tmp_path, model, data, 1, Gradients(1), watcher)
    assert watcher.states[0].next is not None
    contexts, targets = (tensor[0] for tensor in watcher.states[0].next.block.stacked())
    fresh = mlp(data).network
    squares = sum(weight.square().sum() for weight in fresh.parameters() if weight.ndim > 1)
    entries = sum(weight.numel() for weight in fresh.parameters() if weight.ndim > 1)
    (cross_entropy(fresh(contexts), targets) + 0.1 * squares / entries).backward()
    shown = events(tmp_path)
    of_matrices = []
    for name, weight in fresh.named_parameters():
        assert torch.equal(weight, weights[name])
        tags = [f"{what}_to_weight/{name}" for what in ("gradient", "update")]
        if weight.norm() == 0:
            assert not set(tags) & set(shown.Tags()["scalars"])
            continue
        assert weight.grad is not None
        ratio = float(weight.grad.norm() / weight.detach().norm())
        (gradient,), (update,) = (shown.Scalars(tag) for tag in tags)
        assert gradient.value == pytest.approx(ratio, rel=1e-5)
        # plain SGD at rate 0.05
        assert update.value == pytest.approx(0.05 * ratio, rel=1e-4)
        of_matrices += [0.05 * ratio] if weight.ndim > 1 else []
    assert len(of_matrices) == 3
    for name, ratio in zip(("smallest", "median", "largest"), sorted(of_matrices), strict=True):
        (point,) = shown.Scalars(f"log10_update/{name}")
        assert point.value == pytest.approx(math.log10(ratio), abs=1e-4)


@pytest.fixture
def hundred_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a run of a user; see tests/shortcuts.py."""
    monkeypatch.setattr("makemore.runs.watching.dashboards._FOR_SHARES", 100)


@pytest.mark.usefixtures("hundred_names")
def test_names_are_texts_of_some_looks_and_the_end_with_their_shares(text: Path, tmp_path: Path) -> None:
    data = data_of(text)
    model = mlp(data)
    watching = fit(tmp_path, model, data, 18, Names(1))
    shown = events(tmp_path)
    texts = shown.Tensors("samples/text_summary")
    assert [event.step for event in texts] == [4, 8, 16, 18]
    assert [event.step for event in shown.Scalars("samples/unseen")] == [4, 8, 16, 18]
    names = sample(model.network, model.vocabulary, 3, seed=9)
    last = texts[-1].tensor_proto.string_val[0].decode()
    assert [line.strip() for line in last.split("\n")] == names
    assert texts[0].tensor_proto.string_val[0].decode() != last
    # it does not sample again
    assert watching.names.at(18, model.network, None) == names  # type: ignore[arg-type]
    lines = set(text.read_text().splitlines())
    # of three the share would be a third, or two
    hundred = sample(model.network, model.vocabulary, 100, seed=9)
    unseen = sum(name not in lines for name in hundred) / 100
    assert shown.Scalars("samples/unseen")[-1].value == pytest.approx(unseen)
    assert shown.Scalars("samples/repeated")[-1].value == pytest.approx(1 - len(set(hundred)) / 100)
    for name, value in (("none", 0), ("all", 1)):
        points = [(event.step, event.value) for event in shown.Scalars(f"samples/{name}")]
        assert points == [(4, value), (8, value), (16, value), (18, value)]


@pytest.mark.usefixtures("hundred_names")
@pytest.mark.parametrize(("bias", "is_truncated"), [(0.0, False), (-20.0, True)])
def test_the_names_are_the_first_of_the_hundred_unless_these_are_truncated(
    bias: float, is_truncated: bool, text: Path, tmp_path: Path
) -> None:
    data = data_of(text)
    model = mlp(data, partial(torch.optim.SGD, lr=0.0))
    with torch.no_grad():
        # how likely the end of a name is
        model.network.b2[model.vocabulary.end] = bias  # type: ignore[union-attr, index, operator]
    fit(tmp_path, model, data, 1, Names(1))
    (shown,) = events(tmp_path).Tensors("samples/text_summary")
    names = [line.strip() for line in shown.tensor_proto.string_val[0].decode().split("\n")]
    assert names == sample(model.network, model.vocabulary, 3, seed=9)
    assert (max(map(len, names)) == 1000) == is_truncated


@pytest.mark.usefixtures("hundred_names")
def test_a_model_that_knows_the_text_by_heart_makes_up_nothing_new(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("anna\n" * 5)
    data = data_of(path, splits=(1, 0, 0), batch_size=None)
    model = CountingLanguageModel("ngram", data.corpus.vocabulary, order=5)
    fit(tmp_path / "run", model, data, 1, Names(1), Weights(1), Activations(1), Gradients(1), Graph())
    shown = events(tmp_path / "run")
    assert shown.Scalars("samples/unseen")[-1].value == 0
    assert shown.Scalars("samples/repeated")[-1].value == pytest.approx(0.99)
    # nothing of it is learnt by gradient descent
    assert not shown.Tags()["graph"]


def test_weights_and_activations_are_histograms_with_the_share_saturated(text: Path, tmp_path: Path) -> None:
    data = data_of(text)
    model = mlp(data, partial(torch.optim.SGD, lr=0.0))
    with torch.no_grad():
        model.network.W1.zero_()  # type: ignore[union-attr]
        # tanh of 10 is 1, of 0.1 is 0.1: 4 units of 16 are saturated
        model.network.b1.fill_(0.1)[:4] = 10.0  # type: ignore[union-attr, index]
    fit(tmp_path, model, data, 3, Weights(2), Activations(2))
    shown = events(tmp_path)
    tags = shown.Tags()
    assert {"weights/C", "weights/W1", "weights/b1", "weights/W2", "weights/b2", "activations/hidden"} <= {
        *tags["histograms"],
        *tags["tensors"],
    }
    assert [event.step for event in shown.Histograms("weights/W1")] == [0, 2, 3]
    histogram = shown.Histograms("weights/b1")[0].histogram_value
    assert (histogram.num, histogram.min, histogram.max) == (16, pytest.approx(0.1), 10.0)
    for name, value in (("hidden", 0.25), ("none", 0), ("all", 1)):
        assert [event.value for event in shown.Scalars(f"saturated/{name}")] == [value] * 2


@pytest.mark.parametrize(
    ("init", "says"), [("scaled", "{} with `model=mlp`"), ("normal", "{} with `model.init=normal`")]
)
def test_the_page_says_how_saturated_the_mlp_is_at_first(init: str, says: str, tmp_path: Path) -> None:
    data = TextDataModule(str(ROOT / "data" / "names.txt"))
    shape = {"block_size": 4, "embedding_dim": 16, "hidden_dim": 200, "init": init}
    model = NeuralLanguageModel("mlp", data.corpus.vocabulary, partial(torch.optim.SGD, lr=0.0), None, **shape)
    fit(tmp_path, model, data, 1, Activations())
    (share,) = (event.value for event in events(tmp_path).Scalars("saturated/hidden"))
    assert says.format(f"{share:.2f}") in (ROOT / "docs" / "watching.md").read_text()


@pytest.mark.parametrize(
    ("architecture", "arguments", "layers"),
    [
        ("mlp", {"num_layers": 3, "batch_norm": True}, {f"hidden{layer}" for layer in (1, 2, 3)}),
        ("wavenet", {"block_size": 4}, {"levels.0.tanh", "levels.1.tanh"}),
    ],
)
def test_every_layer_is_shown(
    text: Path, tmp_path: Path, architecture: str, arguments: dict[str, Any], layers: set[str]
) -> None:
    data = data_of(text)
    optimizer = partial(torch.optim.SGD, lr=0.1)
    model = NeuralLanguageModel(architecture, data.corpus.vocabulary, optimizer, hidden_dim=8, **arguments)
    fit(tmp_path, model, data, 4, Gradients(1), Weights(2), Activations(2), Graph())
    tags = events(tmp_path).Tags()
    parameters = {name for name, _ in model.network.named_parameters()}
    # batch norm has its gains and biases there too
    assert any("norm" in name for name in parameters)
    for what, expected in (
        ("gradient_to_weight", parameters),
        ("update_to_weight", parameters),
        ("saturated", layers | {"none", "all"}),
        ("weights", parameters),
        ("activations", layers),
    ):
        found = {
            tag.partition("/")[2] for tag in (*tags["scalars"], *tags["histograms"]) if tag.startswith(f"{what}/")
        }
        assert found == expected
    assert tags["graph"]


def test_the_embedding_is_in_the_projector_with_its_characters(text: Path, tmp_path: Path) -> None:
    data = data_of(text)
    model = mlp(data)
    fit(tmp_path, model, data, 7, Embedding(4))
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig())
    assert [each.tensor_name for each in config.embeddings] == [
        "embedding",
        "embedding-00000004",
        "embedding-00000000",
    ]
    newest = config.embeddings[0]
    vectors = [list(map(float, row.split("\t"))) for row in (tmp_path / newest.tensor_path).read_text().splitlines()]
    assert model.network.embedding is not None
    assert torch.equal(torch.tensor(vectors), model.network.embedding)
    assert (tmp_path / newest.metadata_path).read_text().splitlines() == model.vocabulary.labels
    # a run that goes on from an earlier step leaves nothing of the later ones
    fit(tmp_path, mlp(data), data_of(text), 3, Embedding(4))
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig())
    assert [each.tensor_name for each in config.embeddings] == ["embedding", "embedding-00000000"]
    assert config.embeddings[0].tensor_path == "projector/embedding-00000003.tsv"


def test_labels_have_a_line_each(tmp_path: Path) -> None:
    path = tmp_path / "spaces.txt"
    path.write_text("a b\nab\u2028c\n" * 5, encoding="utf-8")
    data = data_of(path, splits=(1, 0, 0))
    fit(tmp_path / "run", mlp(data), data, 1, Embedding(1))
    labels = (tmp_path / "run" / "projector" / "labels.tsv").read_text(encoding="utf-8").split("\n")
    assert labels == [".", "' '", "a", "b", "c", r"'\u2028'", ""]


def test_graph_config_and_charts_are_there_once(text: Path, tmp_path: Path) -> None:
    data = data_of(text)
    fit(tmp_path, mlp(data), data, 7, Graph(), Config(), Charts())
    shown = events(tmp_path)
    operators = {node.op for node in shown.Graph().node}
    assert {"aten::tanh", "aten::addmm"} <= operators
    (config,) = shown.Tensors("config/text_summary")
    lines = config.tensor_proto.string_val[0].decode().splitlines()
    assert "".join(f"{line[4:]}\n" for line in lines) == CONFIG
    (layout,) = shown.Tensors("custom_scalars__config__")
    categories = Layout.FromString(layout.tensor_proto.string_val[0]).category
    assert [category.title for category in categories] == list(CHARTS)
    shown_tags = [series.value for series in categories[0].chart[-1].margin.series]
    lines = ["nll/counting alone", "nll/counting, on training", "nll/knowing nothing"]
    assert shown_tags == ["nll/training", "nll/validation", *lines]


def test_a_run_without_a_config_of_its_own_shows_none(text: Path, tmp_path: Path) -> None:
    data = data_of(text)
    state = RunState(0, mlp(data), data, tmp_path, SampledNames(1, 0), [TensorBoard(tmp_path)])
    Config().observe(state)
    state.loggers[0].save()
    assert events(tmp_path).Tags()["tensors"] == []


def test_speed_is_steps_over_the_time_between_two_looks(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(0, 1000, 2))
    monkeypatch.setattr("makemore.runs.watching.health.time.perf_counter", lambda: next(times))
    speed, data, logger = Speed(4), data_of(text), TensorBoard(tmp_path)
    for step in (0, 4, 4, 7):
        speed.observe(RunState(step, mlp(data), data, tmp_path, SampledNames(1, 0), [logger]))
    logger.save()
    shown = events(tmp_path).Scalars("speed/steps_per_second")
    assert [(event.step, event.value) for event in shown] == [(4, 2.0), (7, 1.5)]


def composed(text: Path, **values: Any) -> DictConfig:
    """Return the config of an MLP on a text with other values at the top, `watch` among them."""
    with composing():
        config = compose("train", ["model=mlp", "data=text", f"data.path={text}"])
    return OmegaConf.create({key: value for key, value in config.items() if key != "watch"} | values)


def test_each_is_switched_off_by_null_and_an_old_run_has_none(text: Path, tmp_path: Path) -> None:
    group = {"_target_": "makemore.runs.watching.health.Speed", "every": 7}
    watching = assemble(composed(text, watch={"a": group, "b": None}), tmp_path).watchers
    assert watching.intervals == [7]
    assert assemble(composed(text), tmp_path).watchers.watchers == []


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"_target_": "makemore.runs.watching.health.Speed", "every": 0}, "watch: every of Speed must be"),
        ({"_target_": "torch.nn.Identity"}, "watch: each must be a watcher"),
    ],
)
def test_what_is_no_watcher_is_named(what: dict[str, Any], message: str, text: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        assemble(composed(text, watch={"a": what}), tmp_path)


@pytest.mark.parametrize("architecture", ["mlp", "lstm", "ngram"])
def test_a_run_has_the_charts_that_it_has_curves_for(architecture: str, text: Path, tmp_path: Path) -> None:
    splits = (0.5, 0.5, 0) if architecture == "mlp" else (1, 0, 0)
    data = data_of(text, splits=splits)
    model: LanguageModel = mlp(data)
    if architecture == "lstm":
        optimizer = partial(torch.optim.SGD, lr=0.1)
        model = NeuralLanguageModel("lstm", data.corpus.vocabulary, optimizer, hidden_dim=4)
    if architecture == "ngram":
        data.batch_size = None
        model = CountingLanguageModel("ngram", data.corpus.vocabulary, order=2)
    board = TensorBoard(tmp_path)
    counting = math.log(3) if architecture == "mlp" else None
    board.curves = NllCurves(Baselines(counting, 0.5, math.inf, 7, data.val_every))
    watching = Watchers([Names(5), Speed(3), Gradients(2), Activations(4), Charts()], SampledNames(3, seed=9))
    steps = 1 if architecture == "ngram" else 7
    fitting.fit(model, data, steps, watching, directory=tmp_path, loggers=[board])
    shown = events(tmp_path)
    # that of pairs is of the jobs of sweeps
    tags = {*shown.Tags()["scalars"], "nll/knowing nothing", "later_nll/counting pairs"}
    (layout,) = shown.Tensors("custom_scalars__config__")
    charts = [
        chart for category in Layout.FromString(layout.tensor_proto.string_val[0]).category for chart in category.chart
    ]
    for chart in charts:
        patterns = [*chart.multiline.tag, *(re.escape(series.value) for series in chart.margin.series)]
        found = [pattern for pattern in patterns if any(re.fullmatch(pattern, tag) for tag in tags)]
        assert found == patterns if architecture == "mlp" else architecture == "ngram" or found, chart.title
    titles = {chart.title for chart in charts}
    assert ("size of updates to that of weights, log10" in titles) == (architecture != "ngram")
    assert ("share of tanh units saturated" in titles) == (architecture == "mlp")
    assert ("NLL of its later part, closer" in titles) == (architecture == "mlp")
    assert ("learning rate" in titles) == (architecture != "ngram")
