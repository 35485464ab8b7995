"""Watchers for TensorBoard's dashboards of text, embeddings, graphs and charts; those of numbers are in `health`."""

import json
import warnings
from functools import lru_cache

from google.protobuf import text_format
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from torch.utils.tensorboard._pytorch_graph import graph

from makemore.models.network import Counted, build, trial_tokens
from makemore.runs.log_media import log_samples
from makemore.runs.saved_config import saved_config_of
from makemore.runs.watching.watcher import RunState, Watcher

# the Custom Scalars dashboard: charts by category, with patterns of the tags in each
CHARTS = {
    "Does it learn?": {
        "NLL of training and validation": ["Multiline", ["train/nll", "val/nll"]],
        "loss with its penalty": ["Multiline", ["train/loss", "train/penalty"]],
        "learning rate": ["Multiline", ["lr"]],
    },
    "What does it make up?": {
        "share of names that are unseen, and that are repeated": ["Multiline", ["samples/.+"]],
    },
    "Is it well?": {
        "gradient to weight": ["Multiline", ["gradient_to_weight/.+"]],
        "update to weight": ["Multiline", ["update_to_weight/.+"]],
        "saturated tanh units": ["Multiline", ["saturated/.+"]],
    },
    "Is it fast?": {"steps a second": ["Multiline", ["speed/steps_per_second"]]},
}


class Names(Watcher):
    """Sampled names as text, `samples`, with the shares that are not in the text and that are repeated.

    The shares are scalars, `samples/unseen` and `samples/repeated`. An untrained model is not sampled.
    """

    def observe(self, state: RunState) -> None:
        """Log the names and the shares."""
        if not state.step:
            return
        names = state.names.at(state.step, state.model.evaluated, state.model.vocabulary)
        seen = state.data.corpus.lines_among(names)
        unseen = sum(name not in seen for name in names)
        repeated = len(names) - len(set(names))
        log_samples(state.loggers, names, state.step)
        if names:
            state.log({"samples/unseen": unseen / len(names), "samples/repeated": repeated / len(names)})


class Embedding(Watcher):
    """The embedding of the tokens in the projector, with labels, where a model has one: files in `projector/`."""

    def observe(self, state: RunState) -> None:
        """Add the current vectors to those of earlier steps."""
        vectors = state.model.evaluated.embedding
        if vectors is None or not state.writers:
            return
        directory = state.run_dir / "projector"
        directory.mkdir(exist_ok=True)
        present = directory / f"embedding-{state.step:08}.tsv"
        # after a resume; TensorBoard's own writer would keep them
        for path in directory.glob("embedding-*.tsv"):
            if path.name > present.name:
                path.unlink()
        # without the separators of lines and columns
        known = state.model.vocabulary.labels
        labels = [label if label.isprintable() and not label.isspace() else repr(label) for label in known]
        (directory / "labels.tsv").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        present.write_text("".join("\t".join(map(repr, vector)) + "\n" for vector in vectors.tolist()))
        config = ProjectorConfig()
        for path in sorted(directory.glob("embedding-*.tsv"), reverse=True):
            # the dashboard opens with the name that sorts first
            name = path.stem if config.embeddings else "embedding"
            tensor_path, metadata_path = f"projector/{path.name}", "projector/labels.tsv"
            config.embeddings.add(tensor_name=name, tensor_path=tensor_path, metadata_path=metadata_path)
        (state.run_dir / "projector_config.pbtxt").write_text(text_format.MessageToString(config))


class Graph(Watcher):
    """The graph of operators of a neural model."""

    def observe(self, state: RunState) -> None:
        """Log the graph."""
        model = state.model
        if not isinstance(model.network, Counted):
            found = _graph(model.architecture, model.vocabulary.size, json.dumps(model.arguments, sort_keys=True))
            for writer in state.writers:
                writer._get_file_writer().add_event(Event(graph_def=found), step=0)  # type: ignore[no-untyped-call]


@lru_cache(maxsize=8)
def _graph(architecture: str, vocab_size: int, arguments: str) -> bytes:
    """Return the graph of a network, the same bytes in any process; kept, as the jobs of a sweep mostly share it."""
    network = build(architecture, vocab_size, json.loads(arguments), seed=0)
    with warnings.catch_warnings():
        # TensorBoard's writer uses it
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        found = graph(network, trial_tokens(network)[:1])[0]  # type: ignore[no-untyped-call]
    return bytes(found.SerializeToString(deterministic=True))


class Config(Watcher):
    """The run's config as text, from its directory: `config`."""

    def observe(self, state: RunState) -> None:
        """Log the config."""
        path = saved_config_of(state.run_dir)
        # a run started from Python has none
        if path.exists():
            # indented, Markdown shows it verbatim
            text = "".join(f"    {line}\n" for line in path.read_text(encoding="utf-8").splitlines())
            for writer in state.writers:
                writer.add_text("config", text, state.step)


class Charts(Watcher):
    """The layout of the Custom Scalars dashboard: see `CHARTS`."""

    def observe(self, state: RunState) -> None:
        """Write the layout."""
        for writer in state.writers:
            writer.add_custom_scalars(CHARTS)
