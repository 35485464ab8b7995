"""A mixture: the weighted mean of the probabilities of other networks over the same vocabulary."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from makemore.errors import UserError
from makemore.models.network import build, register
from makemore.models.sequence import SequenceNetwork, State


@register("mixture")
class Mixture(SequenceNetwork):
    """p(token) = sum of weight p_part(token) over parts, networks over windows or over lines; it is not trained.

    The first token of a line is its start, with which the contexts of parts over windows are padded.

    Args:
        parts: the registered name and the arguments of each, as {"architecture": ..., "arguments": {...}}.
    """

    weights: Tensor  # (K,) float64, of the parts

    def __init__(self, vocab_size: int, generator: torch.Generator, parts: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        built = [build(part["architecture"], vocab_size, part["arguments"], seed=0) for part in parts]
        if not built:
            raise UserError("a mixture needs parts")
        self.parts: Any = nn.ModuleList(built)
        of_lines = [part.block_size for part in built if part.reads == "lines"]
        of_windows = [part.block_size for part in built if part.reads == "windows"]
        self.block_size = min(of_lines) if of_lines else max(1, *of_windows)
        if max(of_windows, default=0) > self.block_size:
            what = f"contexts of {max(of_windows)} tokens do not mix with model.block_size={self.block_size}"
            raise UserError(f"{what}, the most that another part sees; leave one of them out")
        self.register_buffer("weights", torch.full((len(built),), 1 / len(built), dtype=torch.float64))
        # tensors in the state of each part
        self.state_sizes = [0] * len(built)

    def forward(self, tokens: Tensor | PackedSequence, key: Tensor | None = None) -> Tensor:
        """Return the float64 log-probabilities (B, T, V) after each of padded tokens (B, T)."""
        assert isinstance(tokens, Tensor)
        found = []
        for part in self.parts:
            if part.reads == "lines":
                found.append(part(tokens))
            else:
                start = tokens[:, :1].expand(-1, max(part.block_size - 1, 0))
                contexts = torch.cat((start, tokens), 1).unfold(1, max(part.block_size, 1), 1)[..., : part.block_size]
                found.append(part(contexts.flatten(0, 1)).unflatten(0, tokens.shape))
        return self._mixed(found)

    def step(self, tokens: Tensor, state: State | None) -> tuple[Tensor, State]:
        """See `SequenceNetwork`; the state has those of the parts, and the last tokens (B, T) of each over windows."""
        found, new, first = [], list[Tensor](), 0
        for number, part in enumerate(self.parts):
            before = None if state is None else state[first : first + self.state_sizes[number]]
            first += self.state_sizes[number]
            after: State
            if part.reads == "lines":
                logits, after = part.step(tokens, before)
            else:
                last = tokens.unsqueeze(1).expand(-1, part.block_size) if before is None else before[0]
                contexts = torch.cat((last, tokens.unsqueeze(1)), 1)[:, 1 : part.block_size + 1]
                logits, after = part(contexts), (contexts,)
            self.state_sizes[number] = len(after)
            found.append(logits)
            new += after
        return self._mixed(found), tuple(new)

    def _mixed(self, logits: Sequence[Tensor]) -> Tensor:
        """Return the log-probabilities (..., V) of the mixture, given the logits (..., V) of each part."""
        parts = torch.stack([F.log_softmax(each.double(), -1) for each in logits], -1)
        return (parts + self.weights.log()).logsumexp(-1)
