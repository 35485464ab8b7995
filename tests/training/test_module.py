"""Checks training: the lessons' loss traces, a plain loop over the same draws, blocks, seeds, steps and rows."""

import csv
import math
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fitting
import lightning as L
import pytest
import torch
import torch.nn.functional as F
from hydra import compose
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig
from torch import Tensor

from makemore.data.batches import replacement_rows
from makemore.data.datamodule import TextDataModule
from makemore.errors import UserError
from makemore.inference.likelihood import exact_nll
from makemore.inference.sampling import sample
from makemore.inference.trained_model import load
from makemore.models.network import build
from makemore.runs.saving import Checkpoints
from makemore.runs.train import train
from makemore.system.hydra_release import composing
from makemore.training.language_model import LanguageModel
from makemore.training.module import CountingLanguageModel, NeuralLanguageModel
from makemore.training.schedules import exponential_ramp, step_decay
from makemore.training.steps import Objective

LESSON_SEED = 2147483647
NAMES = Path(__file__).parents[2] / "data" / "names.txt"

L1_LOSSES = [
    3.768618583679199,
    3.3788068294525146,
    3.161090850830078,
    3.0271859169006348,
    2.9344840049743652,
    2.867231607437134,
    2.8166542053222656,
    2.777146577835083,
    2.745253801345825,
    2.7188305854797363,
    2.696505308151245,
    2.6773719787597656,
    2.6608052253723145,
    2.6463515758514404,
    2.633665084838867,
    2.622471570968628,
    2.6125476360321045,
    2.6037068367004395,
    2.595794916152954,
    2.5886807441711426,
    2.5822560787200928,
    2.576429843902588,
    2.5711236000061035,
    2.566272735595703,
    2.5618226528167725,
    2.5577261447906494,
    2.5539445877075195,
    2.550442695617676,
    2.547192335128784,
    2.5441696643829346,
    2.5413522720336914,
    2.538722038269043,
    2.536262035369873,
    2.5339579582214355,
    2.531797409057617,
    2.529768228530884,
    2.527860164642334,
    2.5260636806488037,
    2.5243704319000244,
    2.522773265838623,
    2.52126407623291,
    2.519836664199829,
    2.5184857845306396,
    2.5172054767608643,
    2.515990734100342,
    2.5148372650146484,
    2.5137410163879395,
    2.512697696685791,
    2.511704921722412,
    2.5107579231262207,
    2.509855031967163,
    2.5089924335479736,
    2.5081686973571777,
    2.507380247116089,
]

L4_LOSSES = [
    3.758953332901001,
    3.371100664138794,
    3.154043197631836,
    3.020373821258545,
    2.927711248397827,
    2.8604021072387695,
    2.8097290992736816,
    2.7701022624969482,
    2.7380728721618652,
    2.711496591567993,
    2.6890032291412354,
    2.6696884632110596,
    2.65293025970459,
    2.638277292251587,
    2.6253881454467773,
    2.613990545272827,
    2.60386323928833,
    2.5948216915130615,
    2.5867116451263428,
    2.579403877258301,
    2.572789192199707,
    2.5667760372161865,
    2.5612881183624268,
    2.5562589168548584,
    2.551633596420288,
    2.547365665435791,
    2.5434155464172363,
    2.5397486686706543,
    2.5363364219665527,
    2.5331544876098633,
    2.5301806926727295,
    2.5273966789245605,
    2.5247862339019775,
    2.522334575653076,
    2.520029067993164,
    2.517857789993286,
    2.515810489654541,
    2.513878345489502,
    2.512051820755005,
    2.510324001312256,
    2.5086867809295654,
    2.5071349143981934,
    2.5056610107421875,
    2.5042612552642822,
    2.5029289722442627,
    2.5016608238220215,
    2.5004520416259766,
    2.4992988109588623,
    2.498197317123413,
    2.497144937515259,
    2.496137857437134,
    2.495173215866089,
    2.4942493438720703,
    2.49336314201355,
]

MLP_LOSSES = [
    17.769712448120117,
    13.656402587890625,
    11.298768997192383,
    9.452457427978516,
    7.984262466430664,
    6.891321182250977,
    6.1000142097473145,
    5.452036380767822,
    4.8981523513793945,
    4.414663791656494,
]

Rows = dict[int, dict[str, float]]


class Recorder(Logger):
    """Keeps the rows that it is given, by step."""

    name = "recorder"
    version = ""

    def __init__(self) -> None:
        super().__init__()
        self.rows: Rows = {}

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        row = self.rows.setdefault(step, {})
        assert not row.keys() & metrics.keys(), "logged twice"
        row |= metrics

    def column(self, name: str) -> dict[int, float]:
        return {step: row[name] for step, row in self.rows.items() if name in row}


def fit(
    model: LanguageModel,
    data: TextDataModule,
    max_steps: int,
    *callbacks: L.Callback,
    recorder: Recorder | None = None,
) -> Recorder:
    recorder = recorder or Recorder()
    fitting.fit(model, data, max_steps, *callbacks, loggers=[recorder])
    return recorder


def sgd(lr: float, momentum: float = 0.0) -> Callable[..., torch.optim.Optimizer]:
    return partial(torch.optim.SGD, lr=lr, momentum=momentum, fused=True)


def adamw(lr: float) -> Callable[..., torch.optim.Optimizer]:
    return partial(torch.optim.AdamW, lr=lr, fused=True)


def bigram(data: TextDataModule, lr: float = 50.0, **arguments: Any) -> NeuralLanguageModel:
    arguments = {"seed": LESSON_SEED, "init": "normal", "log_every": 1} | arguments
    return NeuralLanguageModel("bigram", data.corpus.vocabulary, sgd(lr), **arguments)


def mlp(data: TextDataModule, **arguments: Any) -> NeuralLanguageModel:
    arguments = {"optimizer": sgd(0.1), "block_size": 3, "embedding_dim": 2, "hidden_dim": 10} | arguments
    return NeuralLanguageModel("mlp", data.corpus.vocabulary, **arguments)


def weights(model: LanguageModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def identical(one: LanguageModel, other: LanguageModel) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 300 names."""
    path = tmp_path_factory.mktemp("text") / "names.txt"
    path.write_text("\n".join(NAMES.read_text().split("\n")[:300]) + "\n")
    return path


def corpus_of(text: Path, **options: Any) -> TextDataModule:
    return TextDataModule(str(text), **({"batch_size": 8, "val_every": 10} | options))


def whole(text: Path, **options: Any) -> TextDataModule:
    """All of a text in one batch, as in the bigram lessons."""
    options = {"steps_per_execution": 100, "val_every": 1000} | options
    return TextDataModule(str(text), splits=(1, 0, 0), batch_size=None, **options)


def config(text: Path, *overrides: str) -> DictConfig:
    """Compose a run of a small MLP on a text."""
    with composing():
        return compose("train", ["data=text", f"data.path={text}", "model=mlp", "model.hidden_dim=5", *overrides])


# --- the lessons


def test_l1s_trace_with_its_penalty(lesson_text: Path) -> None:
    data = whole(lesson_text)
    losses = fit(bigram(data, l2=0.01), data, 54).column("train/loss")
    assert list(losses) == list(range(54))
    assert list(losses.values()) == pytest.approx(L1_LOSSES, abs=1e-5)


def test_l4s_trace_and_its_names_after_500_steps(lesson_text: Path) -> None:
    data = whole(lesson_text)
    model = bigram(data)
    losses = fit(model, data, 500).column("train/loss")
    assert [losses[step] for step in range(54)] == pytest.approx(L4_LOSSES, abs=1e-5)
    names = sample(model.network, model.vocabulary, 5, LESSON_SEED)
    assert names == ["mor", "axx", "minaymoryles", "kondlaisah", "anchshizarie"]


def test_loss_of_the_first_word_emma() -> None:
    data = whole(NAMES, max_lines=1)
    assert data.corpus.size("train") == 5
    rows = fit(bigram(data), data, 1).rows
    assert rows[0]["train/nll"] == pytest.approx(3.7693049907684326, abs=1e-6)


def test_l2s_ten_steps_on_the_first_five_words() -> None:
    data = whole(NAMES, max_lines=5)
    assert data.corpus.size("train") == 32
    assert data.corpus.vocabulary.size == 27
    model = mlp(data, hidden_dim=100, init="normal", seed=LESSON_SEED, log_every=1)
    losses = fit(model, data, 10).column("train/loss")
    assert list(losses.values()) == pytest.approx(MLP_LOSSES, abs=1e-4)


def test_counting_gives_the_lessons_whole_file_nll_in_one_step(lesson_text: Path) -> None:
    data = whole(lesson_text)
    model = CountingLanguageModel("ngram", data.corpus.vocabulary)
    recorder = fit(model, data, 1)
    assert model.global_step == 1
    before = pytest.approx(math.log(27))
    assert recorder.rows == {0: {"train/loss": before, "train/nll": before, "train/penalty": 0}}
    nll = exact_nll(model.network, data.corpus.windows("train", 1).counted())
    assert nll.total == pytest.approx(559873.59, abs=0.005)


# --- a plain loop over the same draws


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_rows_and_weights_are_those_of_a_plain_loop(text: Path, l2: float) -> None:
    options = {"block_size": 3, "embedding_dim": 2, "hidden_dim": 10}
    data = corpus_of(text, seed=5, steps_per_execution=7)
    schedule = step_decay([6, 11], 0.5)
    model = mlp(data, optimizer=sgd(0.4), schedule=schedule, l2=l2, seed=5, log_every=1, **options)
    rows = fit(model, data, 25).rows

    network = build("mlp", data.corpus.vocabulary.size, options, seed=5)
    train = data.corpus.windows("train", 3)
    val_contexts, val_targets = (part := data.corpus.windows("val", 3)).batch(torch.arange(len(part)))
    expected: Rows = {step: {} for step in range(25)}
    for step in range(25):
        if step in (10, 20):
            expected[step]["val/nll"] = F.cross_entropy(network(val_contexts), val_targets).item()
        lr = 0.4 * (1 if step < 6 else 0.5 if step < 11 else 0.25)
        contexts, targets = train.batch(torch.from_numpy(replacement_rows(5, step, 1, 8, len(train))[0]))
        nll = F.cross_entropy(network(contexts), targets)
        matrices = torch.cat([matrix.flatten() for matrix in (network.C, network.W1, network.W2)])
        penalty = l2 * (matrices**2).mean()
        loss = nll + penalty
        network.zero_grad()
        loss.backward()
        expected[step] |= {"train/loss": loss.item(), "train/nll": nll.item(), "train/penalty": penalty.item()}
        expected[step]["lr"] = lr
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.sub_(lr * parameter.grad)
    expected[25] = {"val/nll": F.cross_entropy(network(val_contexts), val_targets).item()}

    assert rows.keys() == expected.keys()
    for step, row in expected.items():
        assert rows[step] == pytest.approx(row, abs=2e-6), f"step {step}"
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(weights(model)[name], parameter.detach())


def test_full_batch_loss_is_the_exact_nll_of_the_training_split(text: Path) -> None:
    data = corpus_of(text, batch_size=None)
    model = mlp(data, l2=0.5, log_every=1)
    exact = exact_nll(model.network, data.corpus.windows("train", 3).counted()).nats
    row = fit(model, data, 1).rows[0]
    assert row["train/nll"] == pytest.approx(exact, rel=1e-6)
    assert row["train/loss"] == pytest.approx(exact + row["train/penalty"], rel=1e-6)
    assert row["train/penalty"] > 0.01


def test_the_penalty_is_one_mean_over_all_matrices_without_the_biases(text: Path) -> None:
    data = corpus_of(text)
    model = mlp(data, l2=0.25, init="normal")
    # 27 x 2 ones, 6 x 10 twos, 10 x 27 threes; biases that would be seen
    fills = {"C": 1.0, "W1": 2.0, "W2": 3.0, "b1": 100.0, "b2": 100.0}
    for name, parameter in model.network.named_parameters():
        parameter.data.fill_(fills[name])
    v = data.corpus.vocabulary.size
    mean = (v * 2 * 1 + 60 * 4 + 10 * v * 9) / (v * 2 + 60 + 10 * v)
    assert Objective(model.network, model.l2).penalty().item() == pytest.approx(0.25 * mean)


def test_without_l2_the_loss_is_the_nll(text: Path) -> None:
    data = corpus_of(text)
    recorder = fit(mlp(data, log_every=1), data, 3)
    assert recorder.column("train/loss") == recorder.column("train/nll")
    assert recorder.column("train/penalty") == {0: 0, 1: 0, 2: 0}


# --- blocks change speed and nothing else


@pytest.mark.parametrize("batch_size", [8, None])
@pytest.mark.parametrize("optimizer", [sgd(0.5, momentum=0.9), adamw(0.01)], ids=["sgd", "adamw"])
def test_steps_per_execution_changes_neither_weights_nor_rows(
    text: Path, optimizer: Callable[..., torch.optim.Optimizer], batch_size: int | None
) -> None:
    def run(steps_per_execution: int) -> tuple[NeuralLanguageModel, Rows]:
        data = corpus_of(
            text, batch_size=batch_size, val_every=50, checkpoint_every=35, steps_per_execution=steps_per_execution
        )
        model = mlp(data, optimizer=optimizer, schedule=step_decay([33, 71], 0.3), l2=0.01, log_every=9)
        return model, fit(model, data, 110).rows

    model, rows = run(1)
    for steps_per_execution in (7, 10, 100):
        other, other_rows = run(steps_per_execution)
        assert identical(model, other)
        assert rows == other_rows


@pytest.mark.parametrize(
    ("max_steps", "steps_per_execution", "val_every", "checkpoint_every"),
    [
        (1, 100, 10, 10),
        (25, 100, 1000, 1000),
        (25, 10, 1000, 1000),
        (25, 10, 7, 1000),
        (25, 10, 1000, 7),
        (30, 10, 10, 15),
        (31, 1, 30, 30),
    ],
)
def test_a_run_ends_at_exactly_max_steps(
    text: Path, max_steps: int, steps_per_execution: int, val_every: int, checkpoint_every: int
) -> None:
    taken: list[int] = []

    class Counter(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:
            taken.append(len(outputs["nlls"]))
            assert trainer.global_step == sum(taken)

    data = corpus_of(
        text, steps_per_execution=steps_per_execution, val_every=val_every, checkpoint_every=checkpoint_every
    )
    model = mlp(data, log_every=1)
    recorder = fit(model, data, max_steps, Counter())
    assert model.global_step == sum(taken) == max_steps
    assert max(taken) <= steps_per_execution
    boundaries = {sum(taken[:place]) for place in range(len(taken) + 1)}
    assert boundaries >= {*range(0, max_steps, val_every), *range(0, max_steps, checkpoint_every)}
    assert list(recorder.column("train/nll")) == list(range(max_steps))
    assert list(recorder.column("val/nll")) == sorted({*range(val_every, max_steps + 1, val_every), max_steps})


@pytest.mark.parametrize("log_every", [1, 4, 10, 1000])
def test_rows_are_at_multiples_of_log_every(text: Path, log_every: int) -> None:
    data = corpus_of(text, steps_per_execution=6, splits=(1, 0, 0))
    rows = fit(mlp(data, log_every=log_every), data, 25).rows
    assert list(rows) == list(range(0, 25, log_every))


def test_the_rate_of_each_step_is_that_of_the_schedule(text: Path) -> None:
    data = corpus_of(text, steps_per_execution=4)
    model = mlp(data, optimizer=sgd(2.0), schedule=exponential_ramp(-3, 0, 12), log_every=1)
    rates = fit(model, data, 12).column("lr")
    lessons = 2 * 10 ** torch.linspace(-3, 0, 12, dtype=torch.float64)
    assert list(rates.values()) == pytest.approx(lessons.tolist())


# --- seeds


def test_the_same_seed_gives_the_same_weights_whatever_the_global_generator(text: Path) -> None:
    def run(seed: int, unrelated: int) -> NeuralLanguageModel:
        torch.manual_seed(unrelated)
        data = corpus_of(text, seed=seed)
        model = mlp(data, seed=seed)
        fit(model, data, 20)
        return model

    first = run(0, unrelated=1)
    assert identical(first, run(0, unrelated=2))
    assert not identical(first, run(1, unrelated=1))


def test_the_seed_decides_the_draws_too_and_zero_is_a_seed(text: Path) -> None:
    def losses(seed: int) -> list[float]:
        data = corpus_of(text, seed=seed)
        return list(fit(mlp(data, seed=7, log_every=1), data, 5).column("train/nll").values())

    assert losses(0) == losses(0)
    assert losses(0) != losses(1)


def test_another_seed_leaves_the_split_as_it_is(text: Path) -> None:
    first, other = (corpus_of(text, seed=seed).corpus for seed in (0, 1))
    assert (first.membership == other.membership).all()
    resplit = corpus_of(text, split_seed=1).corpus
    assert (first.membership != resplit.membership).any()


# --- validation and test


def test_validation_does_not_change_the_run(text: Path) -> None:
    with_validation, without = corpus_of(text, val_every=3), corpus_of(text, val_every=1000)
    one, other = mlp(with_validation), mlp(without)
    fit(one, with_validation, 20)
    fit(other, without, 20)
    assert identical(one, other)


def test_the_last_validation_is_that_of_the_final_weights(text: Path) -> None:
    data = corpus_of(text, val_every=10)
    model = mlp(data)
    recorder = fit(model, data, 25)
    final = exact_nll(model.network, data.corpus.windows("val", 3).counted()).nats
    assert recorder.column("val/nll")[25] == pytest.approx(final, rel=1e-6)
    assert float(model.trainer.callback_metrics["val/nll"]) == pytest.approx(final, rel=1e-6)


def test_an_empty_validation_split_gives_no_warning_and_no_rows(text: Path, tmp_path: Path) -> None:
    cfg = config(text, "data.splits=[1,0,0]", "trainer.max_steps=4", "val_every=2", "log_every=1")
    result = train(cfg, tmp_path)
    assert list(result.nlls) == ["train"]
    with (tmp_path / "metrics.csv").open() as file:
        assert [(row["step"], row["val/nll"]) for row in csv.DictReader(file)] == [(str(s), "") for s in range(4)]


def test_early_stopping_sees_the_validation_nll(text: Path) -> None:
    data = corpus_of(text, val_every=5)
    model = mlp(data, optimizer=sgd(0.0))
    fit(model, data, 100, EarlyStopping("val/nll", patience=2))
    # nothing improves on the first validation
    assert model.global_step == 15


@pytest.mark.parametrize("split", ["test", "val"])
def test_the_trainers_own_evaluation_is_the_exact_nll(text: Path, split: str) -> None:
    data = corpus_of(text)
    model = mlp(data)
    recorder = Recorder()
    trainer = L.Trainer(accelerator="cpu", logger=recorder, enable_checkpointing=False, enable_progress_bar=False)
    results = (trainer.test if split == "test" else trainer.validate)(model, datamodule=data, verbose=False)
    exact = pytest.approx(exact_nll(model.network, data.corpus.windows(split, 3).counted()).nats, rel=1e-6)
    assert results == [{f"{split}/nll": exact}]
    assert recorder.rows == {0: {f"{split}/nll": exact, "epoch": 0}}
    assert float(trainer.callback_metrics[f"{split}/nll"]) == exact


# --- counting


def test_counting_may_have_an_infinite_validation_nll(text: Path) -> None:
    data = corpus_of(text, batch_size=None)
    model = CountingLanguageModel("ngram", data.corpus.vocabulary, order=5)
    assert fit(model, data, 1).column("val/nll") == {1: math.inf}


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_counting_with_fake_counts_validates_at_step_one(text: Path, order: int) -> None:
    data = corpus_of(text, batch_size=None)
    model = CountingLanguageModel("ngram", data.corpus.vocabulary, order=order, fake_count=1)
    recorder = fit(model, data, 1)
    assert list(recorder.rows) == [0, 1]
    assert recorder.rows[0]["train/nll"] == pytest.approx(math.log(data.corpus.vocabulary.size))
    exact = exact_nll(model.network, data.corpus.windows("val", max(order - 1, 0)).counted()).nats
    assert recorder.rows[1] == {"val/nll": pytest.approx(exact)}


# --- what goes wrong


def diverging(text: Path, steps_per_execution: int) -> tuple[TextDataModule, NeuralLanguageModel]:
    data = corpus_of(text, steps_per_execution=steps_per_execution, splits=(1, 0, 0))
    return data, mlp(data, optimizer=sgd(1.0), schedule=step_decay([4], 1e38), init="normal", log_every=1)


@pytest.mark.parametrize("steps_per_execution", [1, 3, 10])
def test_a_loss_that_is_not_finite_names_its_step_and_learning_rate(text: Path, steps_per_execution: int) -> None:
    data, model = diverging(text, steps_per_execution)
    # step 4 is the first with the rate of 1e38, so that step 5 is the first to see its weights
    with pytest.raises(
        UserError, match=r"^the loss is (nan|inf) at step 5, learning rate 1e\+38; lower optimizer\.lr$"
    ):
        fit(model, data, 20)


def test_an_infinite_loss_is_refused_too(text: Path) -> None:
    data = corpus_of(text)
    with pytest.raises(UserError, match=r"^the loss is inf at step 0, learning rate 0\.1;"):
        fit(mlp(data, l2=1e300), data, 3)


def test_steps_before_the_loss_that_is_not_finite_are_logged(text: Path) -> None:
    data, model = diverging(text, steps_per_execution=10)
    recorder = Recorder()
    with pytest.raises(UserError):
        fit(model, data, 20, recorder=recorder)
    assert list(recorder.rows) == [0, 1, 2, 3, 4]


# a factor of 1e38 leaves weights that overflow in the next loss, 1e200 infinite ones
@pytest.mark.parametrize("gamma", ["1e38", "1e200"])
@pytest.mark.parametrize("max_steps", [5, 6], ids=["the last update", "an update before a validation"])
def test_an_update_that_breaks_the_weights_is_a_user_error_though_no_loss_sees_it(
    text: Path, tmp_path: Path, max_steps: int, gamma: str
) -> None:
    overrides = ["optimizer=sgd", "optimizer.lr=1", "scheduler.milestones=[4]", f"scheduler.gamma={gamma}"]
    cfg = config(text, *overrides, "model.init=normal", "val_every=5", f"trainer.max_steps={max_steps}")
    with pytest.raises(UserError, match=r"lower optimizer\.lr"):
        train(cfg, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"l2": -0.1}, r"model\.l2 must be at least 0"),
        ({"l2": "1"}, r"model\.l2 must be a finite number"),
        ({"log_every": 0}, "log_every must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": None}, "seed must be a whole number"),
        ({"hidden": 3}, "model mlp takes no hidden; it takes block_size, embedding_dim, hidden_dim, init"),
    ],
)
def test_a_wrong_argument_is_a_user_error(text: Path, arguments: dict[str, Any], message: str) -> None:
    data = corpus_of(text)
    with pytest.raises(UserError, match=message):
        mlp(data, **arguments)


@pytest.mark.parametrize(
    "optimizer",
    [sgd(-1.0), partial(torch.optim.SGD, lr=0.1, momentun=0.9), partial(torch.optim.AdamW, betas=(2.0, 0.9))],
    ids=["negative lr", "unknown option", "beta above one"],
)
def test_what_the_optimiser_refuses_is_a_user_error(text: Path, optimizer: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"^optimizer: ") as caught:
        mlp(corpus_of(text), optimizer=optimizer).configure_optimizers()
    assert "\n" not in str(caught.value)


def test_the_module_is_its_network(text: Path) -> None:
    model = mlp(corpus_of(text), block_size=4)
    assert model.block_size == 4
    contexts = torch.zeros(2, 4, dtype=torch.int64)
    assert torch.equal(model(contexts), model.network(contexts))


# --- the average of the weights


class EachStep(L.Callback):
    """Keeps the weights after each step."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, _trainer: L.Trainer, module: Any, *_: Any) -> None:
        self.kept.append({name: value.detach().clone() for name, value in module.network.named_parameters()})


def test_the_average_is_what_is_validated_and_loaded_and_the_weights_are_what_is_trained_on(
    text: Path, tmp_path: Path
) -> None:
    small = {"hidden_dim": 6, "embedding_dim": 2, "batch_norm": True, "optimizer": adamw(0.05), "log_every": 1}
    data = corpus_of(text, steps_per_execution=1)
    steps, alone = EachStep(), mlp(data, **small)
    average = {name: value.detach().clone() for name, value in alone.network.named_parameters()}
    losses = fit(alone, data, 12, steps).column("train/nll")
    for kept in steps.kept:
        average = {name: 0.7 * mean + 0.3 * kept[name] for name, mean in average.items()}

    data, model = corpus_of(text, steps_per_execution=5, checkpoint_every=7), mlp(data, ema_decay=0.7, **small)
    recorder = Recorder()
    fitting.fit(model, data, 12, Checkpoints(every=7), directory=tmp_path, loggers=[recorder])
    # the average has no effect on training
    assert recorder.column("train/nll") == losses
    assert all(torch.equal(value, weights(alone)[name]) for name, value in weights(model).items())
    loaded = load(tmp_path).network
    for name, value in loaded.named_parameters():
        torch.testing.assert_close(value.detach(), average[name])
    for name, value in loaded.named_buffers():
        assert torch.equal(value, dict(alone.network.named_buffers())[name])
    val = data.corpus.windows("val", loaded.block_size).counted()
    assert recorder.column("val/nll")[12] == pytest.approx(exact_nll(loaded, val).nats)
    assert recorder.column("val/nll")[12] != pytest.approx(exact_nll(alone.network, val).nats, abs=1e-6)

    again, data = mlp(data, ema_decay=0.7, **small), corpus_of(text, steps_per_execution=5, checkpoint_every=7)
    resume = tmp_path / "checkpoints" / "step-00000007.ckpt"
    fitting.fit(again, data, 12, Checkpoints(every=7), directory=tmp_path / "again", resume=resume)
    assert identical(again, model)
    assert all(map(torch.equal, again.evaluated.state_dict().values(), model.evaluated.state_dict().values()))


def test_a_state_has_what_batch_norm_keeps_in_the_average_too(text: Path) -> None:
    model = mlp(corpus_of(text), batch_norm=True, ema_decay=0.9)
    model.network.get_buffer("norm1.running_mean").fill_(7.0)
    assert (model.state_dict()["average.norm1.running_mean"] == 7).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clip_norm": 0}, r"optimizer\.clip_norm must be above 0, not 0"),
        ({"clip_norm": "1"}, r"optimizer\.clip_norm must be a finite number, not '1'"),
        ({"decay_vectors": "no"}, r"optimizer\.decay_vectors must be true or false, not 'no'"),
        ({"ema_decay": 1.0}, r"optimizer\.ema_decay must be below 1, not 1"),
        ({"ema_decay": -0.1}, r"optimizer\.ema_decay must be at least 0"),
        ({"ema_decay": True}, r"optimizer\.ema_decay must be a finite number, not True"),
    ],
)
def test_a_wrong_option_of_the_step_is_a_user_error(text: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mlp(corpus_of(text), **arguments)
