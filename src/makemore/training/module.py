"""LightningModules that train a network by counting or by gradient descent.

The Trainer runs the loop of blocks: `training_step` takes the optimiser steps of a block of up to K minibatches
(manual optimisation). Steps are optimiser steps everywhere. Row s of the log holds the loss before update s, counted
from 0; validation at s follows s updates.
"""

import copy
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from makemore import signals
from makemore.checkpoints import RECORD_KEY, record_of
from makemore.data.batches import Block
from makemore.data.corpus import Corpus
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import CountedWindows
from makemore.errors import DivergedError, UserError, real_number, true_or_false, whole_number
from makemore.inference.likelihood import exact_nll
from makemore.inference.scoring import item_nlls
from makemore.models.network import Counted, Network, build
from makemore.training.compiling import automatic, compiled_steps, compiler_of
from makemore.training.loggers import log_row, states
from makemore.training.module_loading import load_module
from makemore.training.optimizers import StepOptions, groups_of, has_functional_form
from makemore.training.own_trainer import advance_steps, check_text, prepare, start_at, text_of
from makemore.training.schedules import Schedule, constant
from makemore.training.steps import Objective, Taken, eager_steps, whole_steps

log = logging.getLogger(__name__)

# the NLL of each step of a block, and its learning rate
StepOutputs = dict[str, list[float]]


class LanguageModel(L.LightningModule):
    """The base of both: the network, exact validation, the log and the record in checkpoints.

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


class CountingLanguageModel(LanguageModel):
    """A `Counted` network: one step, on the counted windows of the whole training split."""

    network: Counted

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        if not isinstance(self.network, Counted):
            raise UserError(f"{self.architecture} is trained by gradient descent; use NeuralLanguageModel")

    def setup(self, stage: str) -> None:
        """Take one step, whatever the limits of the Trainer are."""
        super().setup(stage)
        self.trainer.fit_loop.epoch_loop.max_steps = 1

    def training_step(self, windows: CountedWindows, _batch_idx: int) -> StepOutputs:
        """Log the NLL before counting, then count."""
        nll = exact_nll(self.network, windows).nats
        log_row(self.loggers, 0, {"train/loss": nll, "train/nll": nll, "train/penalty": 0.0})
        self.network.count(windows)
        advance_steps(self.trainer, 1)
        return {"nlls": [nll], "rates": [math.nan]}


class NeuralLanguageModel(LanguageModel):
    """A network trained by gradient descent on the NLL plus an L2 penalty.

    Args:
        architecture, vocabulary, seed, log_every, arguments: see `LanguageModel`.
        optimizer: makes the optimiser of groups of parameters, such as `partial(torch.optim.AdamW, lr=0.003)`; a model
            that is not trained needs none.
        schedule: the factor of the learning rate as a function of the step.
        l2: factor of the penalty, see `Objective`; it never enters an NLL.
        compile: take the steps in compiled functions, see `makemore.training.compiling.compiler_of`.
        clip_norm: the greatest norm of all gradients together; None is no limit.
        decay_vectors: whether biases, gains and other vectors have the optimiser's weight decay too.
        ema_decay: of the exponential moving average of the weights, which is what is evaluated then; None for none.
    """

    def __init__(
        self,
        architecture: str,
        vocabulary: Vocabulary | Mapping[str, Any],
        optimizer: Callable[[Any], torch.optim.Optimizer] | None = None,
        schedule: Schedule | None = None,
        l2: float = 0.0,
        seed: int = 0,
        log_every: int | None = None,
        compile: bool | str = False,  # noqa: A002 - the name of the key
        clip_norm: float | None = None,
        decay_vectors: bool = True,
        ema_decay: float | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(architecture, vocabulary, seed, log_every, **arguments)
        if isinstance(self.network, Counted):
            raise UserError(f"{architecture} is trained by counting; use CountingLanguageModel")
        self.clip_norm = None if clip_norm is None else real_number("optimizer.clip_norm", clip_norm, above=0)
        self.decay_vectors = true_or_false("optimizer.decay_vectors", decay_vectors)
        self.ema_decay = ema_decay
        if ema_decay is not None:
            real_number("optimizer.ema_decay", ema_decay, at_least=0, below=1)
            self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = optimizer
        self.schedule = schedule or constant()
        self.compiler = compiler_of(compile)
        self.l2 = real_number("model.l2", l2, at_least=0)
        kept = {"l2": l2, "compile": compile, "clip_norm": clip_norm}
        self.save_hyperparameters(kept | {"decay_vectors": decay_vectors, "ema_decay": ema_decay})

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[LRScheduler]]:
        """Return the optimiser and its schedule, which counts optimiser steps."""
        if self.optimizer is None:
            what = "an optimiser is no plain value, so none is in a checkpoint"
            raise UserError(
                f"{what}; to train, give the model optimizer=partial(torch.optim.AdamW, lr=0.003) or another"
            )
        try:
            optimizer = self.optimizer(groups_of(self.network, self.decay_vectors))
        except (LookupError, ValueError, TypeError, RuntimeError) as error:
            mend = "; a key is taken out by ~optimizer.KEY" if "unexpected keyword" in str(error) else ""
            raise UserError(f"optimizer: {error}{mend}") from error
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UserError(
                "optimizer._target_ must be an optimiser of torch with _partial_: true; see conf/optimizer"
            )
        if self.compiler in (True, "xla") and not has_functional_form(optimizer):
            known, given = "SGD without dampening, Adam or AdamW", type(optimizer).__name__
            raise UserError(f"compile={str(self.compiler).lower()} takes {known}, not this {given}; use compile=false")
        return [optimizer], [LambdaLR(optimizer, self.schedule)]

    @property
    def averages(self) -> list[Tensor]:
        """The averages of the weights, in the order of the optimiser's parameters; none where there is no average."""
        if self.ema_decay is None:
            return []
        of_weight = dict(zip(self.network.parameters(), self.average.parameters(), strict=True))
        groups = groups_of(self.network, self.decay_vectors)
        return [of_weight[parameter] for group in groups for parameter in group["params"]]

    @property
    def evaluated(self) -> Network:
        """The network with the weights that are evaluated and sampled: the average, where there is one."""
        if self.ema_decay is None:
            return self.network
        # what batch norm keeps is an average already
        for mean, now in zip(self.average.buffers(), self.network.buffers(), strict=True):
            mean.copy_(now)
        return self.average

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the state of the network, and of the network that is evaluated where that is another."""
        # brings it up to date
        _ = self.evaluated
        return super().state_dict(*args, **kwargs)

    def choose_compiler(self, optimizer: torch.optim.Optimizer, steps: float) -> bool | str:
        """Return what compiles the steps of a run of so many; `compile=auto` is decided here, and says so."""
        if self.compiler == "auto":
            self.compiler, why = automatic(self.network, optimizer, steps)
            log.info("compile=auto: %s", why)
        return self.compiler

    def step_options(self) -> StepOptions:
        """Return what is done in a step beside the optimiser's own rule."""
        return StepOptions(self.clip_norm, self.averages, self.ema_decay or 0.0)

    def on_train_start(self) -> None:
        """Make the function that takes steps, now that the optimiser's state is restored."""
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        arguments = Objective(self.network, self.l2), optimizer, self.seed, self.step_options()
        compiler = self.choose_compiler(optimizer, text_of(self.trainer).last_step)
        take = compiled_steps(*arguments, compiler) if compiler else eager_steps(*arguments)
        self._take_steps = whole_steps(take, optimizer, self.network, self.averages)

    def training_step(self, block: Block, _batch_idx: int) -> StepOutputs:
        """Take a step for each minibatch of a block, fewer after a signal; a loss not finite is a `DivergedError`."""
        scheduler: Any = self.lr_schedulers()
        rates = rates_of(scheduler, block.first_step, len(block))
        taken = self._take_steps(block, rates)
        advance_steps(self.trainer, len(taken[0]))
        return self.account(scheduler, self.loggers, block.first_step, rates, taken)

    def account(
        self, scheduler: Any, loggers: Iterable[Any], first_step: int, rates: Sequence[float], taken: Taken
    ) -> StepOutputs:
        """Advance the schedule by the steps taken of a block, log those due; then raise `DivergedError`, or return."""
        nlls, penalties, diverged = taken
        # the schedule is a function of the step, so it may jump to the last one taken
        scheduler.optimizer._opt_called = True
        scheduler.last_epoch += len(nlls) - 1
        scheduler.step()
        every = self.trainer.log_every_n_steps if self.log_every is None else self.log_every  # type: ignore[attr-defined]
        for index in range(-first_step % every, len(nlls), every) if every else ():
            nll, penalty, lr = nlls[index], penalties[index], rates[index]
            row = {"train/loss": nll + penalty, "train/nll": nll, "train/penalty": penalty, "lr": lr}
            log_row(loggers, first_step + index, row)
        if diverged is not None:
            where = f"at step {first_step + len(nlls):,}, learning rate {rates[len(nlls)]:g}"
            raise DivergedError(f"the loss is {diverged} {where}; lower optimizer.lr")
        return {"nlls": nlls, "rates": list(rates[: len(nlls)])}


def rates_of(scheduler: Any, first_step: int, steps: int) -> list[float]:
    """Return the learning rates of `steps` steps from `first_step` on."""
    # those of the first group of parameters; the others have the same schedule
    base, factor = scheduler.base_lrs[0], scheduler.lr_lambdas[0]
    return [base * factor(step) for step in range(first_step, first_step + steps)]
