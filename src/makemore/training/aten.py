"""ATen operators as functions of JAX: those into which the core decompositions take our networks and update rules.

Each function has the arguments of its operator: https://docs.pytorch.org/docs/stable/torch.compiler_ir.html.
"""

from collections.abc import Callable, Sequence
from operator import and_, eq, ge, gt, le, lt, mul, ne, or_, rshift, truediv, xor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_aggregate

# an array, or what JAX takes for one
Array = Any


class UnknownOperatorError(Exception):
    """A traced function has operators, or arguments of operators, that are not in the table."""


def as_jax(traced: GraphModule) -> tuple[Callable[..., list[Array]], list[Tensor]]:
    """Return a traced function of tensors, without side effects, as one of arrays, and the constants that it has.

    (constants, *arrays) -> results. XLA would compute with constants in advance, with other last digits where those of
    all members of a group are equal.

    Raises:
        UnknownOperatorError: it has operators that are not in the table; once it is called, arguments that are not.
    """
    traced.graph.eliminate_dead_code()
    nodes = list(traced.graph.nodes)
    called = {_name(node) for node in nodes if isinstance(node.target, torch._ops.OpOverload)}
    if unknown := sorted(called - {*_TABLE, *_OF_SHAPE}):
        raise UnknownOperatorError(f"{', '.join(unknown)} not known to JAX here")
    attributes = [node.target for node in nodes if node.op == "get_attr"]

    def function(constants: Sequence[Array], *arrays: Array) -> list[Array]:
        given, known = iter(arrays), iter(constants)
        values: dict[Node, Any] = {}
        for node in nodes:
            # the values of other nodes in place of these
            args, kwargs = (
                map_aggregate(part, lambda each: values[each] if isinstance(each, Node) else each)
                for part in (node.args, node.kwargs)
            )
            if node.op == "placeholder":
                values[node] = next(given)
            elif node.op == "get_attr":
                values[node] = next(known)
            elif node.op == "output":
                return list(args[0])
            elif not isinstance(node.target, torch._ops.OpOverload):
                # takes one of several results
                values[node] = node.target(*args, **kwargs)
            elif _name(node) in _OF_SHAPE:
                values[node] = _OF_SHAPE[_name(node)](args[0], node.meta["tensor_meta"].shape)
            else:
                try:
                    result = _TABLE[_name(node)](*args, **kwargs)
                except (TypeError, NotImplementedError) as error:
                    what = f"{_name(node)} with these arguments"
                    raise UnknownOperatorError(f"{what} not known to JAX here") from error
                values[node] = _of_dtype(result, node.meta.get("tensor_meta"))
        raise AssertionError

    return function, [getattr(traced, attribute).detach() for attribute in attributes]


def _name(node: Node) -> str:
    return str(node.target.overloadpacket.__name__)  # type: ignore[union-attr]


def _of_dtype(value: Any, meta: Any) -> Any:
    """Return the result of an operator with the dtype that torch gives it; JAX promotes numbers otherwise."""
    return value.astype(str(meta.dtype).removeprefix("torch.")) if isinstance(value, jax.Array) else value


def _slices(dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> tuple[slice, ...]:
    return (*[slice(None)] * dim, slice(start, end, step))


def _at(indices: Sequence[Array | None]) -> tuple[Any, ...]:
    return tuple(slice(None) if index is None else index for index in indices)


def _unbind(x: Array, dim: int = 0) -> list[Array]:
    return [lax.index_in_dim(x, index, dim, keepdims=False) for index in range(x.shape[dim])]


def _split(x: Array, sizes: int | Sequence[int], dim: int = 0) -> list[Array]:
    ends = range(sizes, x.shape[dim], sizes) if isinstance(sizes, int) else np.cumsum(sizes)[:-1].tolist()
    return jnp.split(x, list(ends), dim)


def _index_put(x: Array, indices: Sequence[Array | None], y: Array, accumulate: bool = False) -> Array:
    return x.at[_at(indices)].add(y) if accumulate else x.at[_at(indices)].set(y)


def _reduction(reduce: Callable[..., Array]) -> Callable[..., Array]:
    def over(x: Array, dims: int | Sequence[int] | None = None, keepdim: bool = False, **_: Any) -> Array:
        axis = dims if isinstance(dims, int) else tuple(dims) if dims else None
        return reduce(x, axis=axis, keepdims=keepdim)

    return over


def _norm(x: Array, order: float = 2, dims: Any = None, keepdim: bool = False, **_: Any) -> Array:
    if order != 2:
        raise NotImplementedError
    return jnp.sqrt(_reduction(jnp.sum)(x * x, dims, keepdim))


def _layer_norm(x: Array, shape: Sequence[int], gain: Array | None, bias: Array | None, eps: float) -> list[Array]:
    dims = tuple(range(x.ndim - len(shape), x.ndim))
    mean = x.mean(dims, keepdims=True)
    scale = lax.rsqrt(x.var(dims, keepdims=True) + eps)
    return [(x - mean) * scale * (1 if gain is None else gain) + (0 if bias is None else bias), mean, scale]


def _batch_norm(
    x: Array,
    gain: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    training: bool,
    momentum: float,
    eps: float,
) -> list[Array]:
    """Normalise (B, C) by its own statistics, and return the result, these, and the new running ones."""
    if not training:
        raise NotImplementedError
    mean, var, rows = x.mean(0), x.var(0), x.shape[0]
    scale = lax.rsqrt(var + eps)
    new = [(1 - momentum) * running_mean + momentum * mean]
    new += [(1 - momentum) * running_var + momentum * var * (rows / (rows - 1))]
    return [(x - mean) * scale * gain + bias, mean, scale, *new]


# (array, shape of the result)
_OF_SHAPE: dict[str, Callable[..., Array]] = {
    **dict.fromkeys(("view", "view_copy", "_unsafe_view", "squeeze", "squeeze_copy"), jnp.reshape),
    **dict.fromkeys(("unsqueeze", "unsqueeze_copy"), jnp.reshape),
    **dict.fromkeys(("expand", "expand_copy"), jnp.broadcast_to),
}

_TABLE: dict[str, Callable[..., Any]] = {
    "_foreach_lerp": lambda xs, ys, weight: [x + weight * (y - x) for x, y in zip(xs, ys, strict=True)],
    "_foreach_mul": lambda xs, y: [x * y for x in xs],
    "_foreach_norm": lambda xs, *order: [_norm(x, *order) for x in xs],
    "_log_softmax": lambda x, dim, _: jax.nn.log_softmax(x, dim),
    "_native_batch_norm_legit_functional": _batch_norm,
    "_softmax": lambda x, dim, _: jax.nn.softmax(x, dim),
    "_to_copy": lambda x, **_: x,
    "abs": jnp.abs,
    "add": lambda x, y, alpha=1: x + (y if alpha == 1 else alpha * y),
    "addmm": lambda bias, x, y: bias + x @ y,
    "amax": _reduction(jnp.max),
    "any": _reduction(jnp.any),
    "arange": lambda *bounds, **_: jnp.arange(*bounds),
    "bitwise_and": and_,
    "bitwise_not": jnp.bitwise_not,
    "bitwise_or": or_,
    "bitwise_xor": xor,
    "bmm": jnp.matmul,
    "cat": lambda xs, dim=0: jnp.concatenate(xs, dim),
    "clamp": lambda x, low=None, high=None: jnp.clip(x, low, high),
    "clone": lambda x, **_: x,
    "copy": lambda x, y: jnp.broadcast_to(y, x.shape),
    "cos": jnp.cos,
    "cumsum": jnp.cumsum,
    "div": truediv,
    "embedding": lambda weight, index, *_: weight[index],
    "empty": lambda shape, **_: jnp.zeros(shape),
    "eq": eq,
    "exp": jnp.exp,
    "flip": jnp.flip,
    "full": lambda shape, value, **_: jnp.full(shape, value),
    "full_like": lambda x, value, **_: jnp.full_like(x, value),
    "gather": lambda x, dim, index: jnp.take_along_axis(x, index, dim, mode="promise_in_bounds"),
    "ge": ge,
    "gelu": lambda x, approximate="none": jax.nn.gelu(x, approximate == "tanh"),
    "gt": gt,
    "index": lambda x, indices: x[_at(indices)],
    "index_put": _index_put,
    "le": le,
    "lift_fresh_copy": lambda x: x,
    "linalg_vector_norm": _norm,
    "log": jnp.log,
    "logical_and": jnp.logical_and,
    "logical_not": jnp.logical_not,
    "logical_or": jnp.logical_or,
    "lt": lt,
    "maximum": jnp.maximum,
    "mean": _reduction(jnp.mean),
    "minimum": jnp.minimum,
    "mm": jnp.matmul,
    "mul": mul,
    "native_layer_norm": _layer_norm,
    "ne": ne,
    "neg": jnp.negative,
    "permute": jnp.transpose,
    "permute_copy": jnp.transpose,
    "pow": jnp.power,
    "reciprocal": jnp.reciprocal,
    "relu": jax.nn.relu,
    "__rshift__": rshift,
    "rsqrt": lax.rsqrt,
    "scalar_tensor": lambda value, **_: jnp.asarray(value),
    "scatter": lambda x, dim, index, value: jnp.put_along_axis(x, index, value, dim, inplace=False),
    "select_copy": lambda x, dim, index: lax.index_in_dim(x, index, dim, keepdims=False),
    "sigmoid": jax.nn.sigmoid,
    "sin": jnp.sin,
    "slice_copy": lambda x, *bounds: x[_slices(*bounds)],
    "slice_scatter": lambda x, y, *bounds: x.at[_slices(*bounds)].set(y),
    "split_copy": _split,
    "split_with_sizes": _split,
    "sqrt": jnp.sqrt,
    "sub": lambda x, y, alpha=1: x - (y if alpha == 1 else alpha * y),
    "sum": _reduction(jnp.sum),
    "tanh": jnp.tanh,
    "unbind_copy": _unbind,
    "where": jnp.where,
}
