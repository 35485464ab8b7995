"""What TensorBoard shows of a run beside numbers: made-up names, embedding, graph, config, the layout of charts."""

import json
import warnings
from functools import lru_cache
from pathlib import Path

import torch
from google.protobuf import text_format
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from torch.utils.tensorboard._pytorch_graph import graph

from makemore.models.network import Counted, build
from makemore.runs.saved_config import saved_config_of
from makemore.runs.watching.watcher import Sight, Watcher

# The Custom Scalars page: charts by category, with patterns of what is on each, in an order that tells the story.
CHARTS = {
    "Does it learn?": {
        "NLL of training and validation": ["train/nll", "val/nll"],
        "loss with its penalty": ["train/loss", "train/penalty"],
        "learning rate": ["lr"],
    },
    "What does it make up?": {"share of names that are unseen, and that are repeated": ["samples/.+"]},
    "Is it well?": {
        "gradient to weight": ["gradient_to_weight/.+"],
        "update to weight": ["update_to_weight/.+"],
        "saturated tanh units": ["saturated/.+"],
    },
    "Is it fast?": {"steps a second": ["speed/steps_per_second"]},
}


class Names(Watcher):
    """Made-up names as text, `samples`, and what share of them is not in the text, and came before among them.

    The shares are scalars, `samples/unseen` and `samples/repeated`. An untrained model is not asked.
    """

    def look(self, sight: Sight) -> None:
        """Show them."""
        if not sight.step:
            return
        names = sight.names.at(sight.step, sight.model.network, sight.model.vocabulary)
        seen = sight.data.corpus.lines_among(names)
        unseen = sum(name not in seen for name in names)
        repeated = len(names) - len(set(names))
        # indented, Markdown shows them as they are
        shown = "\n".join(f"    {name}" for name in names)
        for writer in sight.writers:
            writer.add_text("samples", shown, sight.step)
        if names:
            sight.log({"samples/unseen": unseen / len(names), "samples/repeated": repeated / len(names)})


class Embedding(Watcher):
    """The vectors of the tokens in the projector, labelled, where a model has such: files in `projector/`."""

    def look(self, sight: Sight) -> None:
        """Show them as they are now, beside those of earlier looks."""
        vectors = sight.model.network.embedding
        if vectors is not None and sight.writers:
            labels = [_printable(label) for label in sight.model.vocabulary.labels]
            _project(sight.run_dir, sight.step, vectors.tolist(), labels)


def _project(run_dir: Path, step: int, vectors: list[list[float]], labels: list[str]) -> None:
    """Write what the projector reads; TensorBoard's own writer would not take a run back to an earlier step."""
    directory = run_dir / "projector"
    directory.mkdir(exist_ok=True)
    for later in directory.glob("embedding-*.tsv"):
        if later.stem > _stem(step):
            later.unlink()
    (directory / "labels.tsv").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    rows = ("\t".join(map(repr, vector)) + "\n" for vector in vectors)
    (directory / f"{_stem(step)}.tsv").write_text("".join(rows))
    config = ProjectorConfig()
    for path in sorted(directory.glob("embedding-*.tsv"), reverse=True):
        # the page opens with the name that sorts first
        name = path.stem if config.embeddings else "embedding"
        config.embeddings.add(
            tensor_name=name, tensor_path=f"projector/{path.name}", metadata_path="projector/labels.tsv"
        )
    (run_dir / "projector_config.pbtxt").write_text(text_format.MessageToString(config))


def _stem(step: int) -> str:
    return f"embedding-{step:08}"


class Graph(Watcher):
    """The operators of a model that learns by gradient descent."""

    def look(self, sight: Sight) -> None:
        """Show them."""
        model = sight.model
        if not isinstance(model.network, Counted):
            found = _graph(model.architecture, model.vocabulary.size, json.dumps(model.arguments, sort_keys=True))
            for writer in sight.writers:
                writer._get_file_writer().add_event(Event(graph_def=found), step=0)  # type: ignore[no-untyped-call]


@lru_cache(maxsize=8)
def _graph(architecture: str, vocab_size: int, arguments: str) -> bytes:
    """Return the graph of a network, the same bytes in any process; the jobs of a sweep mostly have the same."""
    network = build(architecture, vocab_size, json.loads(arguments), seed=0)
    with warnings.catch_warnings():
        # which is how TensorBoard's writer finds it
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        contexts = torch.zeros((1, network.block_size), dtype=torch.int64)
        found: GraphDef = graph(network, contexts)[0]  # type: ignore[no-untyped-call]
    content: bytes = found.SerializeToString(deterministic=True)
    return content


class Config(Watcher):
    """What the run was configured with, as its directory has it, as text: `config`."""

    def look(self, sight: Sight) -> None:
        """Show it."""
        path = saved_config_of(sight.run_dir)
        if not path.exists():
            # started from Python
            return
        lines = path.read_text(encoding="utf-8").splitlines()
        # indented, Markdown shows it as it is
        text = "".join(f"    {line}\n" for line in lines)
        for writer in sight.writers:
            writer.add_text("config", text, sight.step)


class Charts(Watcher):
    """The layout of the Custom Scalars page: see `CHARTS`."""

    def look(self, sight: Sight) -> None:
        """Lay them out."""
        layout = {
            category: {title: ["Multiline", tags] for title, tags in charts.items()}
            for category, charts in CHARTS.items()
        }
        for writer in sight.writers:
            writer.add_custom_scalars(layout)


def _printable(label: str) -> str:
    """Return a label that has a line and a column of a table to itself."""
    return label if label.isprintable() and not label.isspace() else repr(label)
