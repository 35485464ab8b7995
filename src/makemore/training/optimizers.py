"""The update rules of torch.optim as functions of gradients and a learning rate.

`torch.optim`'s classes gather their parameters, gradients, state and options at every step, which costs a small model
more than the update itself. Here they are gathered once for torch.optim's functional forms. The state stays in the
optimiser, under its own names, so checkpoints hold it as usual.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.adam import adam
from torch.optim.sgd import sgd

Gradients = list[Tensor]
# torch.optim's functional forms: (parameters, gradients, *state, lr=rate), all changed in place
Rule = Callable[..., None]


@dataclass(frozen=True)
class FunctionalUpdate:
    """A step of an optimiser: `rule` applied to its parameters and its state."""

    rule: Rule  # with its options
    parameters: list[Tensor]  # detached; they share the memory of the optimiser's
    state: tuple[list[Any], ...]  # the optimiser's own tensors, a list for each argument of `rule`

    def __call__(self, gradients: Gradients, rate: float | Tensor) -> None:
        """Change the parameters and the state by one step."""
        self.rule(self.parameters, gradients, *self.state, lr=rate)


class ClassUpdate:
    """A step of an optimiser without a functional form: its own `step`; all its groups follow one schedule."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        # where schedulers keep them
        self.bases = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]

    def __call__(self, gradients: Gradients, rate: float) -> None:
        """Change the parameters and the state by one step; the rate is that of the first group."""
        factor = rate / self.bases[0] if self.bases[0] else 1.0
        for group, base in zip(self.optimizer.param_groups, self.bases, strict=True):
            group["lr"] = base * factor
        self.optimizer.param_groups[0]["lr"] = rate
        for parameter, gradient in zip(parameters_of(self.optimizer), gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()


def parameters_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the parameters of all groups, in the optimiser's order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def has_functional_form(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimiser is SGD without dampening, Adam or AdamW, with one group of parameters."""
    group, *others = optimizer.param_groups
    if type(optimizer) is SGD:
        return not others and not (group["momentum"] and group["dampening"])
    return not others and type(optimizer) in (Adam, AdamW)


def functional_update(optimizer: torch.optim.Optimizer, compiled: bool = False) -> FunctionalUpdate | None:
    """Return the functional update of an optimiser, with its state, which is made if missing; None without one.

    With `compiled`, it has the forms that `torch.compile` can trace with a tensor as the rate.
    """
    if not has_functional_form(optimizer):
        return None
    (group,) = optimizer.param_groups
    parameters = [parameter.detach() for parameter in group["params"]]
    options: dict[str, Any] = {"foreach": group.get("foreach"), "fused": group.get("fused")}
    if compiled:
        options = {"foreach": True, "fused": False}
    if type(optimizer) is SGD:
        options |= {name: group[name] for name in ("weight_decay", "momentum", "dampening", "nesterov", "maximize")}
        buffers: list[Any] = [None] * len(parameters)
        if group["momentum"]:
            # torch.optim starts with the first gradient, which is the same: 0 x momentum + gradient
            buffers = _state(optimizer, "momentum_buffer", torch.zeros_like)
        return FunctionalUpdate(partial(sgd, **options), parameters, (buffers,))
    names = ("weight_decay", "eps", "amsgrad", "maximize", "decoupled_weight_decay")
    options |= {name: group[name] for name in names} | {"capturable": compiled or group["capturable"]}
    beta1, beta2 = group["betas"]
    on_device = compiled or group["fused"] or group["capturable"]
    state = (
        _state(optimizer, "exp_avg", torch.zeros_like),
        _state(optimizer, "exp_avg_sq", torch.zeros_like),
        _state(optimizer, "max_exp_avg_sq", torch.zeros_like) if group["amsgrad"] else [],
        _state(optimizer, "step", lambda p: torch.zeros((), device=p.device if on_device else "cpu")),
    )
    return FunctionalUpdate(partial(adam, beta1=beta1, beta2=beta2, **options), parameters, state)


def snapshot(optimizer: torch.optim.Optimizer, network: nn.Module) -> Callable[[], None]:
    """Return a function that restores the present values of parameters, state and buffers, in the same tensors."""
    values = [(parameter, parameter.detach().clone()) for parameter in parameters_of(optimizer)]
    states = {
        parameter: {name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()}
        for parameter, state in optimizer.state.items()
    }
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}

    @torch.no_grad()
    def take_back() -> None:
        for parameter, value in values:
            parameter.copy_(value)
        for name, buffer in network.named_buffers():
            buffer.copy_(buffers[name])
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
    """Return the state of each parameter under `name`, made if missing."""
    kept = []
    for parameter in parameters_of(optimizer):
        state = optimizer.state[parameter]
        if name not in state:
            state[name] = make(parameter.detach())
        kept.append(state[name])
    return kept
