"""The lesson's MLP in plain JAX, as its users write it: a jitted scan over steps, and `vmap` over members.

Needs the extra `xla`.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

# steps in one call
_BLOCK = 250
Array = Any
Parameters = list[Array]


def _loss(parameters: Parameters, contexts: Array, targets: Array) -> Array:
    c, w1, b1, w2, b2 = parameters
    h = jnp.tanh(c[contexts].reshape(len(contexts), -1) @ w1 + b1)
    log_probs = jax.nn.log_softmax(h @ w2 + b2)
    return -jnp.take_along_axis(log_probs, targets[:, None], 1).mean()


def _step(parameters: Parameters, key: Array, lr: Array, contexts: Array, targets: Array) -> tuple[Parameters, Array]:
    rows = jax.random.randint(key, (32,), 0, len(contexts))
    loss, gradients = jax.value_and_grad(_loss)(parameters, contexts[rows], targets[rows])
    return [p - lr * g for p, g in zip(parameters, gradients, strict=True)], loss


@partial(jax.jit, donate_argnums=0)
def _block(
    parameters: Parameters, keys: Array, rates: Array, contexts: Array, targets: Array
) -> tuple[Parameters, Array]:
    def one(parameters: Parameters, inputs: tuple[Array, Array]) -> tuple[Parameters, Array]:
        return _step(parameters, *inputs, contexts, targets)

    return jax.lax.scan(one, parameters, (keys, rates))


@partial(jax.jit, donate_argnums=0)
def _block_of_members(
    parameters: Parameters, keys: Array, rates: Array, contexts: Array, targets: Array
) -> tuple[Parameters, Array]:
    mapped = jax.vmap(_step, in_axes=(0, 0, 0, None, None))

    def one(parameters: Parameters, keys: Array) -> tuple[Parameters, Array]:
        return mapped(parameters, keys, rates, contexts, targets)

    return jax.lax.scan(one, parameters, keys)


def mlp_scan(parameters: Parameters, contexts: Array, targets: Array, steps: int) -> list[float]:
    """Train on minibatches of 32, as `mlp_loop` does, and return the loss of each step.

    Args:
        parameters: c, w1, b1, w2, b2.
        contexts: (N, T).
        targets: (N,).
        steps: the number of updates, a multiple of 250 or less than that.
    """
    losses: list[float] = []
    parameters, block = [jnp.array(p) for p in parameters], min(_BLOCK, steps)
    for number in range(steps // block):
        keys = jax.random.split(jax.random.key(number), block)
        parameters, found = _block(parameters, keys, jnp.full(block, 0.1), contexts, targets)
        losses += found.tolist()
    return losses


def members_scan(parameters: Parameters, contexts: Array, targets: Array, rates: list[float], steps: int) -> Array:
    """Train a member for each of N rates at once, and return the losses (K, N); see `mlp_scan`."""
    losses, block = [], min(_BLOCK, steps)
    parameters = [jnp.stack([jnp.asarray(p)] * len(rates)) for p in parameters]
    for number in range(steps // block):
        keys = jax.random.split(jax.random.key(number), (block, len(rates)))
        parameters, found = _block_of_members(parameters, keys, jnp.array(rates), contexts, targets)
        losses.append(jax.device_get(found))
    return jnp.concatenate(losses)
