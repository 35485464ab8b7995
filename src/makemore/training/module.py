"""LightningModules that train a network by counting or by gradient descent.

The Trainer runs the loop of blocks: `training_step` takes the optimiser steps of a block of up to K minibatches
(manual optimisation). Steps are optimiser steps everywhere. Row s of the log holds the loss before update s, counted
from 0; validation at s follows s updates.
"""

import copy
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from makemore.data.batches import Block
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import CountedWindows
from makemore.errors import DivergedError, UserError, real_number, true_or_false
from makemore.inference.likelihood import exact_nll
from makemore.models.network import Counted, Network
from makemore.training.compiling import automatic, compiled_steps, compiler_of
from makemore.training.language_model import LanguageModel
from makemore.training.loggers import log_row
from makemore.training.optimizers import StepOptions, groups_of, has_functional_form
from makemore.training.own_trainer import advance_steps, text_of
from makemore.training.schedules import Schedule, constant
from makemore.training.steps import Objective, Taken, eager_steps, whole_steps

log = logging.getLogger(__name__)

# the NLL of each step of a block, and its learning rate
StepOutputs = dict[str, list[float]]


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

    def on_fit_start(self) -> None:
        """Choose what compiles the steps, on which the form of the first block depends."""
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        self.choose_compiler(optimizer, text_of(self.trainer).last_step)

    def on_train_start(self) -> None:
        """Make the function that takes steps, now that the optimiser's state is restored."""
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        arguments = Objective(self.network, self.l2), optimizer, self.seed, self.step_options()
        take = compiled_steps(*arguments, self.compiler) if self.compiler else eager_steps(*arguments)
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
