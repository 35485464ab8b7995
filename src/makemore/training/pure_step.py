"""An optimiser step as a function of tensors alone, as compilers take it: gradients and update."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.func import functional_call, grad_and_value

from makemore.models.network import Network
from makemore.training.draws import renewed_buffers
from makemore.training.optimizers import FunctionalUpdate, parameters_of
from makemore.training.steps import Losses, Objective

# (parameters, buffers that a forward pass renews, a block's `nll`, a batch of it)
# -> gradients, in the order of the parameters, (NLL, penalty), new buffers
Gradients = Callable[
    [list[Tensor], list[Tensor], Callable[..., Tensor], tuple[Tensor, ...]], tuple[list[Tensor], Losses, list[Tensor]]
]


@dataclass(frozen=True)
class PureStep:
    """A step of a run, or of all members of a group.

    Args:
        network: that is trained, or one as those of all members are.
        gradients: of the objective.
        update: of the optimiser.
        buffers: those that a forward pass renews, which a step changes in place, as it does the parameters.
    """

    network: Network
    gradients: Gradients
    update: FunctionalUpdate
    buffers: list[Tensor]

    @property
    def changing(self) -> tuple[list[Tensor], tuple[list[Any], ...], list[Tensor], list[Tensor]]:
        """What a step changes: parameters, state of the optimiser, averages, buffers."""
        return self.update.parameters, self.update.state, self.update.options.averages, self.buffers

    def take(
        self,
        changing: tuple[list[Tensor], tuple[list[Any], ...], list[Tensor], list[Tensor]],
        nll_of: Callable[..., Tensor],
        batch: tuple[Tensor, ...],
        rate: Tensor,
    ) -> Losses:
        """Change given tensors, as many as those of `changing`, by one step in place, and return its losses."""
        parameters, state, averages, buffers = changing
        gradients, losses, renewed = self.gradients(parameters, buffers, nll_of, batch)
        for buffer, new in zip(buffers, renewed, strict=True):
            buffer.copy_(new)
        self.update.apply(parameters, gradients, state, averages, rate)
        return losses


def pure_step(objective: Objective, optimizer: Any, update: FunctionalUpdate) -> PureStep:
    """Return the step of one run."""
    known: dict[Tensor, str] = {parameter: name for name, parameter in objective.named_parameters()}
    names = [known[parameter] for parameter in parameters_of(optimizer)]
    renewed = [f"network.{name}" for name in renewed_buffers(objective.network)]
    buffers = dict(objective.named_buffers())

    def gradients(parameters, buffers, nll_of, batch):  # type: ignore[no-untyped-def] # Dynamo cannot trace annotations
        def loss(values, batch):  # type: ignore[no-untyped-def]
            state = dict(zip(names, values, strict=True)) | dict(zip(renewed, buffers, strict=True))
            nll, penalty = functional_call(objective, state, (nll_of, batch))
            return nll + penalty, ((nll, penalty), [state[name] for name in renewed])

        found, (_, (losses, new)) = grad_and_value(loss, has_aux=True)(parameters, batch)
        return found, losses, new

    return PureStep(objective.network, gradients, update, [buffers[name] for name in renewed])
