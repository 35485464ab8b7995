"""Checks the loggers that a config names: how they may be written, what each is given, their failures, and resuming.

Runs of W&B are offline and read back from their files; those of MLflow are in a local SQLite database.
"""

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CometLogger, CSVLogger, Logger, MLFlowLogger, WandbLogger
from omegaconf import DictConfig, OmegaConf
from short_runs import compose_short
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from wandb_files import OfflineRun, offline_runs

from makemore.errors import UserError
from makemore.runs import opening_loggers
from makemore.runs.log_media import log_samples
from makemore.runs.opening_loggers import makers_of, open_loggers
from makemore.runs.resuming import refuse_links
from makemore.runs.saved_config import saved_config_of
from makemore.runs.train import train
from makemore.training.loggers import MetricsCsv, TensorBoard, tensorboards

LIGHTNING = "lightning.pytorch.loggers"
PICTURE = "+callbacks.plot._target_=makemore.runs.callbacks.LearningRateRangePlot"


class Failing(Logger):
    """Fails at a step, and when it is opened by that name."""

    asked = 0

    def __init__(self, at: int = 3, opens: bool = True) -> None:
        super().__init__()
        self.at, self.opens = at, opens

    @property
    def experiment(self) -> None:
        if not self.opens:
            raise ConnectionError("no server")

    name = version = ""

    def log_hyperparams(self, *_: Any) -> None:
        pass

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        Failing.asked += 1
        if step == self.at:
            raise ConnectionError("the network is gone")

    def finalize(self, status: str) -> None:
        raise ConnectionError("it is still gone")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def names(config: Any) -> list[str]:
    return [maker.key for maker in makers_of(OmegaConf.create(config))]


# --- how a logger may be written


def test_loggers_are_by_name_in_a_list_or_alone() -> None:
    one = {"_target_": f"{LIGHTNING}.CSVLogger", "save_dir": "logs"}
    own = {"_target_": "makemore.training.loggers.MetricsCsv", "_partial_": True}
    assert names(one) == ["logger"]
    assert names([one, own]) == ["logger.0", "logger.1"]
    assert names({"csv": own, "none": None, "others": [one, one]}) == [
        "logger.csv",
        "logger.others.0",
        "logger.others.1",
    ]
    # a file of one logger, merged with files that name theirs
    assert names({"csv": own} | one) == ["logger.csv", "logger"]
    assert makers_of(None) == []


def test_what_is_given_is_kept_and_null_is_the_default() -> None:
    config = {"_target_": f"{LIGHTNING}.CSVLogger", "save_dir": "logs", "version": None}
    (maker,) = makers_of(OmegaConf.create(config))
    assert (maker.kind, maker.arguments) == (CSVLogger, {"save_dir": "logs"})


@pytest.mark.parametrize(
    ("kind", "package", "installs"),
    [
        (WandbLogger, "wandb", r"pip .*\[wandb\]"),
        (MLFlowLogger, "mlflow", r"pip .*\[mlflow\]"),
        (CometLogger, "comet_ml", "pip install comet-ml"),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(
    kind: type[Logger], package: str, installs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening_loggers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"logger.x: {package} is not installed; it comes with {installs}"):
        names({"x": {"_target_": f"{LIGHTNING}.{kind.__name__}"}})


@pytest.mark.parametrize("kind", [TensorBoard, MetricsCsv])
def test_the_runs_own_files_have_no_other_directory(kind: type[Logger]) -> None:
    config = {"x": {"_target_": f"{kind.__module__}.{kind.__name__}", "_partial_": True, "save_dir": "elsewhere"}}
    with pytest.raises(UserError, match=r"^logger\.x\.save_dir must not be given; .* hydra\.run\.dir$"):
        names(config)


def test_a_logger_of_lightnings_writes_where_it_is_told(text: Path, tmp_path: Path) -> None:
    own = f"+logger.mine={{_target_:{LIGHTNING}.CSVLogger,save_dir:{tmp_path / 'mine'},flush_logs_every_n_steps:1}}"
    inside = f"+logger.inside={{_target_:{LIGHTNING}.CSVLogger,name:inside}}"
    train(compose_short(text, "logger=csv", own, inside), tmp_path / "run")
    expected = rows(tmp_path / "run" / "metrics.csv")
    for directory in (tmp_path / "mine" / "lightning_logs" / "version_0", tmp_path / "run" / "inside" / "version_0"):
        curve = {row["step"]: row["train/nll"] for row in rows(directory / "metrics.csv") if row["train/nll"]}
        assert curve == {row["step"]: row["train/nll"] for row in expected if row["train/nll"]}
        finals = json.loads((tmp_path / "run" / "metrics.json").read_text())
        assert float(rows(directory / "metrics.csv")[-1]["final/test/nll"]) == pytest.approx(finals["test/nll"])
        assert OmegaConf.load(directory / "hparams.yaml")["model.hidden_dim"] == 8


def test_the_default_writes_no_other_files(text: Path, tmp_path: Path) -> None:
    config = compose_short(text)
    assert [maker.kind for maker in makers_of(config.logger)] == [TensorBoard, MetricsCsv]
    train(config, tmp_path)
    found = {path.name.partition(".tfevents")[0] for path in tmp_path.iterdir()}
    assert found == {".lock", "checkpoints", "events.out", "metrics.csv", "metrics.json", "samples.txt", "values"}


# --- failures


def test_a_logger_that_fails_is_left_out_and_the_run_goes_on(
    text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Failing.asked = 0
    train(compose_short(text, "logger=csv"), tmp_path / "without")
    train(compose_short(text, "logger=csv", f"+logger.x._target_={__name__}.Failing"), tmp_path / "with")
    assert "logger.x: the network is gone; the run goes on without it" in caplog.messages
    assert not [message for message in caplog.messages if "still gone" in message]
    # of steps 0 to 3
    assert Failing.asked == 4
    assert rows(tmp_path / "with" / "metrics.csv") == rows(tmp_path / "without" / "metrics.csv")


def test_one_that_cannot_be_opened_ends_a_start_and_not_a_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    makers = makers_of(OmegaConf.create({"x": {"_target_": f"{__name__}.Failing", "opens": False}}))
    with pytest.raises(UserError, match=r"^logger\.x: no server$"):
        open_loggers(makers, tmp_path, {}, resumed=False)
    assert open_loggers(makers, tmp_path, {}, resumed=True) == []
    assert caplog.messages == ["logger.x: no server; the run goes on without it"]


def test_another_tensorboard_that_fails_is_left_out_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add_event(writer: EventFileWriter, event: Event) -> None:
        if event.HasField("summary"):
            asked.append(writer.get_logdir())
            if "plain" in asked[-1]:
                raise OSError(28, "the disk is full")

    asked: list[str] = []
    monkeypatch.setattr(EventFileWriter, "add_event", add_event)
    plain = {"_target_": f"{LIGHTNING}.TensorBoardLogger", "save_dir": str(tmp_path / "plain")}
    own = {"_target_": f"{TensorBoard.__module__}.TensorBoard", "_partial_": True}
    loggers = open_loggers(makers_of(OmegaConf.create({"x": plain, "own": own})), tmp_path / "run", {}, resumed=False)
    log_samples(loggers, ["anna"], 5)
    for writer in tensorboards(loggers):
        writer.add_custom_scalars({})
    for logger in loggers:
        logger.finalize("success")
    assert [message.partition("; ")[2] for message in caplog.messages] == ["the run goes on without it"]
    assert [Path(each).name for each in asked] == ["version_0", "run", "run"]


@pytest.mark.parametrize("content", ["{", "[]", '{"logger.x": 3}'])
def test_a_damaged_record_of_their_runs_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "loggers.json").write_text(content)
    with pytest.raises(UserError, match=r"loggers\.json: is damaged; delete it"):
        open_loggers([], tmp_path, {}, resumed=True)


# --- W&B and MLflow


class OfServer(MLFlowLogger):
    """Keeps its arguments, and sets MLflow's environment variable as its client does."""

    def __init__(self, tracking_uri: str = "", save_dir: str = "", artifact_location: str = "", **_: Any) -> None:
        Logger.__init__(self)
        self.uri, self.artifacts = tracking_uri, artifact_location

    @property
    def experiment(self) -> None:  # type: ignore[override]
        os.environ["MLFLOW_TRACKING_URI"] = self.uri

    run_id = "7"  # type: ignore[assignment]

    def log_hyperparams(self, *_: Any) -> None:
        pass


def opened(run_dir: Path, resumed: bool = False, **arguments: str) -> OfServer:
    config = OmegaConf.create({"x": {"_target_": f"{__name__}.OfServer"} | arguments})
    run_dir.mkdir(parents=True, exist_ok=True)
    (logger,) = open_loggers(makers_of(config), run_dir, {}, resumed)
    assert isinstance(logger, OfServer)
    return logger


def test_each_run_of_a_process_has_its_own_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("a", "b"):
        logger = opened(tmp_path / name)
        assert logger.uri == f"sqlite:///{tmp_path}/{name}/mlflow.db"
        assert logger.artifacts == (tmp_path / name / "artifacts").as_uri()
        assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_server_has_its_own_place_for_artifacts_and_its_password_is_not_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@one:5000")
    one = opened(tmp_path / "one")
    two = opened(tmp_path / "two", tracking_uri="http://two:5000")
    assert [(each.uri, each.artifacts) for each in (one, two)] == [
        ("http://ann:secret@one:5000", ""),
        ("http://two:5000", ""),
    ]
    assert caplog.messages == ["logger.x: run 7: http://one:5000", "logger.x: run 7: http://two:5000"]
    assert os.environ["MLFLOW_TRACKING_URI"] == one.uri
    # where it was begun
    assert opened(tmp_path / "two", resumed=True).uri == two.uri


def test_a_database_in_a_directory_that_its_uri_cannot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^logger\.x: the path of a database cannot have a \?, as .*g\?h has"):
        opened(tmp_path / "g?h")
    assert opened(tmp_path / "g#%20 h").uri == f"sqlite:///{tmp_path}/g#%20 h/mlflow.db"


class Run:
    """A short run with all loggers, and what W&B and MLflow have of it."""

    def __init__(self, text: Path, directory: Path) -> None:
        self.run_dir = directory / "run"
        self.config = compose_short(
            text,
            "logger=many",
            "logger.wandb.mode=offline",
            "watch=default",
            "watch.names.every=1",
            PICTURE,
            "num_samples=3",
        )
        self.config.logger.mlflow.save_dir = str(directory / "mlflow")
        path = saved_config_of(self.run_dir)
        path.parent.mkdir(parents=True)
        path.write_text(OmegaConf.to_yaml(self.config))
        train(self.config, self.run_dir)

    @property
    def finals(self) -> dict[str, float]:
        metrics = json.loads((self.run_dir / "metrics.json").read_text())
        return {split: metrics[f"{split}/nll"] for split in ("train", "val", "test")}

    @property
    def kept(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run_dir / "loggers.json").read_text())
        return found

    @property
    def wandb(self) -> OfflineRun:
        return offline_runs(self.run_dir)[-1]

    def curve(self, name: str) -> dict[int, Any]:
        found = rows(self.run_dir / "metrics.csv")
        return {int(row["step"]): pytest.approx(float(row[name])) for row in found if row[name]}


def mlflow_of(kept: Mapping[str, Any]) -> tuple[Any, Any]:
    """The client of MLflow's database, and the run there."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(kept["logger.mlflow"]["tracking_uri"])
    return client, client.get_run(kept["logger.mlflow"]["run_id"])


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(text, tmp_path_factory.mktemp("many"))


def test_wandb_has_curves_final_nlls_hyperparameters_samples_and_pictures(run: Run) -> None:
    (found,) = offline_runs(run.run_dir)
    assert (found.id, found.name, found.group) == (run.kept["logger.wandb"]["version"], "run", "")
    assert found.exit_code == 0
    assert found.config["model.hidden_dim"] == 8
    for name in ("train/nll", "val/nll", "lr"):
        assert found.points(name) == run.curve(name)
    for split, nll in run.finals.items():
        assert found.points(f"final/{split}/nll") == {7: pytest.approx(nll)}
    samples = found.points("samples.path")
    assert list(samples) == [4, 7]
    table = json.loads((found.directory / "files" / samples[7]).read_text())
    assert [item for (item,) in table["data"]] == (run.run_dir / "samples.txt").read_text().splitlines()
    (images,) = found.points("lr_range.filenames").values()
    picture = (found.directory / "files" / images[0]).read_bytes()
    assert picture == (run.run_dir / "lr_range.png").read_bytes()


def test_mlflow_has_curves_final_nlls_hyperparameters_samples_and_pictures(run: Run, tmp_path: Path) -> None:
    client, found = mlflow_of(run.kept)
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    assert found.data.params["model.hidden_dim"] == "8"
    for name in ("train/nll", "val/nll", "lr"):
        history = client.get_metric_history(found.info.run_id, name)
        assert {metric.step: metric.value for metric in history} == run.curve(name)
    assert {split: found.data.metrics[f"final/{split}/nll"] for split in run.finals} == pytest.approx(run.finals)
    samples = Path(client.download_artifacts(found.info.run_id, "samples/step-00000007.txt", str(tmp_path)))
    assert samples.read_text() == (run.run_dir / "samples.txt").read_text()
    picture = Path(client.download_artifacts(found.info.run_id, "pictures/lr_range.png", str(tmp_path)))
    assert picture.read_bytes() == (run.run_dir / "lr_range.png").read_bytes()


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_the_same_runs_there(run: Run) -> None:
    before = run.kept
    # W&B has made some
    refuse_links(run.run_dir)
    config: DictConfig = run.config.copy()
    config.resume, config.trainer.max_steps = str(run.run_dir), 10
    train(config, run.run_dir)
    assert run.kept == before
    first, again = offline_runs(run.run_dir)
    assert (again.id, again.name) == (first.id, first.name)
    assert again.config["trainer.max_steps"] == 10
    assert list(again.points("final/val/nll").values()) == [pytest.approx(run.finals["val"])]
    client, found = mlflow_of(run.kept)
    assert len(client.search_runs([found.info.experiment_id])) == 1
    assert found.data.metrics["final/val/nll"] == pytest.approx(run.finals["val"])
    assert found.info.status == "FINISHED"
    steps = {metric.step for metric in client.get_metric_history(found.info.run_id, "train/nll")}
    assert steps == set(range(10))
