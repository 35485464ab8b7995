"""The loggers of a run: made as a config names them, opened, and opened again where the run is resumed.

Beside TensorBoard's events and `metrics.csv`, the run's own files, a config may name any logger of Lightning, as the
documentation there does. It writes into the run's directory unless it is given another place.
"""

import inspect
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.loggers import CometLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from omegaconf import DictConfig, ListConfig, open_dict

from makemore.errors import UserError, first_line, without_password
from makemore.overrides import install, path_argument, shell_quoted
from makemore.runs.instantiating import instantiate
from makemore.system.files import replacing
from makemore.training.loggers import MetricsCsv, Spared, TensorBoard

log = logging.getLogger(__name__)
# warns, twice, that it makes the experiment
logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)

# the module that a logger of Lightning's needs, and what installs it
_NEEDS: dict[type[Logger], tuple[str, str]] = {
    WandbLogger: ("wandb", install("wandb")),
    MLFlowLogger: ("mlflow", install("mlflow")),
    CometLogger: ("comet_ml", "pip install comet-ml"),
}
# in a run's directory: by the keys of its loggers, the arguments by which W&B and MLflow resume their runs
KEPT = "loggers.json"
_KEPT_ARGUMENTS = ("version", "name", "group", "run_id", "tracking_uri")
# the environment variable of MLflow's server
_SERVER = "MLFLOW_TRACKING_URI"
# no request to anyone but the tracking server; no connection is inherited by processes that are forked
_MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


@dataclass(frozen=True)
class LoggerMaker:
    """The class of a logger, and its arguments as a config gives them."""

    key: str  # in the config
    kind: type[Logger]
    arguments: dict[str, Any]

    @property
    def is_own(self) -> bool:
        """Whether its files are the run's own."""
        return issubclass(self.kind, TensorBoard | MetricsCsv)

    def make(self, **arguments: Any) -> Logger:
        """Make the logger; unless its files are the run's own, its failure does not end the run."""
        if self.is_own:
            return self.kind(**arguments)
        spared = type(self.kind.__name__, (Spared, self.kind), {"key": self.key})
        made: Logger = spared(**arguments)
        return made


def makers_of(config: Any) -> list[LoggerMaker]:
    """Return the loggers that the group `logger` of a config names; nothing is opened.

    The group is a logger, a list of them, or has them by name, where `null` switches one off. A target that is no
    logger, arguments that it does not take, or a missing package are a `UserError`.
    """
    return [_maker(each, key) for key, each in _entries(config, "logger")]


def _entries(config: Any, key: str) -> Iterator[tuple[str, DictConfig]]:
    """Yield each logger of a config with its key."""
    if isinstance(config, ListConfig):
        for place, each in enumerate(config):
            yield from _entries(each, f"{key}.{place}")
    elif isinstance(config, DictConfig) and "_target_" in config:
        # where Hydra merges the file of one logger with files that name theirs, as in logger=[csv,mine]
        parts = {name: part for name, part in config.items() if isinstance(part, DictConfig)}
        others = [name for name, part in parts.items() if key == "logger" and "_target_" in part]
        alone = config.copy()
        with open_dict(alone):
            for name in others:
                del alone[name]
                yield from _entries(config[name], f"{key}.{name!s}")
        yield key, alone
    elif isinstance(config, DictConfig):
        for name in config:
            yield from _entries(config[name], f"{key}.{name!s}")
    elif config is not None:
        raise UserError(f"{key} must be a logger with its _target_, not {config!r}; see conf/logger/default.yaml")


def _maker(config: DictConfig, key: str) -> LoggerMaker:
    # making it might open files or ask a server
    made = instantiate(config, key, _partial_=True)
    kind = made.func
    if not (isinstance(kind, type) and issubclass(kind, Logger)):
        raise UserError(f"{key}._target_ must be a logger of Lightning; see conf/logger/default.yaml")
    for base, (package, installs) in _NEEDS.items():
        if issubclass(kind, base) and find_spec(package) is None:
            raise UserError(f"{key}: {package} is not installed; it comes with {installs}")
    # null is the default, as it is to W&B
    arguments = {name: value for name, value in made.keywords.items() if value is not None}
    if arguments.get("log_model"):
        raise UserError(f"{key}.log_model must be false; checkpoints stay in the directory of the run, hydra.run.dir")
    signature = inspect.signature(kind)
    try:
        signature.bind(**({"save_dir": "."} if "save_dir" in signature.parameters else {}) | arguments)
    except TypeError as error:
        raise UserError(f"{key}: {error}; see the documentation of {kind.__name__}") from error
    maker = LoggerMaker(key, kind, arguments)
    if maker.is_own and "save_dir" in arguments:
        raise UserError(f"{key}.save_dir must not be given; its files are in the directory of the run, hydra.run.dir")
    return maker


def open_loggers(
    makers: Sequence[LoggerMaker], run_dir: Path, parameters: Mapping[str, Any], resumed: bool
) -> list[Logger]:
    """Open the loggers of a run, and give its hyperparameters to those that take them at its beginning.

    A `resumed` run goes on in the runs of W&B and MLflow that it had begun. A logger that cannot be opened is a
    `UserError`; in a resumed run it is left out, with a warning.
    """
    path = run_dir / KEPT
    kept = _read_kept(path) if resumed else {}
    loggers = []
    for maker in makers:
        if maker.is_own:
            loggers.append(maker.make(save_dir=str(run_dir), **maker.arguments))
            continue
        try:
            with _server_as_it_was():
                logger = _open(maker, run_dir, parameters, kept)
        except Exception as error:  # whatever a server, a database or a package raises
            if not resumed:
                raise UserError(f"{maker.key}: {first_line(error)}") from error
            log.warning("%s: %s; the run goes on without it", maker.key, first_line(error))
        else:
            loggers.append(logger)
    if kept:
        with replacing(path) as file:
            file.write((json.dumps(kept, indent=2) + "\n").encode())
    return loggers


def _read_kept(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        kept = json.loads(path.read_text())
        return {key: {name: each[name] for name in _KEPT_ARGUMENTS if name in each} for key, each in kept.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: is damaged; delete it, and the loggers begin new runs") from error


@contextmanager
def _server_as_it_was() -> Iterator[None]:
    """Take back the server that MLflow sets for subprocesses, which the next logger would take for the user's."""
    before = os.environ.get(_SERVER)
    try:
        yield
    finally:
        os.environ.pop(_SERVER, None)
        if before is not None:
            os.environ[_SERVER] = before


def _open(maker: LoggerMaker, run_dir: Path, parameters: Mapping[str, Any], kept: dict[str, dict[str, Any]]) -> Logger:
    """Open a logger, and keep the arguments by which it is resumed."""
    goes_on = maker.key in kept
    given = maker.arguments | kept.get(maker.key, {})
    arguments = _defaults(maker.kind, given, run_dir) | given
    logger = maker.make(**arguments)
    # begins the run there
    _ = getattr(logger, "experiment", None)
    if isinstance(logger, WandbLogger):
        kept[maker.key] = {"version": logger.version} | {name: arguments[name] for name in ("name", "group")}
        run = logger.experiment
        where = _wandb_command(Path(run.dir).parent) if run.offline else run.url
        log.info("%s: run %s: %s", maker.key, logger.version, where)
    elif isinstance(logger, MLFlowLogger):
        kept[maker.key] = {"run_id": logger.run_id, "tracking_uri": arguments["tracking_uri"]}
        log.info("%s: run %s: %s", maker.key, logger.run_id, _mlflow_command(arguments["tracking_uri"]))
    elif isinstance(logger, TensorBoardLogger) and isinstance(logger, Spared):
        # all that a run writes there comes by: text, images, histograms, graph, charts
        writer = logger.experiment._get_file_writer().event_writer
        writer.add_event = partial(logger.attempt, writer.add_event)
    # to TensorBoard they are given with the final NLLs; MLflow refuses other values than those that it has
    if not isinstance(logger, TensorBoardLogger) and not (goes_on and isinstance(logger, MLFlowLogger)):
        logger.log_hyperparams(dict(parameters))
    return logger


def _wandb_command(directory: Path) -> str:
    """Return the command to paste into a shell that uploads an offline run of W&B."""
    return f"wandb sync {shell_quoted(path_argument(directory))}"


def _mlflow_command(uri: str) -> str:
    """Return the command to paste into a shell that shows MLflow's database, or the server, without a password."""
    if uri.startswith("sqlite:///"):
        return f"mlflow ui --backend-store-uri {shell_quoted(uri)}"
    return without_password(uri).partition("?")[0]


def _defaults(kind: type[Logger], given: Mapping[str, Any], run_dir: Path) -> dict[str, Any]:
    """Return the arguments of a logger that need not be given; those that are may make others needless."""
    sweep = _sweep()
    place = {"save_dir": str(run_dir)} if "save_dir" in inspect.signature(kind).parameters else {}
    if issubclass(kind, WandbLogger):
        # the jobs of a sweep may be side by side in one process
        return place | {"name": run_dir.name, "group": sweep, "reinit": "create_new"}
    if issubclass(kind, MLFlowLogger):
        for name, value in _MLFLOW_DEFAULTS.items():
            os.environ.setdefault(name, value)
        of_run = place | {"run_name": run_dir.name, "tags": {} if sweep is None else {"sweep": sweep}}
        # a server has a place of its own for artifacts
        if server := given.get("tracking_uri", os.environ.get(_SERVER)):
            return of_run | {"tracking_uri": server}
        directory = Path(given.get("save_dir", run_dir)).absolute()
        return of_run | {"tracking_uri": _database(directory), "artifact_location": (directory / "artifacts").as_uri()}
    return place


def _database(directory: Path) -> str:
    """Return the URI of MLflow's database in a directory."""
    from sqlalchemy.engine import make_url  # comes with MLflow

    path = (directory / "mlflow.db").as_posix()
    uri = f"sqlite:///{path}"
    # MLflow takes no URI in which it is escaped
    if make_url(uri).database != path:
        raise UserError(f"the path of a database cannot have a ?, as {directory} has; give another save_dir")
    return uri


def _sweep() -> str | None:
    """Return the name of the sweep that this run is a job of."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return Path(HydraConfig.get().sweep.dir).name
