"""The inputs of the benchmark: the text, the sizes, and the models and tensors that both sides share."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from benchmarks.baselines import Parameters, dataset_loop, mlp_parameters
from benchmarks.loading import BLOCK_SIZE
from benchmarks.runs import composed, run
from makemore.data.corpus import Corpus
from makemore.data.windows import CountedWindows
from makemore.errors import whole_number
from makemore.inference.trained_model import TrainedModel, load
from makemore.runs.assemble import assemble


@dataclass(frozen=True)
class Sizes:
    """The amount of work.

    Args:
        repeats: pairs of a row.
        command_repeats: pairs of a row of commands.
        steps: steps of the MLP, ours and the lesson's.
        stock_steps: steps of the MLP with stock Lightning.
        large_steps: steps of `model=mlp`, ours and plain PyTorch's.
        bigram_steps: steps of the lesson's neural bigram; ours takes 100.
        members: configurations trained at once.
        member_steps: steps of each of them.
        names: names sampled by the lesson's loop, a tenth of them by makemore's; ours samples 10,000 and 1,000.
        line_steps: steps of models over lines, ours and makemore's.
        lines: lines of the big file.
        compiled: whether to measure compiled runs.
    """

    repeats: int = 5
    command_repeats: int = 5
    steps: int = 30_000
    stock_steps: int = 10_000
    large_steps: int = 20_000
    bigram_steps: int = 100
    members: int = 64
    member_steps: int = 3_000
    names: int = 1_000
    names_of_lines: int = 1_000
    trained: int = 100
    line_steps: int = 50
    lines: int = 10_000_000
    compiled: bool = True


FULL = Sizes()
QUICK = Sizes(
    repeats=3,
    command_repeats=1,
    steps=5_000,
    stock_steps=1_000,
    large_steps=2_000,
    bigram_steps=5,
    members=8,
    member_steps=500,
    names=200,
    names_of_lines=200,
    trained=50,
    line_steps=10,
    lines=200_000,
    compiled=False,
)


def reductions(sizes: Sizes) -> list[str]:
    """Return the reductions from a full benchmark, a sentence each."""
    shown = {
        "repeats": "pairs of a row",
        "command_repeats": "pairs of a row of commands",
        "steps": "steps of the MLP, among which fixed costs weigh more",
        "stock_steps": "steps of stock Lightning",
        "large_steps": "steps of model=mlp, among which compiling weighs more",
        "bigram_steps": "steps of the lesson's neural bigram, compared with as many of ours",
        "members": "configurations trained at once, whose targets are for all of them and not shown",
        "member_steps": "steps of each of them",
        "names": "names from the lesson's loop, and a tenth from makemore's",
        "names_of_lines": "names from our models over lines",
        "trained": "steps of these before, which make names as long as they usually are",
        "line_steps": "steps of models over lines",
        "lines": "lines of the big file, whose targets are for all of them and not shown",
    }
    reduced = [
        f"{getattr(sizes, size):,} in place of {getattr(FULL, size):,} {what}"
        for size, what in shown.items()
        if getattr(sizes, size) != getattr(FULL, size)
    ]
    return reduced if sizes.compiled else [*reduced, "no compiled rows, as compiling takes most of a minute"]


class Setting:
    """The inputs that rows share, each built on first access.

    Args:
        sizes: the amount of work.
        directory: where files are written.
    """

    def __init__(self, sizes: Sizes, directory: Path) -> None:
        self.sizes = sizes
        self.directory = directory
        # a benchmark downloads nothing: the lessons' file only where there is a copy of it
        self.data = "data=makemore" if os.environ.get("MAKEMORE_NAMES") else "data=names"

    @cached_property
    def corpus(self) -> Corpus:
        """The text, all of it in the training split."""
        return assemble(composed(["experiment=lessons/mlp", self.data]), Path()).data.corpus

    @property
    def path(self) -> Path:
        """The file of the text."""
        return self.corpus.texts["train"].path

    @property
    def text(self) -> str:
        """A description of the text for the table."""
        file = "the lessons' names (MAKEMORE_NAMES)" if self.data == "data=makemore" else "data/names.txt"
        return f"{file}, {len(self.words):,} lines, {len(self.examples[0]):,} examples"

    @cached_property
    def words(self) -> list[str]:
        """The names, as the lessons read them."""
        return self.path.read_text(encoding="utf-8").splitlines()

    @cached_property
    def examples(self) -> tuple[Tensor, Tensor]:
        """The lessons' X (N, 3) and Y (N,)."""
        return dataset_loop(self.words, BLOCK_SIZE)

    @cached_property
    def longer_examples(self) -> tuple[Tensor, Tensor]:
        """Contexts (N, 4) and targets (N,), those of `model=mlp`."""
        return dataset_loop(self.words, 4)

    @cached_property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """The bigram lessons' xs (N,) and ys (N,)."""
        contexts, targets = dataset_loop(self.words, 1)
        return contexts[:, 0], targets

    @cached_property
    def content(self) -> str:
        """The names as clean text, one a line."""
        return "".join(f"{word}\n" for word in self.words)

    @cached_property
    def counted(self) -> CountedWindows:
        """Our counted windows of the same examples."""
        return self.corpus.windows("train", BLOCK_SIZE).counted()

    def initial(self) -> Parameters:
        """Return new initial parameters of the lesson's MLP."""
        return mlp_parameters(self.corpus.vocabulary.size)

    @cached_property
    def model(self) -> TrainedModel:
        """The trained MLP of the lessons."""
        run_dir = Path(tempfile.mkdtemp(dir=self.directory))
        overrides = ["experiment=lessons/mlp", self.data, f"trainer.max_steps={self.sizes.steps}"]
        return load(run(overrides, run_dir).weights.checkpoint)

    @cached_property
    def trained(self) -> Parameters:
        """The c, w1, b1, w2, b2 of `model`."""
        weights = self.model.network.state_dict()
        return [weights[name] for name in ("C", "W1", "b1", "W2", "b2")]


@contextmanager
def new_setting(quick: bool, lines: int | None = None) -> Iterator[Setting]:
    """Yield a setting in a temporary directory.

    Args:
        quick: whether to do less work.
        lines: the number of lines of the big file; None for the default of `quick`.

    Raises:
        UserError: `lines` is less than 1.
    """
    sizes = QUICK if quick else FULL
    if lines is not None:
        sizes = replace(sizes, lines=whole_number("--lines", lines, at_least=1))
    with tempfile.TemporaryDirectory() as directory:
        yield Setting(sizes, Path(directory))
