"""Watchers for TensorBoard's dashboards of text, embeddings, graphs and charts; those of numbers are in `health`."""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf import text_format
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.plugins.custom_scalar.layout_pb2 import (
    Chart,
    Layout,
    MarginChartContent,
    MultilineChartContent,
)
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from torch import nn
from torch.utils.tensorboard._pytorch_graph import graph

from makemore.inference.sampling import SamplingOptions, sample
from makemore.models.network import Counted, build, trial_tokens
from makemore.runs.log_media import log_samples
from makemore.runs.saved_config import saved_config_of
from makemore.runs.watching.frames import UPDATES, share_lines
from makemore.runs.watching.watcher import RunState, Watcher
from makemore.training.nll_curves import COUNTING, COUNTING_TRAINING, LATER, NOTHING, PAIRS, TRAINING, VALIDATION


@dataclass(frozen=True)
class ChartOf:
    """A chart of the Custom Scalars dashboard: its curves, and the runs that have them."""

    title: str
    tags: Sequence[str]  # or patterns of them, which the dashboard smooths
    fits: Callable[[RunState], bool] = lambda _: True

    def proto(self) -> Chart:
        """Return it for the layout."""
        if any("+" in tag for tag in self.tags):
            return Chart(title=self.title, multiline=MultilineChartContent(tag=self.tags))
        # a chart of margins, of width 0 here, has its points as they are logged
        series = [MarginChartContent.Series(value=tag, lower=tag, upper=tag) for tag in self.tags]
        return Chart(title=self.title, margin=MarginChartContent(series=series))


def _learns(state: RunState) -> bool:
    return not isinstance(state.model.network, Counted)


def _validates(state: RunState) -> bool:
    return bool(state.data.corpus.size("val"))


def _has_tanh(state: RunState) -> bool:
    return any(isinstance(layer, nn.Tanh) for layer in state.model.network.modules())


# names by which a share is known to some five hundredths
_FOR_SHARES = 100
# characters in so many names at the most, as long ones take long to sample
_CHARACTERS = 10_000

_NLLS = (TRAINING, VALIDATION, COUNTING, COUNTING_TRAINING)

# by category
CHARTS = {
    "How good is it?": (
        ChartOf("NLL of the whole run", (*_NLLS, NOTHING)),
        ChartOf("NLL of its later part, closer", [LATER + tag for tag in (*_NLLS, PAIRS)], _validates),
    ),
    "What does it make up?": (
        ChartOf(
            "share of items not in the text, and repeated",
            ("samples/unseen", "samples/repeated", *share_lines("samples")),
        ),
    ),
    "How is it trained?": (ChartOf("learning rate", ("lr",), _learns),),
    "Is it well?": (
        ChartOf("size of updates to that of weights, log10", UPDATES, _learns),
        ChartOf("share of tanh units saturated", ("saturated/.+",), _has_tanh),
    ),
}


class Names(Watcher):
    """Sampled names as text, `samples`, with the shares that are not in the text and that are repeated.

    The shares are scalars, `samples/unseen` and `samples/repeated`, of a hundred names where these are short. An
    untrained model is not sampled.
    """

    sparse = True

    def observe(self, state: RunState) -> None:
        """Log the names and the shares."""
        if not state.step:
            return
        at_step = state.step, state.model.evaluated, state.model.vocabulary
        longest = int(state.data.corpus.lengths.max())
        count = max(1, state.names.num_samples, min(_FOR_SHARES, _CHARACTERS // longest))
        # a model that has learnt little ends few of its names
        options = SamplingOptions(max_length=min(2 * longest + 10, SamplingOptions().max_length))
        names = sample(*at_step[1:], count, state.names.seed, options)
        seen = state.data.corpus.lines_among(names)
        unseen = sum(name not in seen for name in names)
        repeated = len(names) - len(set(names))
        state.log({"samples/unseen": unseen / len(names), "samples/repeated": repeated / len(names)})
        state.draw(share_lines("samples"))
        first = names[: state.names.num_samples]
        # unless one is truncated here that would not be there
        if options == SamplingOptions() or all(len(name) < options.max_length for name in first):
            state.names.know(state.step, first)
        log_samples(state.loggers, state.names.at(*at_step), state.step)


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
        # TensorBoard's writer uses it; the category depends on the release of torch
        warnings.filterwarnings("ignore", "`torch.jit")
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
    """The layout of the Custom Scalars dashboard: those of `CHARTS` that have curves in this run."""

    def observe(self, state: RunState) -> None:
        """Write the layout."""
        layout = Layout()
        for title, charts in CHARTS.items():
            if fitting := [chart.proto() for chart in charts if chart.fits(state)]:
                # the page shows charts of margins in the reverse order
                layout.category.add(title=title, chart=fitting[:: -1 if fitting[0].HasField("margin") else 1])
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="custom_scalars"))
        tensor = TensorProto(dtype="DT_STRING", string_val=[layout.SerializeToString()])
        value = Summary.Value(tag="custom_scalars__config__", tensor=tensor, metadata=metadata)
        for writer in state.writers:
            writer._get_file_writer().add_summary(Summary(value=[value]))  # type: ignore[no-untyped-call]
