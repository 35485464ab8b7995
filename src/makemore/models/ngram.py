"""The counted n-gram: relative frequencies of the token after a context, with add-k smoothing (L0, L3, L4)."""

import torch
from torch import Tensor

from makemore.data.windows import CountedWindows
from makemore.errors import UserError, real_number, whole_number
from makemore.models.network import Counted, register


@register("ngram")
class NGram(Counted):
    """Counts of n-grams, as sorted codes.

    With add-k smoothing, p(token | context) = (count + k) / (count of the context + k V); uniform after an unseen
    context. Order 2 is the lessons' bigram, order 0 the uniform distribution.

    Args:
        order: n; a context has n - 1 tokens.
        fake_count: k, added to every count; 0 gives unseen n-grams probability 0 and an infinite NLL.
    """

    codes: Tensor
    counts: Tensor

    def __init__(self, vocab_size: int, generator: torch.Generator, order: int = 2, fake_count: float = 0) -> None:
        super().__init__(vocab_size, whole_number("model.order", order))
        self.fake_count = real_number("model.fake_count", fake_count, at_least=0)
        most = max(n for n in range(64) if vocab_size**n < 2**63)
        if order > most:
            raise UserError(f"model.order={order} is too long to count {vocab_size} tokens with; the most is {most}")
        self.register_tables(codes=torch.zeros(0, dtype=torch.int64), counts=torch.zeros(0, dtype=torch.int64))

    def count(self, windows: CountedWindows) -> None:
        """See `Counted`."""
        if self.order > 0:
            codes = self._code(windows.contexts)[windows.pair_context.long()] * self.vocab_size + windows.pair_target
            order = codes.argsort()
            self.codes, self.counts = codes[order], windows.pair_count[order]

    def forward(self, contexts: Tensor) -> Tensor:
        """Return float64 log-probabilities (B, V) for contexts (B, T); -inf where a pair has no count."""
        tokens = torch.arange(self.vocab_size, device=contexts.device)
        wanted = self._code(contexts).unsqueeze(1) * self.vocab_size + tokens
        count = torch.zeros(wanted.shape, dtype=torch.float64, device=contexts.device)
        if len(self.codes):
            place = torch.searchsorted(self.codes, wanted).clamp_(max=len(self.codes) - 1)
            count = torch.where(self.codes[place] == wanted, self.counts[place], 0).double()
        count += self.fake_count
        # uniform after an unseen context
        count += (count.sum(1, keepdim=True) == 0).double()
        return (count / count.sum(1, keepdim=True)).log()

    def most_common(self) -> list[tuple[tuple[int, ...], int]]:
        """See `Counted`."""
        tokens = []
        rest = self.codes
        for _ in range(self.order):
            tokens.append((rest % self.vocab_size).tolist())
            rest = rest // self.vocab_size
        pairs = zip(zip(*reversed(tokens), strict=True), self.counts.tolist(), strict=True)
        return sorted(pairs, key=lambda pair: -pair[1])

    def _code(self, contexts: Tensor) -> Tensor:
        """Return the codes (B,) of contexts, in the same order as the contexts."""
        code = torch.zeros(contexts.shape[0], dtype=torch.int64, device=contexts.device)
        for position in range(self.block_size):
            code = code * self.vocab_size + contexts[:, position]
        return code
