"""Stack the networks and optimiser states of N members, and map a step over them."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from makemore.data.batches import Block, Minibatches
from makemore.models.network import Network
from makemore.sweeps.vectorized.layout import Layout
from makemore.sweeps.vectorized.stacked_optimizers import stack, stacked_update
from makemore.system import signals
from makemore.training.compiling import COMPILERS
from makemore.training.draws import renewed_buffers
from makemore.training.optimizers import StepOptions, parameters_of
from makemore.training.pure_step import PureStep
from makemore.training.steps import Losses, Objective, TakeSteps, no_losses

Batch = tuple[Tensor, ...]  # the arguments of a block's `nll` but the network


class Stack:
    """The stacked weights and optimiser states of members, of which the members' own become views.

    A member does not depend on the others: to the bit, in eager steps, for the same row modulo 16.

    Args:
        networks: one a member, of one class and size, on the device where they are trained.
        optimizers: one a member, alike but for their learning rates.
        options: of the steps of each, alike but for their averages.
        l2: of each member, see `Objective`.
        members_dim: of the blocks, see `makemore.data.batches.Minibatches`.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        optimizers: Sequence[torch.optim.Optimizer],
        options: Sequence[StepOptions],
        l2: Sequence[float],
        members_dim: int | None,
        layout: Layout,
    ) -> None:
        known: dict[Tensor, str] = {parameter: f"network.{name}" for name, parameter in networks[0].named_parameters()}
        self._names = [known[parameter] for parameter in parameters_of(optimizers[0])]
        self.update = stacked_update(optimizers, options, layout)
        self.device = self.update.parameters[0].device
        self.members_dim = members_dim
        # without numbers: it is called with those of the members; `Module.to` would part tied weights
        memo: dict[int, Any] = {id(buffer): buffer.to("meta") for buffer in networks[0].buffers()}
        memo |= {id(weight): nn.Parameter(weight.detach().to("meta")) for weight in networks[0].parameters()}
        self._objective = Objective(copy.deepcopy(networks[0], memo), max(l2))
        buffers = zip(*(network.named_buffers() for network in networks), strict=True)
        self.constants = {f"network.{each[0][0]}": stack([buffer for _, buffer in each], layout) for each in buffers}
        self.constants["l2"] = torch.tensor(layout.spread(l2), device=self.device)
        self.constants["no_penalty"] = torch.zeros(layout.total, device=self.device)
        # of batch norm
        self.renewed = [f"network.{name}" for name in renewed_buffers(networks[0])]
        self.buffers = [self.constants.pop(name) for name in self.renewed]

    def changing(self) -> list[Tensor]:
        """Return the tensors that a step may change."""
        update = self.update
        tensors = [*update.parameters, *chain(*update.state), *update.options.averages, *self.buffers]
        return [tensor for tensor in tensors if tensor is not None]

    def snapshot(self) -> Callable[[], None]:
        """Return a function that restores the present state of all members, in the same tensors."""
        kept = [(tensor, tensor.clone()) for tensor in self.changing()]

        def take_back() -> None:
            for tensor, value in kept:
                tensor.copy_(value)

        return take_back

    def eager_steps(self) -> TakeSteps:
        """Return a function that takes the steps of a block one after another.

        The mapped step is traced once, so that only its operators run.
        """
        traced: Callable[..., Any] | None = None

        @torch.no_grad()
        def take(block: Block, rates: Sequence[Sequence[float]]) -> Losses:
            nonlocal traced
            nlls, penalties = [], []
            lr = torch.tensor(rates, device=self.device)
            for batch, rate in zip(block.batches(), lr, strict=True):
                if signals.requested():
                    break
                traced = traced or self._trace(block.nll, batch)
                gradients, (nll, penalty), new = traced(self.update.parameters, self.buffers, self.constants, batch)
                self.update(gradients, rate)
                for buffer, value in zip(self.buffers, new, strict=True):
                    buffer.copy_(value)
                nlls.append(nll)
                penalties.append(penalty)
            return (torch.stack(nlls), torch.stack(penalties)) if nlls else no_losses(self.device)

        return take

    def compiled_steps(self, compiler: bool | str) -> TakeSteps:
        """Return a function that takes the steps of a block in calls of compiled ones."""

        def gradients(parameters, buffers, nll_of, batch):  # type: ignore[no-untyped-def] # see pure_step
            return self.gradients(nll_of, parameters, buffers, self.constants, batch)

        step = PureStep(self._objective.network, gradients, self.update, self.buffers)
        return COMPILERS[compiler](step, self.eager_steps)

    def gradients(
        self,
        nll_of: Callable[..., Tensor],
        parameters: list[Tensor],
        buffers: list[Tensor],
        constants: dict[str, Tensor],
        batch: Batch,
    ) -> tuple[list[Tensor], Losses, list[Tensor]]:
        """Return the gradients (N, ...) of the parameters, NLL and penalty (N,), and new buffers, for a batch."""
        objective, names, renewed = self._objective, self._names, self.renewed

        def loss(values, buffers, constants, batch):  # type: ignore[no-untyped-def] # Dynamo cannot trace annotations
            state = dict(zip(names, values, strict=True)) | dict(zip(renewed, buffers, strict=True)) | constants
            nll, penalty = functional_call(objective, state, (nll_of, batch))
            return nll + penalty, ((nll, penalty), [state[name] for name in renewed])

        mapped = vmap(grad_and_value(loss, has_aux=True), in_dims=(0, 0, 0, self.members_dim))
        # the only form of attention that vmap maps
        with sdpa_kernel(SDPBackend.MATH):
            found, (_, (losses, new)) = mapped(parameters, buffers, constants, batch)
        return found, losses, new

    def _trace(self, nll_of: Callable[..., Tensor], batch: Batch) -> Callable[..., Any]:
        _start_autograd()
        graph = make_fx(partial(self.gradients, nll_of))(self.update.parameters, self.buffers, self.constants, batch)
        for node in graph.graph.nodes:
            # vmap leaves many views that change nothing, and each costs a call
            if node.target in _VIEWS and _shape(node) == _shape(node.args[0]):
                node.replace_all_uses_with(node.args[0])
        graph.graph.eliminate_dead_code()
        graph.recompile()
        return graph


def _start_autograd() -> None:
    """Start autograd's engine; one that a trace starts, in a build for CUDA, refuses to work in forked processes."""
    with torch.enable_grad():
        torch.ones((), requires_grad=True).backward()  # type: ignore[no-untyped-call]


_VIEWS = (torch.ops.aten.expand.default, torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default)


def _shape(node: Any) -> tuple[Any, ...]:
    meta = node.meta["tensor_meta"]
    return meta.shape, meta.stride


def blank_minibatches(batch_size: int, network: Network, length: int, members: int = 1) -> Minibatches:
    """Return the minibatch of one step of some members with tokens of zero, to try a step with; each (B, `length`)."""
    tokens = torch.zeros((1, members, batch_size, length), dtype=torch.int64)
    keys = torch.zeros((1, members), dtype=torch.int64) if network.takes_key else None
    targets = tokens if network.reads == "lines" else tokens.new_zeros(1, members, batch_size)
    return Minibatches(0, tokens, targets, keys)
