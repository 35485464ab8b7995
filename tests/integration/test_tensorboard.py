"""Starts TensorBoard over a finished sweep, as one does who watches, and reads what it serves."""

import csv
import json
import math
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from omegaconf import OmegaConf
from trials import leave_svgs_empty, run, sample_as_users_do

from makemore.inference.trained_model import load
from makemore.runs.watching.dashboards import CHARTS
from makemore.training.nll_curves import COUNTING, LATER

# what a run writes is checked by the tests of its parts; here, what TensorBoard makes of it
pytestmark = pytest.mark.full

STEPS = 60
LINE = (
    *("-m", f"trainer.max_steps={STEPS}", "val_every=20", "log_every=10", "steps_per_execution=10"),
    *(
        "watch.speed.every=20",
        "watch.gradients.every=20",
        "watch.weights.every=30",
        "watch.activations.every=10",
        "watch.names.every=10",
    ),
    *(
        "model.l2=0.1",
        "model=mlp",
        "model.hidden_dim=16",
        "seed=0,1",
        "callbacks=pictures",
        "hydra.sweep.dir=logs/sweep",
    ),
)
Get = Callable[..., Any]


def as_a_user_sees_it() -> None:
    leave_svgs_empty()
    sample_as_users_do()


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directories of a finished sweep of two jobs, by name."""
    directory = tmp_path_factory.mktemp("sweep")
    lines = "".join(f"{a}{b}{a}\n" for a in "abcdefg" for b in "hijklmno")
    (directory / "names.txt").write_text(lines)
    text = ("data=text", f"data.path={directory / 'names.txt'}")
    outcome = run("train", *LINE, *text, cwd=directory, prepare=as_a_user_sees_it)
    assert outcome.code == 0, outcome.err
    return {path.parent.name: path.parent for path in (directory / "logs" / "sweep").glob("*/metrics.json")}


@pytest.fixture(scope="module")
def get(jobs: dict[str, Path]) -> Iterator[Get]:
    """Ask a TensorBoard that watches them."""
    logs = next(iter(jobs.values())).parent
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        str(logs),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:

        def ask(page: str, body: Any = None, **parameters: Any) -> Any:
            address = f"http://127.0.0.1:{port}/data/{page}" + (f"?{urlencode(parameters)}" if parameters else "")
            data = None if body is None else json.dumps(body).encode()
            with urlopen(Request(address, data, {"Content-Type": "application/json"}), timeout=30) as answer:
                content = answer.read()
            return json.loads(content) if "json" in answer.headers["Content-Type"] else content

        try:
            _wait_for(ask, jobs)
            yield ask
        finally:
            process.terminate()


def _wait_for(ask: Get, jobs: dict[str, Path]) -> None:
    """Wait until all of them are read; what a job writes last is what it ended with."""
    for _ in range(120):
        time.sleep(0.5)
        try:
            tags = ask("plugin/scalars/tags")
        except URLError:
            continue
        if all("hparam/val_nll" in tags.get(f"{name}/values", {}) for name in jobs):
            return
    raise AssertionError("TensorBoard has not read the sweep in a minute")


def points(get: Get, run: str, tag: str) -> dict[int, float]:
    return {step: value for _, step, value in get("plugin/scalars/scalars", run=run, tag=tag)}


def test_its_scalars_are_those_of_metrics_csv(get: Get, jobs: dict[str, Path]) -> None:
    for name, run_dir in jobs.items():
        with (run_dir / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        for tag in ("train/loss", "train/nll", "train/penalty", "lr", "val/nll"):
            logged = {int(row["step"]): float(row[tag]) for row in rows if row[tag]}
            assert points(get, name, tag) == pytest.approx(logged, rel=1e-6), tag
        assert list(points(get, name, "val/nll")) == [20, 40, 60]


def test_it_shows_whether_a_run_is_well(get: Get, jobs: dict[str, Path]) -> None:
    weights = ("C", "W1", "b1", "W2", "b2")
    for name in jobs:
        assert list(points(get, name, "speed/steps_per_second")) == [20, 40, 60]
        for what in ("gradient", "update"):
            for weight in weights:
                ratios = points(get, name, f"{what}_to_weight/{weight}")
                # a bias begins at 0, which nothing is compared with; the last look has no step to come
                assert list(ratios) == [20, 40] if weight.startswith("b") else [0, 20, 40]
                assert all(0 < ratio < 100 for ratio in ratios.values())
        assert list(points(get, name, "saturated/hidden")) == [0, 40, 60]
        histograms = get("plugin/histograms/tags")[name]
        assert set(histograms) == {*(f"weights/{weight}" for weight in weights), "activations/hidden"}
        shown = get("plugin/histograms/histograms", run=name, tag="activations/hidden")
        assert [step for _, step, _ in shown] == [0, 40, 60]
        filled = [(left, right) for left, right, count in shown[-1][2] if count]
        assert all(-1 <= left <= right <= 1 for left, right in filled), filled


def test_it_shows_made_up_names_and_the_config(get: Get, jobs: dict[str, Path]) -> None:
    for name, run_dir in jobs.items():
        texts = get("plugin/text/text", run=name, tag="samples/text_summary")
        assert [text["step"] for text in texts] == [40, 60]
        names = (run_dir / "samples.txt").read_text().split()
        assert re.sub(r"<[^>]*>", " ", texts[-1]["text"]).split() == names
        lines = set((run_dir.parents[2] / "names.txt").read_text().split())
        longest = max(map(len, lines)) + 1
        seed = int(OmegaConf.load(run_dir / ".hydra" / "config.yaml").seed)
        hundred = load(run_dir).sample(100, seed=seed, max_length=2 * longest + 10)
        unseen = sum(made_up not in lines for made_up in hundred) / 100
        assert points(get, name, "samples/unseen")[STEPS] == pytest.approx(unseen)
        assert points(get, name, "samples/repeated")[STEPS] == pytest.approx(1 - len(set(hundred)) / 100)
        (config,) = get("plugin/text/text", run=name, tag="config/text_summary")
        assert "hidden_dim: 16" in config["text"]


def test_its_projector_has_the_embedding_with_its_characters(get: Get, jobs: dict[str, Path]) -> None:
    assert set(get("plugin/projector/runs")) == set(jobs)
    for name, run_dir in jobs.items():
        newest, *_ = get("plugin/projector/info", run=name)["embeddings"]
        model = load(run_dir)
        assert model.network.embedding is not None
        assert newest["tensorShape"] == list(model.network.embedding.shape)
        tensor = get("plugin/projector/tensor", run=name, name=newest["tensorName"])
        assert tensor == model.network.embedding.detach().numpy().tobytes()
        labels = get("plugin/projector/metadata", run=name, name=newest["tensorName"]).decode()
        assert labels.split("\n")[:-1] == model.vocabulary.labels


def test_its_charts_are_laid_out(get: Get, jobs: dict[str, Path]) -> None:
    layout = get("plugin/custom_scalars/layout")["category"]
    assert [category["title"] for category in layout] == list(CHARTS)
    for name, run_dir in jobs.items():
        # on this text counting is worse on validation than knowing nothing, and so out of the frame
        metrics, nothing = json.loads((run_dir / "metrics.json").read_text()), math.log(load(run_dir).vocabulary.size)
        assert metrics["reference/train/nll"] < nothing < metrics["reference/val/nll"]
        hidden = {COUNTING, LATER + COUNTING}
        for chart in (chart for category in layout for chart in category["chart"]):
            series = [re.escape(each["value"]) for each in chart.get("margin", {}).get("series", ())]
            for tag in chart.get("multiline", {}).get("tag", series):
                found = get("plugin/custom_scalars/scalars", run=name, tag=tag)
                assert found["regex_valid"]
                # a colour is a job, so the curve of validation has no directory of its own
                assert any(found["tag_to_events"].values()) != (tag.replace("\\", "") in hidden), tag


def test_it_shows_graph_and_pictures(get: Get, jobs: dict[str, Path]) -> None:
    for name in jobs:
        assert get("plugin/graphs/info")[name]["run_graph"]
        assert b"aten::tanh" in get("plugin/graphs/graph", run=name, conceptual="false")
        images = get("plugin/images/tags")[name]
        assert {"bigrams", "embedding", "loss", "calibration", "lengths"} <= {tag.rpartition("/")[2] for tag in images}
        for tag in images:
            (image,) = get("plugin/images/images", run=name, tag=tag, sample=0)
            assert image["step"] == STEPS
            shown = get("plugin/images/individualImage?" + image["query"])
            assert shown.startswith(b"\x89PNG")


def test_hparams_have_what_differs_and_what_came_of_it(get: Get, jobs: dict[str, Path]) -> None:
    statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    asked = {"experimentName": "", "allowedStatuses": statuses, "colParams": [], "startIndex": 0, "sliceSize": 10}
    groups = get("plugin/hparams/session_groups", asked)["sessionGroups"]
    assert {group["name"] for group in groups} == {f"{name}/values" for name in jobs}
    assert {group["hparams"]["seed"] for group in groups} == {0.0, 1.0}
    for group in groups:
        nlls = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
        metrics = json.loads((jobs[group["name"].removesuffix("/values")] / "metrics.json").read_text())
        assert nlls["hparam/val_nll"] == pytest.approx(metrics["val/nll"], rel=1e-6)
    experiment = get("plugin/hparams/experiment", {"experimentName": "", "includeMetrics": True})
    assert [info["name"] for info in experiment["hparamInfos"]] == ["seed"]
    shown = {info["name"]["tag"] for info in experiment["metricInfos"]}
    assert shown == {f"hparam/{split}_nll" for split in ("train", "val", "test")}
