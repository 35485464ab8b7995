"""The check of an ONNX form against its network, by onnxruntime, on contexts of both likely and unlikely tokens."""

from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError, first_line
from makemore.export.onnx_form import OnnxForm
from makemore.inference.sampling import SamplingOptions, samples
from makemore.models.network import Network

NUM_CONTEXTS = 1000
# the greatest difference of log-probabilities; of those below -1, the greatest by their size, as float32 rounds
TOLERANCE = 1e-5
# tokens of a line
_LENGTH = 20


@torch.no_grad()
def greatest_difference(form: OnnxForm, network: Network, vocabulary: Vocabulary) -> float:
    """Return the greatest difference of log-probabilities on `NUM_CONTEXTS` contexts.

    Raises:
        UserError: it is above `TOLERANCE`.
        DivergedError: the network gives no probabilities.
    """
    tokens = trial_lines(network, vocabulary)
    if network.reads == "windows":
        padding = tokens[:, :1].expand(-1, max(network.block_size - 1, 0))
        windows = torch.cat((padding, tokens), 1).unfold(1, max(network.block_size, 1), 1)
        tokens = windows[..., : network.block_size].flatten(0, 1).contiguous()
    wanted = F.log_softmax(network(tokens), -1)
    try:
        got = _of_lines(form, tokens) if network.reads == "lines" else _of_contexts(form, tokens)
    except Exception as error:  # onnxruntime has many
        raise UserError(f"onnxruntime cannot run its ONNX form: {first_line(error)}") from error
    difference = _difference(got, wanted)
    if not difference <= TOLERANCE:
        raise UserError(f"its ONNX form differs by {difference:.1e}, more than {TOLERANCE:.0e}")
    return difference


def trial_lines(network: Network, vocabulary: Vocabulary) -> Tensor:
    """Return tokens (R, T) with as many contexts as wanted: every second line begins with an item that is sampled."""
    length = min(network.block_size, _LENGTH) if network.reads == "lines" else _LENGTH
    rows = -(-NUM_CONTEXTS // length)
    lines = torch.randint(vocabulary.size, (rows, length), generator=torch.Generator().manual_seed(0))
    lines[:, 0] = vocabulary.start
    options = SamplingOptions(max_length=max(length - 1, 1))
    items = islice(samples(network, vocabulary, 0, options), len(lines[::2]))
    for line, item in zip(lines[::2], items, strict=True):
        tokens = [*vocabulary.encode(item), vocabulary.end][: length - 1]
        line[1 : len(tokens) + 1] = torch.tensor(tokens)
    return lines


def _of_contexts(form: OnnxForm, contexts: Tensor) -> Tensor:
    return torch.from_numpy(_session(form.content).run(None, {"contexts": contexts.numpy()})[0])


def _of_lines(form: OnnxForm, lines: Tensor) -> Tensor:
    session, found = _session(form.content), []
    states = [state.start(len(lines)) for state in form.states]
    for token in lines.T:
        named = {f"state_{number}": state for number, state in enumerate(states)}
        log_probs, *states = session.run(None, {"token": token.numpy(), **named})
        found.append(torch.from_numpy(log_probs))
    return torch.stack(found, 1)


def _difference(got: Tensor, wanted: Tensor) -> float:
    # of two infinite ones it is none
    differences = (got - wanted).abs().masked_fill(got == wanted, 0)
    return float((differences / wanted.abs().clamp(min=1)).nan_to_num(torch.inf).max())


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
