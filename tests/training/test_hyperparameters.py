"""Checks that TensorBoard has one type for a hyperparameter, whatever its values in the runs of a directory."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose
from omegaconf import OmegaConf
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

from makemore.runs.saved_config import flat
from makemore.system.hydra_release import composing
from makemore.training.loggers import TensorBoard, hyperparameters

CONF = Path(__file__).parents[2] / "conf"
FLOAT, TEXT = api_pb2.DATA_TYPE_FLOAT64, api_pb2.DATA_TYPE_STRING


class Dashboard:
    """What the HPARAMS dashboard knows of runs with these values, by run."""

    def __init__(self, logs: Path, runs: list[dict[str, Any]]) -> None:
        for number, values in enumerate(runs):
            logger = TensorBoard(logs / f"run{number}")
            logger.log_hyperparams(hyperparameters(values), {"hparam/val_nll": 2.0 + number})
            logger.finalize("success")
        multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(logs))
        multiplexer.Reload()
        provider = data_provider.MultiplexerDataProvider(multiplexer, str(logs))
        self.context = backend_context.Context(TBContext(data_provider=provider))
        request = RequestContext()
        metadata = self.context.hparams_metadata(request, "")
        differing = self.context.hparams_from_data_provider(request, "", limit=0)
        experiment = self.context.experiment_from_metadata(request, "", False, metadata, differing)
        self.types = {info.name: info.type for info in experiment.hparam_infos}

    def sorted_by(self, key: str) -> list[Any]:
        """The values of a key in all runs, in its order; None where a run has none."""
        column = api_pb2.ColParams(
            hparam=key, order=api_pb2.ORDER_ASC, missing_values_first=False, include_in_result=True
        )
        statuses = [api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING]
        asked = api_pb2.ListSessionGroupsRequest(
            col_params=[column], allowed_statuses=statuses, slice_size=100, include_metrics=True
        )
        handler = list_session_groups.Handler(RequestContext(), self.context, "", asked)
        values = []
        for group in handler.run().session_groups:
            found = group.hparams.get(key)
            values.append(found and getattr(found, found.WhichOneof("kind")))
        return values


def test_null_beside_numbers_leaves_a_column_of_numbers(tmp_path: Path) -> None:
    shown = Dashboard(tmp_path, [{"data.batch_size": size, "seed": 0} for size in (128, None, 32, 256)])
    assert shown.types == {"data.batch_size": FLOAT, "seed": FLOAT}
    # as text 128 would come before 32
    assert shown.sorted_by("data.batch_size") == [32.0, 128.0, 256.0, None]


def test_every_key_has_one_type_in_all_runs(tmp_path: Path) -> None:
    runs: list[dict[str, Any]] = [
        {
            "lr": 1,
            "compile": False,
            "path": None,
            "data.path": 2018,
            "big": 10**400,
            "fused": True,
            "steps": [1, 2],
        },
        {"lr": 0.1, "compile": "xla", "path": "a", "data.path": "a", "big": 3, "fused": None, "steps": []},
        {"lr": None, "compile": True, "path": "b", "data.path": "b", "big": float("inf"), "fused": False},
    ]
    shown = Dashboard(tmp_path, runs)
    assert shown.types == {
        **{"lr": FLOAT, "big": FLOAT},
        **dict.fromkeys(("compile", "path", "data.path", "steps", "fused"), TEXT),
    }
    assert shown.sorted_by("lr") == [0.1, 1.0, None]
    assert shown.sorted_by("big") == [3.0, None, None]
    assert shown.sorted_by("compile") == ["false", "true", "xla"]
    assert shown.sorted_by("data.path") == ["2018", "a", "b"]


def test_a_key_that_may_be_null_has_the_type_of_its_other_values() -> None:
    """All keys of conf/ that are null, and their other values as documented there."""
    others: dict[str, Any] = {
        **{"data.val_path": "val.txt", "data.test_path": "test.txt", "data.normalize": "NFC", "data.max_lines": 5},
        **{"data.max_length": 9, "data.batch_size": 32, "optimizer.clip_norm": 1.0, "optimizer.ema_decay": 0.999},
    }
    with composing():
        for optimizer in ("adamw", "sgd"):
            config: Any = OmegaConf.to_container(compose("train", [f"optimizer={optimizer}", "model=mlp"]))
            groups = {key: config[key] for key in ("compile", "data", "model", "optimizer", "scheduler", "trainer")}
            empty = {key for key, value in flat(groups).items() if value is None}
            assert empty <= others.keys(), "a type for it, please"
            assert not hyperparameters(dict.fromkeys(empty))
    types = {key: type(value) for key, value in hyperparameters(others).items()}
    assert {key for key, kind in types.items() if kind is str} == {"data.val_path", "data.test_path", "data.normalize"}


@pytest.mark.parametrize(("value", "written"), [(True, "true"), (False, "false"), ("true", "true")])
def test_true_and_false_are_spelt_as_they_are_typed(value: Any, written: str) -> None:
    assert hyperparameters({"compile": value}) == {"compile": written}
