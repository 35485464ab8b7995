"""Watchers of a run's health: speed, gradients, updates, weights and activations, as scalars and histograms."""

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from makemore.models.network import evaluating, tanh_activations
from makemore.runs.watching.frames import share_lines, update_points
from makemore.runs.watching.watcher import NextStep, RunState, Watcher
from makemore.training.draws import StepDraws
from makemore.training.module import NeuralLanguageModel
from makemore.training.optimizers import ClassUpdate, functional_update, parameters_of, snapshot
from makemore.training.steps import Objective

# beyond it the slope of tanh is less than a tenth of its greatest: 1 - 0.95^2
_SATURATED = 0.95
# examples whose activations are shown, and bars of a histogram
_EXAMPLES = 512
_BINS = 64


class Speed(Watcher):
    """Steps a second since the last observation, validation and checkpoints included: `speed/steps_per_second`."""

    _last: tuple[int, float] | None = None

    def observe(self, state: RunState) -> None:
        """Log the speed."""
        now = time.perf_counter()
        if self._last is not None and state.step > self._last[0]:
            step, then = self._last
            state.log({"speed/steps_per_second": (state.step - step) / (now - then)})
        self._last = state.step, now


class Gradients(Watcher):
    """The sizes of gradient and update relative to the weights, by parameter, at the step to come.

    `gradient_to_weight/<name>` and `update_to_weight/<name>` are ratios of Euclidean norms; a weight that is 0 has
    none. The update is the optimiser's own, with momentum and decay. `log10_update/largest`, `median` and `smallest`
    are of the ratios of update to weight of the weight matrices.
    """

    def observe(self, state: RunState) -> None:
        """Take the step, log the ratios, and undo it."""
        if state.next is not None:
            assert isinstance(state.model, NeuralLanguageModel)
            ratios = dict(_ratios(state.model, state.next))
            state.log(ratios)
            matrices = (name for name, weight in state.model.network.named_parameters() if weight.ndim > 1)
            tags = [f"update_to_weight/{name}" for name in matrices]
            if moved := [ratios[tag] for tag in tags if tag in ratios]:
                state.draw(update_points(moved))


def _ratios(model: NeuralLanguageModel, step: NextStep) -> Iterator[tuple[str, float]]:
    parameters = parameters_of(step.optimizer)
    objective = Objective(model.network, model.l2)
    draws = StepDraws(model.seed, parameters[0].device)
    take_back = snapshot(step.optimizer, model.network, model.averages)
    before = [parameter.detach().clone() for parameter in parameters]
    # eager even in a compiled run, as the optimiser's state serves both
    options = model.step_options()
    update = functional_update(step.optimizer, options) or ClassUpdate(step.optimizer, options)
    try:
        with draws.restored():
            draws.begin(step.block.first_step)
            nll, penalty = objective(step.block.nll, next(step.block.batches()))
            gradients = list(torch.autograd.grad(nll + penalty, parameters))
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

    def observe(self, state: RunState) -> None:
        """Log the histograms."""
        for name, weight in state.model.network.named_parameters():
            _show_histogram(state, f"weights/{name}", weight)


class Activations(Watcher):
    """The outputs of tanh units on a few examples of the validation split (training, where there is none).

    Histograms `activations/<layer>`, and `saturated/<layer>`, the share beyond 0.95 to either side, where the slope is
    less than a tenth of the greatest.
    """

    sparse = True

    @torch.no_grad()
    def observe(self, state: RunState) -> None:
        """Log histograms and shares."""
        examples = state.data.examples("val" if state.data.corpus.size("val") else "train")
        # spread over the text, and always the same
        rows = torch.arange(0, len(examples), max(len(examples) // _EXAMPLES, 1))
        tokens: Any = examples.some(rows)
        with evaluating(state.model.network):
            activations = tanh_activations(state.model.network, tokens.to(state.model.device))
        for layer, values in activations.items():
            _show_histogram(state, f"activations/{layer}", values)
            state.log({f"saturated/{layer}": float((values.abs() > _SATURATED).float().mean())})
        if activations:
            state.draw(share_lines("saturated"))


def _show_histogram(state: RunState, tag: str, values: Tensor) -> None:
    for writer in state.writers:
        writer.add_histogram(tag, values.detach().cpu(), state.step, bins=_BINS)
