"""The LightningDataModule: blocks of training steps, and counted windows for exact evaluation.

A Lightning epoch is the steps up to the next validation: the training loader starts at `trainer.global_step` and ends
there, so validation, early stopping and resuming need no other bookkeeping.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import lightning as L

from makemore.data.batches import DRAWS, Block
from makemore.data.corpus import Corpus, read_corpus
from makemore.data.download import obtain
from makemore.data.kept_arguments import KeptArguments
from makemore.data.lines import Lines
from makemore.data.loaders import LineBatches, OneBatch
from makemore.data.options import SPLITS, CorpusOptions, make_paths_absolute
from makemore.data.training_blocks import TrainingBlocks, counts, next_multiple
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import CountedWindows, Windows
from makemore.errors import UserError, as_text, one_of, whole_number


class TextDataModule(KeptArguments):
    """The data of a run: lines of a text, in contexts of the `block_size` of the Trainer's model.

    Where there is no Trainer, `data.model = model` says whose contexts the loaders give.

    Args:
        path: the text; see `CorpusOptions`.
        batch_size: B, examples per step; None is the whole training split, as counted windows.
        draw: "replacement" (rows drawn with replacement, as in L2) or "permutation" (each example once per epoch).
        sha256: of a known text, whose `path` is relative to the project's root; see `makemore.data.download.obtain`.
        url: where a known text can be downloaded.
        copy_variable: the environment variable that may name a copy of a known text on disk.
        seed: determines the rows of every step.
        steps_per_execution: K, the most optimiser steps in a block, fewer if its tokens would be too many; affects
            speed only.
        val_every: steps between validations, the length of a Lightning epoch; None is a pass, as many steps as draw as
            many examples as the training split has.
        checkpoint_every: steps between checkpoints; blocks end there too.
        vocabulary: of a trained model, to evaluate it on another text, or its arguments; None is all characters of the
            text.
        **options: the other fields of `CorpusOptions`.
    """

    def __init__(
        self,
        path: str,
        *,
        batch_size: int | None = 32,
        draw: str = "replacement",
        sha256: str | None = None,
        url: str | None = None,
        copy_variable: str | None = None,
        seed: int = 0,
        steps_per_execution: int = 1,
        val_every: int | None = None,
        checkpoint_every: int = 1000,
        vocabulary: Vocabulary | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.options = CorpusOptions(path, **options)
        self.batch_size = None if batch_size is None else whole_number("data.batch_size", batch_size, 1, 2**24)
        self.draw = one_of("data.draw", draw, tuple(DRAWS))
        for key, text in (("data.url", url), ("data.sha256", sha256), ("data.copy_variable", copy_variable)):
            if text is not None:
                as_text(key, text)
        self.url, self.sha256, self.copy_variable = url, sha256, copy_variable
        self.seed = whole_number("seed", seed)
        # of the members of a group that is trained together, each of which draws its own rows
        self.member_seeds: Sequence[int] | None = None
        self.steps_per_execution = whole_number("steps_per_execution", steps_per_execution, at_least=1)
        self.val_every = None if val_every is None else whole_number("val_every", val_every, at_least=1)
        self.checkpoint_every = whole_number("checkpoint_every", checkpoint_every, at_least=1)
        # intervals of the watchers, in steps; blocks end there too
        self.watch_intervals: Sequence[int] = ()
        # whether the validation at the first step was interrupted
        self.validation_due = False
        self.vocabulary = Vocabulary(**vocabulary) if isinstance(vocabulary, Mapping) else vocabulary
        # whose contexts the loaders give where there is no Trainer
        self.model: L.LightningModule | None = None
        self._keep_hyperparameters()
        self._windows: dict[tuple[str, int], Windows] = {}
        self._lines: dict[tuple[str, int], Lines] = {}
        self._counted: dict[tuple[str, int], CountedWindows] = {}

    def _keep_hyperparameters(self) -> None:
        """Keep the arguments in `hparams`, as plain values, so that `load_from_checkpoint` makes the same data."""
        names = ["batch_size", "draw", "sha256", "url", "copy_variable", "seed"]
        names += ["steps_per_execution", "val_every", "checkpoint_every"]
        hparams = asdict(self.options) | {name: getattr(self, name) for name in names}
        hparams |= {"splits": list(self.options.splits)}
        hparams |= {"vocabulary": None if self.vocabulary is None else asdict(self.vocabulary)}
        make_paths_absolute(hparams)
        self.save_hyperparameters(hparams)

    def __str__(self) -> str:
        """Return the size of each split, in characters to predict, ends of lines included; the text is read."""
        sizes = ", ".join(f"{split} {self.corpus.size(split):,}" for split in SPLITS)
        return f"{self.options.path}: {len(self.corpus.lengths):,} lines, characters to predict: {sizes}"

    def prepare_data(self) -> None:
        """Locate a known text, one with a digest; download it if it is missing and has a URL."""
        if self.sha256 is not None:
            path = obtain(self.options.path, self.sha256, self.url, self.copy_variable)
            self.options = replace(self.options, path=str(path))

    @cached_property
    def corpus(self) -> Corpus:
        """The text, read, encoded and split at the first use."""
        return read_corpus(self.options, self.vocabulary)

    @property
    def module(self) -> Any:
        """The model whose contexts the loaders give: the Trainer's, or `model` where there is no Trainer."""
        module = self.model if self.trainer is None else self.trainer.lightning_module
        if module is None:
            what = "the examples of a TextDataModule are in contexts of a model's block_size"
            raise UserError(f"{what}; give it to a Trainer with the model, or set data.model = model before")
        return module

    @property
    def network(self) -> Any:
        """The network of that model."""
        return self.module.network

    @property
    def context_size(self) -> int:
        """T, the length of the contexts of that network."""
        return self.corpus.context_size(self.network)

    def end_of_epoch(self, step: int) -> int:
        """Return the step at which the Lightning epoch of a step ends: the next validation, or the last step."""
        end = next_multiple(step, self.epoch_steps)
        last = -1 if self.trainer is None else self.trainer.max_steps
        return min(end, last) if last > -1 else end

    @property
    def epoch_steps(self) -> int:
        """The steps of a Lightning epoch: `val_every`, or those of a pass over the training split."""
        if self.val_every is not None:
            return self.val_every
        if self.batch_size is None or counts(self.network):
            return 1
        return math.ceil(len(self.examples("train")) / self.batch_size)

    @property
    def last_step(self) -> float:
        """The step at which the Trainer ends by its limits; inf where it has none in steps or epochs."""
        assert self.trainer is not None
        steps, epochs = self.trainer.max_steps, self.trainer.max_epochs
        ends = [math.inf] if steps == -1 else [steps]
        return min(ends if epochs in (None, -1) else [*ends, epochs * self.epoch_steps])

    def state_dict(self) -> dict[str, bool]:
        """Return what a resumed run needs."""
        return {"validation_due": self.validation_due}

    def load_state_dict(self, state_dict: dict[str, bool]) -> None:
        """Restore the state of the resumed run."""
        self.validation_due = state_dict["validation_due"]

    def train_dataloader(self) -> Iterable[Block | CountedWindows]:
        """Return the blocks from the current step to the next validation."""
        return TrainingBlocks(self)

    def val_dataloader(self) -> OneBatch | list[OneBatch]:
        """Return a loader of one batch, the counted windows of the validation split; no loader if it is empty."""
        return OneBatch(self.counted("val")) if self.corpus.size("val") else []

    def test_dataloader(self) -> OneBatch | list[OneBatch]:
        """Return a loader of one batch, the counted windows of the test split; no loader if it is empty."""
        return OneBatch(self.counted("test")) if self.corpus.size("test") else []

    def predict_dataloader(self) -> LineBatches:
        """Return a loader of batches of the text's lines, in the order of the text."""
        return LineBatches(self.corpus)

    def windows(self, split: str) -> Windows:
        """Return the examples of a split."""
        key = (split, self.context_size)
        if key not in self._windows:
            self._windows[key] = self.corpus.windows(*key)
        return self._windows[key]

    def examples(self, split: str) -> Windows | Lines:
        """Return the examples of a split as the Trainer's network reads them in training."""
        if self.network.reads == "windows":
            return self.windows(split)
        key = (split, self.network.block_size)
        if key not in self._lines:
            self._lines[key] = self.corpus.lines(*key)
        return self._lines[key]

    def counted(self, split: str) -> CountedWindows:
        """Return the counted windows of a split that has examples."""
        key = (split, self.context_size)
        if key not in self._counted:
            self._counted[key] = self.windows(split).counted()
        return self._counted[key]
