"""The LightningModule that all models share: the network, exact validation, the log, the record in checkpoints."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from makemore.checkpoints import RECORD_KEY, record_of
from makemore.data.corpus import Corpus
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import CountedWindows
from makemore.errors import UserError, whole_number
from makemore.inference.likelihood import exact_nll
from makemore.inference.scoring import item_nlls
from makemore.models.network import Network, build
from makemore.system import signals
from makemore.training.loggers import log_row, states
from makemore.training.module_loading import load_module
from makemore.training.own_trainer import check_text, prepare, start_at, text_of


class LanguageModel(L.LightningModule):
    """The base of the models that are trained by counting and by gradient descent.

    Args:
        architecture: a registered network (see `makemore.models`).
        vocabulary: gives V, and goes into checkpoints; or its arguments.
        seed: of the initial weights.
        log_every: steps between rows of the log; None is the Trainer's `log_every_n_steps`.
        arguments: of the network's constructor, as plain values.
    """

    def __init__(
        self,
        architecture: str,
        vocabulary: Vocabulary | Mapping[str, Any],
        seed: int = 0,
        log_every: int | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.architecture = architecture
        self.arguments = arguments
        self.vocabulary = Vocabulary(**vocabulary) if isinstance(vocabulary, Mapping) else vocabulary
        self.log_every = None if log_every is None else whole_number("log_every", log_every, at_least=1)
        self.seed = whole_number("seed", seed)
        self.network = build(architecture, self.vocabulary.size, arguments, self.seed)
        kept = {"architecture": architecture, "vocabulary": asdict(self.vocabulary), "seed": seed}
        self.save_hyperparameters(kept | {"log_every": log_every} | arguments)

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **arguments: Any,
    ) -> Self:
        """Make a model with the weights of a checkpoint, or the newest of a run's directory; see `load_module`.

        `arguments` replace those of the checkpoint, and add what is no plain value: `optimizer`, `schedule`.
        `map_location` is a device; checkpoints are always read with `weights_only`, and need no `hparams_file`.
        """
        module = load_module(cls, checkpoint_path, strict is not False, **arguments)
        return module if map_location is None else module.to(map_location)

    def configure_callbacks(self) -> list[L.Callback]:
        """Add no callback; the first that a Trainer asks of a model is where an unsuitable one is refused."""
        prepare(self.trainer)
        return []

    def setup(self, stage: str) -> None:
        """Refuse a text that does not suit the model."""
        check_text(self.trainer, self.vocabulary)

    @property
    def block_size(self) -> int:
        """T, the length of the contexts that the network takes."""
        return self.network.block_size

    @property
    def evaluated(self) -> Network:
        """The network with the weights that are evaluated and sampled."""
        return self.network

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the network's logits (B, V), or (B, T, V) of one over lines, for tokens (B, T)."""
        logits: Tensor = self.network(tokens)
        return logits

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[LRScheduler]]:
        """Return the optimisers and their schedules: none for counting."""
        return [], []

    def validation_step(self, windows: CountedWindows, _batch_idx: int) -> None:
        """Log the exact NLL of the validation or test split at the current step."""
        trainer, split = self.trainer, "test" if self.trainer.testing else "val"
        # takes long on a large text, and nothing is logged yet; exact whatever the precision of the steps is
        with signals.at_once(), torch.autocast(self.device.type, enabled=False):
            nll = exact_nll(self.evaluated, windows).nats
        fitting = trainer.state.fn == TrainerFn.FITTING
        # in a fit for callbacks alone, as Lightning would log it at its count of blocks
        self.log(f"{split}/nll", nll, prog_bar=True, logger=False if fitting else None, batch_size=1)
        if not fitting:
            trainer.fit_loop.epoch_loop._batches_that_stepped = self.global_step
        elif not trainer.sanity_checking:
            log_row(self.loggers, self.global_step, {f"{split}/nll": nll})

    test_step = validation_step

    def predict_step(self, items: Sequence[str], _batch_idx: int) -> Tensor:
        """Return the mean NLL (B,) of each item, in nats a character, its end included, in float64."""
        with torch.autocast(self.device.type, enabled=False):
            return item_nlls(self.evaluated, self.vocabulary, items)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add our record, which `makemore.inference.trained_model.load` reads, as builtins and tensors."""
        checkpoint[RECORD_KEY] = self.record(text_of(self.trainer).corpus, self.global_step, self.loggers)

    def record(self, corpus: Corpus, step: int, loggers: Iterable[Any]) -> dict[str, Any]:
        """Return our record in a checkpoint: the model, the text, the step, and the sizes of the logs."""
        model = self.architecture, self.arguments, self.vocabulary
        return record_of(*model, corpus.options, corpus.sha256, step) | {"logs": states(loggers)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Start at the step of a checkpoint; the state of Lightning's loops is dropped, as a step depends on none.

        A checkpoint of another network or vocabulary is a `UserError`.
        """
        record = checkpoint.get(RECORD_KEY)
        if record is None:
            raise UserError("the checkpoint is not of this project; take one of a model of makemore")
        ours = self.architecture, asdict(self.vocabulary)
        if (record["model"]["architecture"], record["vocabulary"]) != ours:
            what = "the checkpoint is of another network or has other characters"
            raise UserError(f"{what}; {type(self).__name__}.load_from_checkpoint(PATH) makes its model")
        del checkpoint["loops"]
        if self.trainer.state.fn == TrainerFn.FITTING:
            start_at(self.trainer, record["step"])
