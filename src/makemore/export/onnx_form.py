"""The ONNX form of a network: contexts to log-probabilities, or a step with its state.

Networks over windows take `contexts` (N, block_size), int64, and give `log_probs` (N, V), float32, in nats. Networks
over lines take `token` (N,) and their state, `state_0` and so on, and give `log_probs` (N, V) after that token and the
new state, `new_state_0` and so on; a key-value cache grows by a place a step.
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError, first_line
from makemore.models.mixture import Mixture
from makemore.models.network import Network
from makemore.models.sequence import SequenceNetwork, State


@dataclass(frozen=True)
class StateInput:
    """A tensor of the state before the first token: its shape without the rows, of what type, filled with what.

    A dimension of 0 grows by a step.
    """

    shape: tuple[int, ...]
    dtype: str
    fill: int

    def start(self, rows: int) -> Any:
        """Return the array (rows, *shape)."""
        return np.full((rows, *self.shape), self.fill, dtype=self.dtype)


@dataclass(frozen=True)
class OnnxForm:
    """The bytes of an ONNX model, and its state before the first token, empty for a network over windows."""

    content: bytes
    states: list[StateInput]


class _OfContexts(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, contexts: Tensor) -> Tensor:
        return F.log_softmax(self.network(contexts), -1).float()


class _OfToken(nn.Module):
    def __init__(self, network: SequenceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, token: Tensor, state: State) -> tuple[Tensor, ...]:
        logits, new = self.network.step(token, tuple(state))
        return F.log_softmax(logits, -1).float(), *new


def onnx_form(network: Network, vocabulary: Vocabulary) -> OnnxForm:
    """Return the ONNX form of a network on the CPU, which keeps its own.

    `UserError` where torch.onnx has no translation of it, as may be with a network of one's own.
    """
    # a mixture notes the sizes of its states as it is traced
    network = copy.deepcopy(network).eval()
    rows = torch.export.Dim("N")
    if not isinstance(network, SequenceNetwork):
        contexts = torch.full((2, network.block_size), vocabulary.start)
        return OnnxForm(_traced(_OfContexts(network), (contexts,), ({0: rows},), ["contexts"], ["log_probs"]), [])
    token = torch.full((2,), vocabulary.start)
    with torch.no_grad():
        first = network.step(token, None)[1]
        second = network.step(token, first)[1]
        third = network.step(token, second)[1]
    grows = [
        [place for place in range(1, part.ndim) if part.shape[place] != after.shape[place]]
        for part, after in zip(first, second, strict=True)
    ]
    places = torch.export.Dim("T")
    shapes = ({0: rows}, tuple({0: rows, **dict.fromkeys(dims, places)} for dims in grows))
    names = [f"state_{number}" for number in range(len(first))]
    outputs = ["log_probs", *(f"new_{name}" for name in names)]
    content = _traced(_OfToken(network), (token, third), shapes, ["token", *names], outputs)
    fills = _fills(network, vocabulary.start)
    states = [
        StateInput(
            tuple(0 if place in dims else part.shape[place] for place in range(1, part.ndim)),
            str(part.dtype).removeprefix("torch."),
            fills.get(number, 0),
        )
        for number, (part, dims) in enumerate(zip(first, grows, strict=True))
    ]
    return OnnxForm(content, states)


def _fills(network: SequenceNetwork, start: int) -> dict[int, int]:
    """Return the start token for each state that has the last tokens of a part of a mixture; all others are zero."""
    if not isinstance(network, Mixture):
        return {}
    firsts = np.cumsum([0, *network.state_sizes])
    return {int(first): start for first, part in zip(firsts, network.parts, strict=False) if part.reads == "windows"}


def _traced(
    module: nn.Module, arguments: tuple[Any, ...], shapes: tuple[Any, ...], inputs: list[str], outputs: list[str]
) -> bytes:
    with _quiet():
        try:
            program = torch.onnx.export(
                module.eval(),
                arguments,
                dynamic_shapes=shapes,
                input_names=inputs,
                output_names=outputs,
                custom_translation_table={torch.ops.aten.searchsorted.Tensor: _searchsorted},
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise UserError(f"torch.onnx cannot translate the network: {first_line(error)}") from error
    assert program is not None
    # where the code is on this machine
    graph = program.model.graph
    graph.metadata_props.clear()
    for node in graph.all_nodes():
        node.metadata_props.clear()
    content: bytes = program.model_proto.SerializeToString()
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch.onnx says of itself, such as that torchvision is not installed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def _searchsorted(ordered: Any, values: Any, **_: Any) -> Any:
    """Translate torch.searchsorted, for which ONNX has no operator, to the steps of a binary search."""
    from onnxscript import opset18 as op

    # the place before the one that is sought, which is one of the `rest` places from here on, or their end
    before = op.Sub(op.Sub(values, values), op.Constant(value_int=1))
    rest = ordered.shape[0]
    while rest > 0:
        step = (rest + 1) // 2
        probe = op.Add(before, op.Constant(value_int=step))
        before = op.Where(op.Less(op.Gather(ordered, probe), values), probe, before)
        rest -= step
    return op.Add(before, op.Constant(value_int=1))
