"""Checks that the MLP in plain JAX is the lesson's: the same loss on the same rows, and the same updates."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from benchmarks.baselines import _forward, mlp_parameters


def first_losses() -> tuple[list[float], list[float], Any]:
    """Return the losses of five steps in JAX, those in torch on the same rows, and those of two members."""
    import jax
    import numpy as np

    from benchmarks.jax_baselines import members_scan, mlp_scan

    contexts = torch.randint(5, (40, 3), generator=torch.Generator().manual_seed(0))
    targets = contexts.sum(1) % 5
    parameters = mlp_parameters(5)
    arrays = [p.detach().numpy() for p in parameters], jax.numpy.array(contexts), jax.numpy.array(targets)
    losses = mlp_scan(*arrays, steps=5)
    of_members = np.array(members_scan(*arrays, rates=[0.1, 0.0], steps=5))
    wanted = []
    for key in jax.random.split(jax.random.key(0), 5):
        rows = torch.tensor(np.array(jax.random.randint(key, (32,), 0, 40)))
        loss = F.cross_entropy(_forward(parameters, contexts[rows]), targets[rows])
        wanted.append(loss.item())
        gradients = torch.autograd.grad(loss, parameters)
        parameters = [(p - 0.1 * g).detach().requires_grad_() for p, g in zip(parameters, gradients, strict=True)]
    return losses, wanted, of_members


@pytest.mark.full
def test_the_mlp_in_jax_is_the_lessons(in_jax_process: Callable[..., Any]) -> None:
    losses, wanted, of_members = in_jax_process(first_losses)
    assert losses == pytest.approx(wanted, abs=1e-4)
    assert of_members.shape == (5, 2)
    # the first step is not updated yet; a member whose rate is 0 never is
    assert wanted[0] > 2
    assert not (of_members[1:, 0] == of_members[1:, 1]).any()
