"""Each ATen operator of the table: in JAX the same numbers, of the same type, as in torch."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

aten = torch.ops.aten
A = torch.linspace(-2, 2, 24).reshape(4, 6)
INPUTS = {
    "a": A,
    "b": torch.linspace(1, -1, 30).reshape(6, 5),
    "i": torch.arange(24).reshape(4, 6) * 5 % 7 - 3,
    "positive": A.abs() + 0.1,
    "row": torch.linspace(0.5, 1.5, 6),
    "true": A > 0,
    "few": torch.tensor([[0, 1], [2, 0], [5, 4], [3, 5]]),
    "two": A[:, :2] * 9,
    "three": A[0, :3] + 1,
    "five": A[0, :5] + 1,
    "rows": torch.tensor([0, 3, 3]),
    "columns": torch.tensor([1, 5, 5]),
}
CASES: dict[str, Callable[[Any], Any]] = {
    "_foreach_lerp": lambda t: aten._foreach_lerp.Scalar([t.a, t.row], [t.a * 2, t.row * 3], 0.3),
    "_foreach_mul": lambda t: aten._foreach_mul.Tensor([t.a, t.row], torch.tensor(0.5)),
    "_foreach_norm": lambda t: aten._foreach_norm.Scalar([t.a, t.row]),
    "_log_softmax": lambda t: aten._log_softmax.default(t.a, 1, False),
    "_native_batch_norm_legit_functional": lambda t: aten._native_batch_norm_legit_functional.default(
        t.a, t.row, t.row, t.row * 2, t.row * 3, True, 0.1, 1e-5
    ),
    "_softmax": lambda t: aten._softmax.default(t.a, 0, False),
    "_to_copy": lambda t: aten._to_copy.default(t.a * 3, dtype=torch.int32),
    "_unsafe_view": lambda t: aten._unsafe_view.default(t.a, [2, 12]),
    "abs": lambda t: aten.abs.default(t.a),
    "add": lambda t: aten.add.Tensor(t.a, t.row, alpha=-0.1),
    "addmm": lambda t: aten.addmm.default(t.five, t.a, t.b),
    "amax": lambda t: aten.amax.default(t.a, [0]),
    "any": lambda t: aten.any.dim(t.true, 1, True),
    "arange": lambda t: aten.arange.start_step(1, 9, 3, dtype=torch.int32),
    "bitwise_and": lambda t: aten.bitwise_and.Scalar(t.i.int(), 0xFFFF),
    "bitwise_not": lambda t: aten.bitwise_not.default(t.true),
    "bitwise_or": lambda t: aten.bitwise_or.Tensor(t.i, t.i + 1),
    "bitwise_xor": lambda t: aten.bitwise_xor.Tensor(t.i.int(), t.i.int() * 0x7FEB352D),
    "bmm": lambda t: aten.bmm.default(t.a.view(2, 2, 6), t.a.view(2, 6, 2)),
    "cat": lambda t: aten.cat.default([t.a, t.a], 1),
    "clamp": lambda t: aten.clamp.default(t.a, None, 1),
    "clone": lambda t: aten.clone.default(t.a),
    "copy": lambda t: aten.copy.default(t.a, t.row.double()),
    "cos": lambda t: aten.cos.default(t.a),
    "cumsum": lambda t: aten.cumsum.default(t.a, 1),
    "div": lambda t: aten.div.Tensor(t.i, t.i.abs() + 1),
    "embedding": lambda t: aten.embedding.default(t.a, t.rows),
    "empty": lambda t: aten.mul.Tensor(aten.empty.memory_format([0]), 0),
    "eq": lambda t: aten.eq.Scalar(t.i, 2),
    "exp": lambda t: aten.exp.default(t.a),
    "expand": lambda t: aten.expand.default(t.row, [4, -1]),
    "expand_copy": lambda t: aten.expand_copy.default(t.row, [4, -1]),
    "flip": lambda t: aten.flip.default(t.a, [1]),
    "full": lambda t: aten.full.default([2, 3], 1, dtype=torch.float32),
    "full_like": lambda t: aten.full_like.default(t.i, 7),
    "gather": lambda t: aten.gather.default(t.a, 1, t.few),
    "ge": lambda t: aten.ge.Tensor(t.a, t.row),
    "gelu": lambda t: aten.gelu.default(t.a, approximate="tanh"),
    "gt": lambda t: aten.gt.Scalar(t.a, 0),
    "index": lambda t: aten.index.Tensor(t.a, [None, t.columns]),
    "index_put": lambda t: (
        aten.index_put.default(t.a, [t.rows, t.columns], t.three, True),
        aten.index_put.default(t.a, [None, t.columns], t.three),
    ),
    "le": lambda t: aten.le.Scalar(t.a, 0),
    "lift_fresh_copy": lambda t: torch.tensor(0.5) * t.a,
    "linalg_vector_norm": lambda t: aten.linalg_vector_norm.default(t.a, 2, [1]),
    "log": lambda t: aten.log.default(t.positive),
    "logical_and": lambda t: aten.logical_and.default(t.true, t.i),
    "logical_not": lambda t: aten.logical_not.default(t.i),
    "logical_or": lambda t: aten.logical_or.default(t.true, t.i),
    "lt": lambda t: aten.lt.Scalar(t.a, 0.5),
    "maximum": lambda t: aten.maximum.default(t.a, t.row),
    "mean": lambda t: aten.mean.dim(t.a, [0, 1]),
    "minimum": lambda t: aten.minimum.default(t.a, t.row),
    "mm": lambda t: aten.mm.default(t.a, t.b),
    "mul": lambda t: aten.mul.Tensor(t.i.int(), 0x7FEB352D),
    "native_layer_norm": lambda t: aten.native_layer_norm.default(t.a, [6], t.row, None, 1e-5),
    "ne": lambda t: aten.ne.Scalar(t.i, -1),
    "neg": lambda t: aten.neg.default(t.a),
    "permute": lambda t: aten.permute.default(t.a.view(2, 2, 6), [2, 0, 1]),
    "permute_copy": lambda t: aten.permute_copy.default(t.a, [1, 0]),
    "pow": lambda t: (aten.pow.Tensor_Scalar(t.a, 3), aten.pow.Scalar(10000, t.a)),
    "reciprocal": lambda t: aten.reciprocal.default(t.positive),
    "relu": lambda t: aten.relu.default(t.a),
    "__rshift__": lambda t: aten.__rshift__.Scalar(t.i.int() * 0x7FEB352D, 16),
    "rsqrt": lambda t: aten.rsqrt.default(t.positive),
    "scalar_tensor": lambda t: aten.scalar_tensor.default(0.5, dtype=torch.float64),
    "scatter": lambda t: aten.scatter.value(t.a, 1, t.few, -1.0),
    "select_copy": lambda t: aten.select_copy.int(t.a, 1, -1),
    "sigmoid": lambda t: aten.sigmoid.default(t.a),
    "sin": lambda t: aten.sin.default(t.a),
    "slice_copy": lambda t: aten.slice_copy.Tensor(t.a, 1, 1, 2**63 - 1, 2),
    "slice_scatter": lambda t: aten.slice_scatter.default(t.a, t.two, 1, 0, 2),
    "split_copy": lambda t: aten.split_copy.Tensor(t.a, 4, 1),
    "split_with_sizes": lambda t: aten.split_with_sizes.default(t.a, [1, 2, 3], 1),
    "sqrt": lambda t: aten.sqrt.default(t.positive),
    "squeeze": lambda t: aten.squeeze.dims(t.a.view(4, 1, 6), [1]),
    "squeeze_copy": lambda t: aten.squeeze_copy.dims(t.a.view(4, 1, 6), [1]),
    "sub": lambda t: aten.sub.Tensor(t.i, t.i, alpha=3),
    "sum": lambda t: (
        aten.sum.dim_IntList(t.true, [0]),
        aten.sum.dim_IntList(t.a, [1], True),
        aten.sum.default(t.i.int()),
    ),
    "tanh": lambda t: aten.tanh.default(t.a),
    "unbind_copy": lambda t: aten.unbind_copy.int(t.a, 1),
    "unsqueeze": lambda t: aten.unsqueeze.default(t.a, -1),
    "unsqueeze_copy": lambda t: aten.unsqueeze_copy.default(t.a, 1),
    "view": lambda t: aten.view.default(t.a, [-1, 8]),
    "view_copy": lambda t: aten.view_copy.default(t.a, [3, 8]),
    "where": lambda t: aten.where.self(t.true, t.a, torch.tensor(0.0, dtype=torch.float64)),
}


def flat(results: Any) -> list[Tensor]:
    if isinstance(results, Tensor):
        return [results]
    return [tensor for part in results for tensor in flat(part)]


def results(*inputs: Tensor) -> list[list[Tensor]]:
    given = SimpleNamespace(**dict(zip(INPUTS, inputs, strict=True)))
    return [flat(case(given)) for case in CASES.values()]


def compare() -> tuple[list[str], set[str]]:
    """Return the operators whose results differ between JAX and torch, and the names in the table."""
    import jax
    import numpy as np
    from torch.fx.experimental.proxy_tensor import make_fx

    from makemore.training.aten import _OF_SHAPE, _TABLE, as_jax

    inputs = [*INPUTS.values()]
    traced = make_fx(lambda *inputs: flat(results(*inputs)))(*inputs)
    assert all(f"aten.{name}." in traced.code for name in CASES)
    with jax.enable_x64(True):
        # all in one program, as each would be compiled by itself otherwise
        function, constants = as_jax(traced)
        arrays = iter(jax.jit(function)([each.numpy() for each in constants], *(each.numpy() for each in inputs)))
    differ = []
    for name, wanted in zip(CASES, results(*inputs), strict=True):
        found = [torch.from_numpy(np.array(next(arrays))) for _ in wanted]
        try:
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        except AssertionError as error:
            differ.append(f"{name}: {error}")
    return differ, {*_TABLE, *_OF_SHAPE}


@pytest.mark.full
def test_each_operator_gives_in_jax_what_it_gives_in_torch(in_jax_process: Callable[..., Any]) -> None:
    differ, known = in_jax_process(compare)
    assert not differ
    assert known == CASES.keys()
