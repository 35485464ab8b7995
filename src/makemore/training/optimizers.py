"""The update rules of torch.optim as functions of gradients and a learning rate.

`torch.optim`'s classes gather their parameters, gradients, state and options at every step, which costs a small model
more than the update itself. Here they are gathered once for torch.optim's functional forms. The state stays in the
optimiser, under its own names, so checkpoints hold it as usual.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import SGD, Adam, AdamW
from torch.optim.adam import adam
from torch.optim.sgd import sgd

Gradients = list[Tensor]
# torch.optim's functional forms: (parameters, gradients, *state, lr=rate), all changed in place
Rule = Callable[..., None]


@dataclass(frozen=True)
class StepOptions:
    """What is done beside the optimiser's own rule.

    Args:
        clip_norm: the greatest norm of all gradients together, to which longer ones are shortened; None is no limit.
        averages: of the parameters, in their order, which each step moves towards them; none for no averaging.
        decay: the share of the averages that a step keeps.
    """

    clip_norm: float | None = None
    averages: list[Tensor] = field(default_factory=list)
    decay: float = 0.0

    def clipped(self, gradients: Gradients) -> Gradients:
        """Return the gradients, shortened where they are too long (Pascanu et al. 2013)."""
        if self.clip_norm is None:
            return gradients
        scale = (self.clip_norm / (get_total_norm(gradients) + TINY)).clamp(max=1)
        return list(torch._foreach_mul(gradients, scale))

    def average(self, averages: list[Tensor], parameters: list[Tensor]) -> None:
        """Move the averages towards the parameters, in place (Polyak and Juditsky 1992)."""
        if averages:
            torch._foreach_lerp_(averages, parameters, 1 - self.decay)


# as torch.nn.utils.clip_grad_norm_ has it
TINY = 1e-6


@dataclass(frozen=True)
class FunctionalUpdate:
    """A step of an optimiser: the rule of each group of parameters, applied to them and to their state."""

    rules: list[tuple[slice, Rule]]  # which of the parameters, and their rule, with its options
    parameters: list[Tensor]  # detached; they share the memory of the optimiser's
    state: tuple[list[Any], ...]  # the optimiser's own tensors, a list for each argument of the rules
    options: StepOptions

    def __call__(self, gradients: Gradients, rate: float | Tensor) -> None:
        """Change the parameters and the state by one step."""
        self.apply(self.parameters, gradients, self.state, self.options.averages, rate)

    def apply(
        self,
        parameters: list[Tensor],
        gradients: Gradients,
        state: tuple[list[Any], ...],
        averages: list[Tensor],
        rate: float | Tensor,
    ) -> None:
        """Change given parameters, state and averages by one step, in place."""
        gradients = self.options.clipped(gradients)
        for part, rule in self.rules:
            rule(parameters[part], gradients[part], *(kind[part] for kind in state), lr=rate)
        self.options.average(averages, parameters)


class ClassUpdate:
    """A step of an optimiser without a functional form: its own `step`; all its groups follow one schedule."""

    def __init__(self, optimizer: torch.optim.Optimizer, options: StepOptions) -> None:
        self.optimizer = optimizer
        self.options = options
        # where schedulers keep them
        self.bases = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]

    def __call__(self, gradients: Gradients, rate: float) -> None:
        """Change the parameters and the state by one step; the rate is that of the first group."""
        factor = rate / self.bases[0] if self.bases[0] else 1.0
        for group, base in zip(self.optimizer.param_groups, self.bases, strict=True):
            group["lr"] = base * factor
        self.optimizer.param_groups[0]["lr"] = rate
        parameters = parameters_of(self.optimizer)
        for parameter, gradient in zip(parameters, self.options.clipped(gradients), strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.options.average(self.options.averages, [parameter.detach() for parameter in parameters])


def groups_of(network: nn.Module, decay_vectors: bool) -> list[dict[str, Any]]:
    """Return groups of the parameters for an optimiser: one, or matrices and then vectors without weight decay."""
    parameters = list(network.parameters())
    if decay_vectors:
        return [{"params": parameters}]
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    return [{"params": matrices}, *([{"params": vectors, "weight_decay": 0.0}] if vectors else [])]


def parameters_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the parameters of all groups, in the optimiser's order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def has_functional_form(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimiser is SGD without dampening, Adam or AdamW, its groups alike but for weight decay."""
    if type(optimizer) is SGD:
        if any(group["momentum"] and group["dampening"] for group in optimizer.param_groups):
            return False
    elif type(optimizer) not in (Adam, AdamW):
        return False
    first, *others = ({**group, "params": None, "weight_decay": None} for group in optimizer.param_groups)
    return all(group == first for group in others)


def functional_update(
    optimizer: torch.optim.Optimizer, options: StepOptions | None = None, compiled: bool = False
) -> FunctionalUpdate | None:
    """Return the functional update of an optimiser, with its state, which is made if missing; None without one.

    With `compiled`, it has the forms that `torch.compile` can trace with a tensor as the rate.
    """
    if not has_functional_form(optimizer):
        return None
    group = optimizer.param_groups[0]
    parameters = [parameter.detach() for parameter in parameters_of(optimizer)]
    shared: dict[str, Any] = {"foreach": group.get("foreach"), "fused": group.get("fused")}
    if compiled:
        shared = {"foreach": True, "fused": False}
    state: tuple[list[Any], ...]
    if type(optimizer) is SGD:
        shared |= {name: group[name] for name in ("momentum", "dampening", "nesterov", "maximize")}
        buffers: list[Any] = [None] * len(parameters)
        if group["momentum"]:
            # torch.optim starts with the first gradient, which is the same: 0 x momentum + gradient
            buffers = _state(optimizer, "momentum_buffer", torch.zeros_like)
        rule: Rule = partial(sgd, **shared)
        state = (buffers,)
    else:
        names = ("eps", "amsgrad", "maximize", "decoupled_weight_decay")
        shared |= {name: group[name] for name in names} | {"capturable": compiled or group["capturable"]}
        beta1, beta2 = group["betas"]
        rule = partial(adam, beta1=beta1, beta2=beta2, **shared)
        on_device = compiled or group["fused"] or group["capturable"]
        state = (
            _state(optimizer, "exp_avg", torch.zeros_like),
            _state(optimizer, "exp_avg_sq", torch.zeros_like),
            _state(optimizer, "max_exp_avg_sq", torch.zeros_like) if group["amsgrad"] else [],
            _state(optimizer, "step", lambda p: torch.zeros((), device=p.device if on_device else "cpu")),
        )
    return FunctionalUpdate(rules_of(optimizer, rule), parameters, state, options or StepOptions())


def rules_of(optimizer: torch.optim.Optimizer, rule: Rule) -> list[tuple[slice, Rule]]:
    """Return the rule of each group, with its weight decay, and which of the parameters are in the group."""
    rules: list[tuple[slice, Rule]] = []
    first = 0
    for group in optimizer.param_groups:
        part = slice(first, first + len(group["params"]))
        rules.append((part, partial(rule, weight_decay=group["weight_decay"])))
        first = part.stop
    return rules


def snapshot(
    optimizer: torch.optim.Optimizer, network: nn.Module, averages: list[Tensor] | None = None
) -> Callable[[], None]:
    """Return a function that restores the present values of parameters, state, averages and buffers."""
    values = [(tensor, tensor.detach().clone()) for tensor in (*parameters_of(optimizer), *(averages or []))]
    states = {
        parameter: {name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()}
        for parameter, state in optimizer.state.items()
    }
    # batch norm sets them to new tensors, and members of a group need their own back
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in network.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]

    @torch.no_grad()
    def take_back() -> None:
        for tensor, value in values:
            tensor.copy_(value)
        for module, name, buffer, value in buffers:
            setattr(module, name, buffer.copy_(value))
        for parameter, state in optimizer.state.items():
            kept = states.get(parameter, {})
            for name in list(state):
                if name not in kept:
                    # new since the snapshot
                    del state[name]
                elif isinstance(state[name], Tensor):
                    state[name].copy_(kept[name])
                else:
                    state[name] = kept[name]

    return take_back


def _state(optimizer: torch.optim.Optimizer, name: str, make: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Return the state of each parameter under `name`, made if missing; `ValueError` for one of another shape."""
    kept = []
    for parameter in parameters_of(optimizer):
        state = optimizer.state[parameter]
        if name not in state:
            state[name] = make(parameter.detach())
        # allocates nothing
        shape = make(parameter.detach().to("meta")).shape
        if not isinstance(state[name], Tensor) or state[name].shape != shape:
            raise ValueError(f"{name} of the optimiser is not a tensor of shape {tuple(shape)}")
        kept.append(state[name])
    return kept
