"""The rows of models over lines against loops as makemore.py has them (steps, exact NLL, names), and of Kneser-Ney."""

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.measure import Case, timed
from benchmarks.runs import composed
from benchmarks.sequence_baselines import (
    BATCH,
    LR,
    GRUCell,
    RecurrentNetwork,
    Transformer,
    generate,
    padded_dataset,
    training_loop,
    whole_nll,
)
from benchmarks.setting import Setting
from makemore.data.batches import replacement_rows
from makemore.data.corpus import Corpus
from makemore.data.lines import Lines
from makemore.data.options import SPLITS
from makemore.data.windows import CountedWindows
from makemore.inference.evaluation import counted_splits, split_nlls
from makemore.inference.likelihood import exact_nll
from makemore.inference.sampling import sample
from makemore.models.kneser_ney import KneserNey
from makemore.models.network import Network
from makemore.runs.assemble import Parts, assemble
from makemore.training.module import NeuralLanguageModel
from makemore.training.steps import Objective, eager_steps

_SEED = 2147483647
# names that makemore samples together
_TOGETHER = 100


def sequence_cases(setting: Setting) -> list[Case]:
    """Return the rows of gru, lstm and transformer, of the sizes of conf/model, and of Kneser-Ney."""
    gru, lstm, transformer = (Pair(name, setting) for name in ("gru", "lstm", "transformer"))
    rows = [case for pair in (gru, lstm, transformer) for case in (pair.step_case(), pair.nll_case())]
    return [*rows, *gru.sampling_cases(), *transformer.sampling_cases(), kneser_ney_case(setting)]


class Pair:
    """A model over lines, ours and makemore's, and the text split by line, as each takes it.

    Args:
        architecture: a name of conf/model.
        setting: the inputs that all rows share.
    """

    def __init__(self, architecture: str, setting: Setting) -> None:
        self.architecture, self.setting = architecture, setting

    @cached_property
    def parts(self) -> Parts:
        """The parts of our run."""
        return assemble(composed([f"model={self.architecture}", self.setting.data]), Path())

    @property
    def corpus(self) -> Corpus:
        """The text."""
        return self.parts.data.corpus

    @property
    def network(self) -> Network:
        """Our network."""
        return self.parts.model.network

    @cached_property
    def baseline(self) -> RecurrentNetwork | Transformer:
        """The network of makemore, for lines up to the longest of the text."""
        arguments = self.parts.model.arguments | {"block_size": int(self.corpus.lengths.max())}
        return baseline_of(self.architecture, self.corpus.vocabulary.size, arguments)

    @cached_property
    def train_ours(self) -> Callable[[int], object]:
        """Take a number of our steps, with the drawing and packing of their lines."""
        model = self.parts.model
        assert isinstance(model, NeuralLanguageModel)
        return stepper(model, self.corpus.lines("train", model.block_size))

    @cached_property
    def train_baseline(self) -> Callable[[int], object]:
        """Take a number of makemore's steps."""
        x, y = padded_split(self.corpus, "train")
        return lambda steps: training_loop(self.baseline, x, y, steps)

    @cached_property
    def windows(self) -> CountedWindows:
        """Our validation split."""
        return self.corpus.windows("val", self.corpus.context_size(self.network)).counted()

    @cached_property
    def validation(self) -> tuple[Tensor, Tensor]:
        """X and Y of the validation split."""
        return padded_split(self.corpus, "val")

    def train(self, steps: int) -> None:
        """Train both."""
        self.train_ours(steps)
        self.train_baseline(steps)

    def step_case(self) -> Case:
        """Return the row of a training step."""
        steps = self.setting.sizes.line_steps
        return Case(
            f"{self.architecture}-step",
            f"{self.architecture}, a step of {BATCH} lines with AdamW, of {steps}; makemore's loop",
            timed(lambda: self.train_ours(steps), steps),
            timed(lambda: self.train_baseline(steps), steps),
            at_most=0.6,
            repeats=self.setting.sizes.repeats,
            unit="s/step",
            prepare=lambda: self.train(2),
        )

    def nll_case(self) -> Case:
        """Return the row of the exact NLL of the validation split."""
        return Case(
            f"{self.architecture}-nll",
            f"{self.architecture}, exact NLL of the validation split, counted before; makemore's padded batches",
            timed(lambda: exact_nll(self.network, self.windows)),
            timed(lambda: whole_nll(self.baseline, *self.validation)),
            at_most=0.3,
            repeats=self.setting.sizes.repeats,
            prepare=lambda: (self.windows, self.baseline, self.validation),
        )

    def sampling_cases(self) -> list[Case]:
        """Return the rows of names, against names one by one and many together."""
        vocabulary, sizes = self.corpus.vocabulary, self.setting.sizes
        loop_names, names_of_lines = sizes.names // 10, sizes.names_of_lines

        def one_by_one() -> None:
            for _ in range(loop_names):
                generate(self.baseline, vocabulary.characters)

        def case(name: str, other: str, baseline: Callable[[], object], names: int, at_most: float | None) -> Case:
            return Case(
                f"{self.architecture}-{name}",
                f"{names_of_lines:,} names from {self.architecture}; {other}",
                timed(lambda: sample(self.network, vocabulary, names_of_lines, _SEED), names_of_lines),
                timed(baseline, names),
                at_most=at_most,
                repeats=self.setting.sizes.repeats,
                unit="s/name",
                prepare=lambda: self.train(self.setting.sizes.trained),
            )

        def together() -> object:
            return generate(self.baseline, vocabulary.characters, _TOGETHER)

        loop = f"makemore's loop, the whole prefix for each character, {loop_names:,} names"
        return [
            case("sampling", loop, one_by_one, loop_names, 0.2),
            case("sampling-batch", f"the same loop, {_TOGETHER} names together", together, _TOGETHER, None),
        ]


def baseline_of(architecture: str, vocab_size: int, arguments: dict[str, Any]) -> RecurrentNetwork | Transformer:
    """Return makemore's network of the sizes that are in the arguments of ours."""
    embedding_dim, block_size = arguments["embedding_dim"], arguments["block_size"]
    if architecture == "transformer":
        return Transformer(vocab_size, embedding_dim, arguments["num_layers"], arguments["num_heads"], block_size)
    hidden_dim = arguments["hidden_dim"]
    cell = {"gru": GRUCell, "lstm": nn.LSTMCell}[architecture](embedding_dim, hidden_dim)
    return RecurrentNetwork(cell, vocab_size, embedding_dim, hidden_dim, block_size)


def padded_split(corpus: Corpus, split: str) -> tuple[Tensor, Tensor]:
    """Return makemore's X and Y of a split, padded to the longest line of the text."""
    ends = np.cumsum(corpus.lengths)
    inside = corpus.membership[ends - 1] == SPLITS.index(split)
    words = [corpus.vocabulary.decode(line[:-1].tolist()) for line in np.split(corpus.tokens, ends[:-1])]
    chosen = [word for word, is_chosen in zip(words, inside, strict=True) if is_chosen]
    return padded_dataset(chosen, corpus.vocabulary.characters, int(corpus.lengths.max()) - 1)


def stepper(model: NeuralLanguageModel, lines: Lines) -> Callable[[int], Tensor]:
    """Return a function that takes a number of steps as a run does, each time the first ones, and returns the NLLs."""
    (optimizer,), _ = model.configure_optimizers()
    take = eager_steps(Objective(model.network, model.l2), optimizer, model.seed, model.step_options())

    def take_steps(steps: int) -> Tensor:
        rows = replacement_rows(model.seed, 0, steps, BATCH, len(lines))
        return take(lines.packed(0, rows), [LR] * steps)[0]

    return take_steps


def kneser_ney_case(setting: Setting) -> Case:
    """Return the row of Kneser-Ney on the text that is shipped."""

    def corpus() -> Corpus:
        return assemble(composed(["model=kneser_ney", "data=names"]), Path()).data.corpus

    def count_and_evaluate() -> object:
        network = KneserNey(corpus().vocabulary.size, torch.Generator())
        windows = counted_splits(corpus(), network)
        network.count(windows["train"])
        return split_nlls(network, windows)

    work = "Kneser-Ney on data/names.txt: counted, and exact NLL of all splits, CPU time"
    # an absolute value, which other processes should not change
    ours = timed(count_and_evaluate, clock=time.process_time)
    return Case("kneser-ney", work, ours, at_most=2, repeats=setting.sizes.repeats, prepare=corpus)
