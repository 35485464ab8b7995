"""What TensorBoard shows of a run's health: speed, gradients, updates, weights and activations."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from makemore.models.network import tanh_activations
from makemore.runs.watching.watcher import NextStep, Sight, Watcher
from makemore.training.module import NeuralLanguageModel
from makemore.training.optimizers import ClassUpdate, functional_update, parameters_of, snapshot
from makemore.training.steps import Objective

# Beyond it a tanh unit learns at less than a tenth of its greatest slope: 1 - 0.95^2.
_SATURATED = 0.95
# Examples whose activations are looked at, and bars of a histogram.
_EXAMPLES = 512
_BINS = 64


class Speed(Watcher):
    """Steps a second since the last look, with validation, checkpoints and all else: `speed/steps_per_second`."""

    def __init__(self, every: int) -> None:
        super().__init__(every)
        self._last: tuple[int, float] | None = None

    def look(self, sight: Sight) -> None:
        """Log it."""
        now = time.perf_counter()
        if self._last is not None and sight.step > self._last[0]:
            step, then = self._last
            sight.log({"speed/steps_per_second": (sight.step - step) / (now - then)})
        self._last = sight.step, now


class Gradients(Watcher):
    """How large gradient and update are beside the weights, layer by layer, at the step to come.

    `gradient_to_weight/<name>` and `update_to_weight/<name>` are ratios of Euclidean norms; a weight that is 0 has
    none. The update is the optimiser's own, with momentum and decay.
    """

    def look(self, sight: Sight) -> None:
        """Take the step, log the ratios, and take it back."""
        if sight.next is not None:
            assert isinstance(sight.model, NeuralLanguageModel)
            sight.log(dict(_ratios(sight.model, sight.next)))


def _ratios(model: NeuralLanguageModel, step: NextStep) -> Iterator[tuple[str, float]]:
    parameters = parameters_of(step.optimizer)
    objective = Objective(model.network, model.l2)
    nll, penalty = objective(step.block.nll, tuple(tensor[0] for tensor in step.block.stacked()))
    gradients = list(torch.autograd.grad(nll + penalty, parameters))
    before = [parameter.detach().clone() for parameter in parameters]
    take_back = snapshot(step.optimizer)
    update = functional_update(step.optimizer, model.compile_steps) or ClassUpdate(step.optimizer)
    try:
        with torch.no_grad():
            update(gradients, step.rate)
            changes = [parameter - was for parameter, was in zip(parameters, before, strict=True)]
    finally:
        take_back()
        step.optimizer.zero_grad()
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.network.named_parameters()}
    for parameter, gradient, change in zip(parameters, gradients, changes, strict=True):
        name, norm = names[parameter], parameter.detach().norm()
        if norm > 0:
            yield f"gradient_to_weight/{name}", float(gradient.norm() / norm)
            yield f"update_to_weight/{name}", float(change.norm() / norm)


class Weights(Watcher):
    """Histograms of the weights: `weights/<name>`."""

    def look(self, sight: Sight) -> None:
        """Show them."""
        for name, weight in sight.model.network.named_parameters():
            _show_histogram(sight, f"weights/{name}", weight)


class Activations(Watcher):
    """What tanh units give on a few examples of validation (training, where there is no such split).

    Histograms `activations/<layer>`, and `saturated/<layer>`, the share beyond 0.95 to either side, where a unit
    learns at less than a tenth of its greatest slope.
    """

    @torch.no_grad()
    def look(self, sight: Sight) -> None:
        """Show histograms and shares."""
        windows = sight.data.windows("val" if sight.data.corpus.size("val") else "train")
        # spread over the text, and the same at each look
        rows = torch.arange(0, len(windows), max(len(windows) // _EXAMPLES, 1))
        contexts, _ = windows.batch(rows)
        activations = tanh_activations(sight.model.network, contexts.to(sight.model.device))
        for layer, values in activations.items():
            _show_histogram(sight, f"activations/{layer}", values)
            sight.log({f"saturated/{layer}": float((values.abs() > _SATURATED).float().mean())})


def _show_histogram(sight: Sight, tag: str, values: Tensor) -> None:
    for writer in sight.writers:
        writer.add_histogram(tag, values.detach().cpu(), sight.step, bins=_BINS)
