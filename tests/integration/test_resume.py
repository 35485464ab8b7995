"""Trials of resuming: a run that was interrupted anywhere ends as the one that was not."""

import shutil
import signal
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from trials import ending, in_parallel, resume, run, run_in, signal_at, signal_at_step, train

from makemore.runs.directory import sole_writer

STEPS = 12
# none of them divides another
SHORT = (
    *(f"trainer.max_steps={STEPS}", "val_every=5", "log_every=2", "checkpoint_every=4", "steps_per_execution=3"),
    *("data.max_lines=1000", "num_samples=3"),
)
WATCHED = ("watch.gradients.every=3", "watch.weights.every=4", "watch.activations.every=7")
SMALL = ("model=mlp", "model.hidden_dim=8")
# all that a step may have
STEP = (
    "optimizer.clip_norm=0.5",
    "optimizer.decay_vectors=false",
    "optimizer.ema_decay=0.9",
    "scheduler=cosine",
    "scheduler.warmup=0.25",
)
LINES = ("data.batch_size=8", "model.dropout=0.2", *STEP)
MODELS = {
    "ngram": ("model=ngram",),
    "kneser_ney": ("model=kneser_ney",),
    "bigram": ("model=bigram", "optimizer=sgd", "optimizer.lr=1"),
    "momentum": ("model=bigram", "optimizer=sgd", "optimizer.momentum=0.9", "model.l2=0.01"),
    "mlp, SGD": (*SMALL, "optimizer=sgd", "scheduler.milestones=[5,8]"),
    "mlp, AdamW": (*SMALL, *WATCHED, "scheduler.milestones=[5,8]"),
    "full batch": (*SMALL, "data.batch_size=null"),
    "permutation": (*SMALL, "data.draw=permutation", "data.batch_size=500"),
    "no validation": (*SMALL, "data.splits=[1,0,0]"),
    # stops after the second validation, at step 10
    "early stopping": (*SMALL, "callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optimizer.lr=0"),
    "range test": (*SMALL, "scheduler=exponential_ramp", "optimizer.lr=1"),
    "mlp, batch norm": (*SMALL, *STEP, "model.num_layers=2", "model.batch_norm=true"),
    "wavenet": ("model=wavenet", "model.hidden_dim=8", "model.embedding_dim=4", *STEP),
    "gru": (*LINES, "model=gru", "model.hidden_dim=8"),
    "transformer": (*LINES, "model=transformer", "model.embedding_dim=8", "model.num_layers=1"),
    "rnn": (*LINES, "model=rnn", "model.hidden_dim=8", "data.batch_size=null", "data.max_lines=200"),
    "lstm": (*LINES, "model=lstm", "model.hidden_dim=8", "model.num_layers=2"),
    "bow": (*LINES, "model=bow", "data.by=example"),
    "compiled": ("model=bigram", "optimizer=sgd", "compile=true"),
    "compiled, AdamW": (*SMALL, "compile=true"),
    "xla": (*SMALL, "compile=xla"),
}
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "checkpoints"
SHORT_FORM = ("ngram", "momentum", "full batch", "early stopping", "range test", "mlp, batch norm", "gru")
# steps between interruptions; in the long form it is 1 for every model
STRIDES = {"mlp, AdamW": 3} | dict.fromkeys(SHORT_FORM, 7)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of a model that nothing interrupted."""

    @cache
    def whole(model: str) -> Path:
        return train(tmp_path_factory.mktemp("whole"), *SHORT, *MODELS[model])

    return whole


def interrupted(cwd: Path, model: str, every: int) -> Path:
    """The run of a model that is stopped each time after `every` steps, and where they are few before the first."""
    outcome = run("train", *SHORT, *MODELS[model], cwd=cwd, prepare=signal_at_step(0 if every < STEPS // 2 else every))
    for _ in range(STEPS + 1):
        if outcome.code == 0:
            break
        assert outcome.code == 143, outcome.err
        outcome = resume(run_in(cwd), prepare=signal_at_step(every))
    assert outcome.code == 0, outcome.err
    return run_in(cwd)


def check_interrupted(strides: dict[str, int], whole: Any, tmp_path: Path) -> None:
    """Check models, each interrupted after so many steps again and again."""

    def trial(model: str) -> None:
        assert ending(interrupted(tmp_path / str(list(MODELS).index(model)), model, strides[model])) == ending(
            whole(model)
        ), model

    in_parallel(trial, strides)


@pytest.mark.slow
def test_a_run_that_is_interrupted_again_and_again_ends_as_one_that_is_not(whole: Any, tmp_path: Path) -> None:
    check_interrupted(STRIDES, whole, tmp_path)


@pytest.mark.slow
def test_so_does_each_model_at_each_step(whole: Any, tmp_path: Path) -> None:
    check_interrupted(dict.fromkeys(MODELS, 1), whole, tmp_path)


POINTS = [
    *(("makemore.training.module:exact_nll", validation) for validation in (3, 2, 1)),
    ("makemore.runs.watching.watcher:sample", 2),
    *(("makemore.runs.watching.watcher:Watchers.observe", look) for look in (1, 2, 3)),
    ("makemore.runs.watching.watcher:Watchers.on_fit_end", 1),
    *(("makemore.system.files:write_sealed", save) for save in range(1, 9)),
    ("makemore.runs.callbacks:ProgressBar.on_train_start", 1),
    ("makemore.runs.callbacks:ProgressBar.on_train_epoch_end", 3),
    ("makemore.runs.callbacks:ProgressBar.on_train_end", 1),
    ("makemore.runs.saving:Checkpoints.on_train_end", 1),
    ("makemore.runs.outcome:Outcome.on_fit_end", 1),
    ("makemore.runs.outcome:split_nlls", 1),
    ("makemore.runs.outcome:load", 1),
    ("makemore.runs.outcome:metrics_dict", 1),
    ("makemore.runs.outcome:log_outcome", 1),
    ("makemore.runs.outcome:reference_row", 1),
    ("makemore.training.loggers:MetricsCsv.finalize", 1),
    ("makemore.training.loggers:TensorBoardLogger.finalize", 1),
]


def check_points(
    points: Sequence[Any], models: Sequence[str], signums: Sequence[int], whole: Any, tmp_path: Path
) -> None:
    """Check that a signal at each point leaves a run that can go on."""

    def trial(number: int, model: str, point: tuple[str, int], signum: int) -> None:
        cwd = tmp_path / str(number)
        outcome = run("train", *SHORT, *MODELS[model], cwd=cwd, prepare=signal_at(*point, signum))
        what = f"{model}, {signal.Signals(signum).name} at {point}:\n{outcome.err}"
        # a model may end before it comes to a point
        assert outcome.code in {signal.SIGKILL: (-9, 0)}.get(signum, (128 + signum, 0)), what
        assert "Traceback" not in outcome.err, what
        outcome = resume(run_in(cwd))
        assert outcome.code == 0, what + outcome.err
        assert ending(run_in(cwd)) == ending(whole(model)), what

    trials = product(models, points, signums)
    in_parallel(lambda item: trial(item[0], *item[1]), enumerate(trials))


def test_a_signal_leaves_a_run_that_can_be_resumed(whole: Any, tmp_path: Path) -> None:
    check_points(POINTS[5::12], ["mlp, AdamW"], [signal.SIGTERM], whole, tmp_path)


@pytest.mark.full
def test_a_signal_at_any_point_leaves_a_run_that_can_go_on(whole: Any, tmp_path: Path) -> None:
    check_points(POINTS[::3], ["mlp, AdamW"], [signal.SIGTERM], whole, tmp_path / "a")
    check_points(POINTS[:2], ["early stopping"], [signal.SIGTERM], whole, tmp_path / "b")


@pytest.mark.slow
def test_so_does_any_signal_at_each_point_for_any_model(whole: Any, tmp_path: Path) -> None:
    models = ["ngram", "momentum", "early stopping", "range test"]
    check_points(POINTS, models, [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], whole, tmp_path)


@pytest.mark.full
def test_one_seed_gives_one_run(whole: Any, tmp_path: Path) -> None:
    again = train(tmp_path, *SHORT, *MODELS["mlp, AdamW"])
    assert ending(again) == ending(whole("mlp, AdamW"))


def test_resuming_a_finished_run_changes_nothing(whole: Any, tmp_path: Path) -> None:
    run_dir = copied(whole("mlp, AdamW"), tmp_path)
    for _ in range(2):
        assert resume(run_dir).code == 0
    assert ending(run_dir) == ending(whole("mlp, AdamW"))


@pytest.mark.full
def test_a_finished_run_goes_on_to_more_steps(whole: Any, tmp_path: Path) -> None:
    # both end at a multiple of val_every, as the end of a run has a validation of its own
    short, long = (f"trainer.max_steps={steps}" for steps in (10, 20))
    run_dir = train(tmp_path / "a", *SHORT, *MODELS["mlp, AdamW"], short)
    assert resume(run_dir, long).code == 0
    assert resume(run_dir).code == 0
    gone_on, at_once = ending(run_dir), ending(train(tmp_path / "b", *SHORT, *MODELS["mlp, AdamW"], long))
    # TensorBoard shows the config that it began with
    began, other = (ended["points"].pop(("config/text_summary", 0)) for ended in (gone_on, at_once))
    assert began.replace(b"max_steps: 10", b"max_steps: 20") == other
    # the later part of a run is a share of the steps that were planned
    for ended in (gone_on, at_once):
        ended["points"] = {key: point for key, point in ended["points"].items() if not key[0].startswith("later_")}
    assert gone_on == at_once


@pytest.mark.full
def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(whole: Any, tmp_path: Path) -> None:
    at_the_fourth_step = signal_at("makemore.system.signals:requested", 5, signal.SIGKILL)
    arguments = (*SHORT, *MODELS["mlp, AdamW"], "checkpoint_every=1000", "val_every=1000", "log_every=1")
    assert run("train", *arguments, cwd=tmp_path / "killed", prepare=at_the_fourth_step).code == -9
    run_dir = run_in(tmp_path / "killed")
    outcome = resume(run_dir)
    assert "has no checkpoint yet; training begins at step 0" in outcome.err
    assert ending(run_dir) == ending(train(tmp_path / "whole", *arguments))


def copied(run_dir: Path, cwd: Path) -> Path:
    """Return a copy of a run, below another working directory."""
    return Path(shutil.copytree(run_dir, cwd / run_dir.relative_to(run_dir.parents[3])))


def files(directory: Path) -> dict[Path, bytes]:
    """Return the content of each file in a directory."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def refused(command: Any, run_dir: Path, *arguments: str) -> str:
    """Return the one line with which resuming is refused, with nothing changed on disk."""
    before = files(run_dir)
    error: str = command("train", f"resume={run_dir}", *arguments).error
    assert files(run_dir) == before
    return error


@pytest.mark.parametrize(
    "overrides", [["optimizer.lr=1"], ["seed=1"], ["trainer.max_steps=20", "model=ngram"], ["hydra.run.dir=elsewhere"]]
)
def test_other_overrides_are_refused(overrides: list[str], whole: Any, command: Any, tmp_path: Path) -> None:
    message = refused(command, copied(whole("mlp, AdamW"), tmp_path), *overrides)
    assert "only trainer.max_steps may change; take out" in message


def test_fewer_steps_than_were_taken_are_refused(whole: Any, command: Any, tmp_path: Path) -> None:
    run_dir = copied(whole("mlp, AdamW"), tmp_path)
    assert "has taken more steps than trainer.max_steps=4" in refused(command, run_dir, "trainer.max_steps=4")


def test_a_directory_that_is_missing_or_no_run_is_refused(command: Any, tmp_path: Path) -> None:
    assert "no such directory" in refused(command, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "takes the directory of a run" in refused(command, tmp_path / "empty")


def test_a_changed_text_is_refused(command: Any, tmp_path: Path) -> None:
    text = tmp_path / "names.txt"
    text.write_text("\n".join(f"anna{'abcdefgh'[n % 8]}{'xyz'[n % 3]}" for n in range(100)))
    run_dir = train(tmp_path, "data=text", "data.path=names.txt", *SHORT, "model=mlp", "model.hidden_dim=8")
    text.write_text(text.read_text() + "zoe\n")
    assert "its text has changed since" in refused(command, run_dir)


TARGETS = [
    *(
        "os.system",
        "torch.load",
        "builtins.eval",
        "makemore.data.download.fetch",
        "makemore.inference.trained_model.os.system",
    ),
    *("lightning.pytorch.LightningModule.load_from_checkpoint", "torch.optim.optimizer.torch.load"),
    *("makemore.runs.train.train", "makemore.nowhere", "makemore.training.schedules._", "", None, 3, ["os.system"]),
    *(
        "makemore.training.schedules.math.sqrt",
        "lightning.pytorch.loggers.wandb.os.system",
        "makemore.system.files.replacing",
    ),
]


@pytest.mark.parametrize(
    "target", [TARGETS[0], *(pytest.param(target, marks=pytest.mark.full) for target in TARGETS[1:])]
)
def test_a_saved_config_that_names_another_target_is_refused(
    target: Any, whole: Any, command: Any, tmp_path: Path
) -> None:
    run_dir = copied(whole("mlp, AdamW"), tmp_path)
    path = run_dir / ".hydra" / "config.yaml"
    before = path.read_text()
    evil: dict[str, Any] = {"_target_": target, "command": f"touch {tmp_path / 'evil'}"}
    places: list[tuple[str, Any]] = [
        ("callbacks.x", evil),
        ("optimizer._target_", target),
        ("trainer._target_", target),
        ("scheduler.milestones", [5, evil]),
        ("trainer.plugins", [[{"a": evil}]]),
        ("data.path", evil),
        ("hydra.job_logging.handlers.x", {"()": target} | evil),
    ]
    # all places for one target, one for each of the others
    first = TARGETS.index(target) % len(places)
    for place, value in places if target == "os.system" else places[first : first + 1]:
        config = OmegaConf.create(before)
        OmegaConf.update(config, place, value)
        path.write_text(OmegaConf.to_yaml(config))
        assert "config.yaml" in refused(command, run_dir), place
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "value",
    [
        *("${oc.env:HOME}", "\\${${oc.env:HOME}}", "${oc"),
        *(
            pytest.param(value, marks=pytest.mark.full)
            for value in ("${oc.decode:1}", "a ${hydra:run.dir}", "${a:${seed}}")
        ),
    ],
)
def test_a_saved_config_that_reads_something_else_is_refused(
    value: str, whole: Any, command: Any, tmp_path: Path
) -> None:
    run_dir = copied(whole("mlp, AdamW"), tmp_path)
    path = run_dir / ".hydra" / "config.yaml"
    path.write_text(path.read_text().replace("task: train", f"task: '{value}'"))
    assert "config.yaml" in refused(command, run_dir)
    path.write_text(path.read_text().replace(f"'{value}'", f"train\nmore:\n- {{'{value}': 1}}"))
    assert "config.yaml" in refused(command, run_dir)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"{",
        b"[]",
        b"trainer: {}",
        b"a: !!python/object/apply:os.system [touch evil]",
        b"\xff\xfe\xfd",
    ],
)
def test_a_damaged_saved_config_is_refused(content: bytes, whole: Any, command: Any, tmp_path: Path) -> None:
    run_dir = copied(whole("mlp, AdamW"), tmp_path)
    (run_dir / ".hydra" / "config.yaml").write_bytes(content)
    assert "config.yaml" in refused(command, run_dir)
    assert not (tmp_path / "evil").exists()


@pytest.mark.full
def test_a_torn_saved_config_is_refused(whole: Any, command: Any, tmp_path: Path) -> None:
    run_dir = copied(whole("mlp, AdamW"), tmp_path)
    path = run_dir / ".hydra" / "config.yaml"
    content = path.read_bytes()
    for size in range(0, len(content), 161):
        path.write_bytes(content[:size])
        assert "config.yaml" in refused(command, run_dir), content[:size]


def test_a_run_that_another_process_trains_is_refused(whole: Any, command: Any, tmp_path: Path) -> None:
    run_dir = copied(whole("mlp, AdamW"), tmp_path)
    with sole_writer(run_dir):
        before = files(run_dir)
        outcome = command("train", f"resume={run_dir}")
        assert "another process trains there" in outcome.error
        assert files(run_dir) == before


@pytest.mark.parametrize("model", ["ngram", "bigram", "mlp"])
def test_a_checkpoint_of_the_first_format_cannot_be_gone_on_with(
    model: str, whole: Any, command: Any, tmp_path: Path
) -> None:
    run_dir = copied(whole("mlp, AdamW"), tmp_path)
    shutil.rmtree(run_dir / "checkpoints")
    (run_dir / "checkpoints").mkdir()
    shutil.copy(FIXTURES / f"v1-{model}.ckpt", run_dir / "checkpoints" / "step-00000009.ckpt")
    assert "not resumed" in refused(command, run_dir)
    assert command("sample", f"ckpt_path={run_dir}").code == 0


def test_what_is_resumed_from_another_directory_finds_its_text(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "names.txt").write_text("\n".join(["anna", "bob", "eve", "dan"] * 20))
    arguments = ("data=text", "data.path=names.txt", "data.splits=[1,0,0]", *SHORT, "model=mlp", "model.hidden_dim=8")
    assert run("train", *arguments, cwd=tmp_path / "a", prepare=signal_at_step(7)).code == 143
    run_dir = run_in(tmp_path / "a")
    assert run("train", f"resume={run_dir}", cwd=tmp_path / "b").code == 0
    assert not (tmp_path / "b" / "logs").exists()
