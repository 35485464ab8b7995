"""Sampling of items from any network, with the lesson's stream of random numbers (L4).

Each character takes one float64 uniform from a CPU generator, looked up in the cumulative distribution of the context.
So the same seed gives the same items on every machine, more samples begin with the same ones, and the stream does not
depend on temperature, top-k or prompt. Distributions are computed in float64, in pages of neighbouring contexts, and
cached. The last bits of a row depend on the size of its batch, so a page's contexts depend on nothing else.
"""

import copy
from array import array
from bisect import bisect_right
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from makemore.data.vocabulary import Vocabulary
from makemore.errors import DivergedError, UserError, as_text, real_number, whole_number
from makemore.inference.likelihood import NO_PROBABILITIES
from makemore.inference.line_sampling import Uniforms, line_samples
from makemore.models.network import Network
from makemore.models.sequence import SequenceNetwork

_UNIFORMS = 1024
# most numbers (float64) in a page, unless V is more, and in all cached pages: 64 MB
_PAGE = 2**10
_KEPT = 2**23
# if there are more contexts, few of them occur, so a page has one
_FEW = 2**15


@dataclass(frozen=True)
class SamplingOptions:
    """Options of sampling, none of which changes the stream of random numbers.

    The temperature divides the logits; of each distribution only the `top_k` likeliest tokens are kept, all for None;
    items of more than `max_length` characters, the prompt included, are truncated.
    """

    prompt: str = ""
    temperature: float = 1.0
    top_k: int | None = None
    max_length: int = 1000

    def __post_init__(self) -> None:
        as_text("prompt", self.prompt)
        real_number("temperature", self.temperature, above=0)
        if self.top_k is not None:
            whole_number("top_k", self.top_k, at_least=1)
        whole_number("max_length", self.max_length, at_least=1)
        if len(self.prompt) > self.max_length:
            raise UserError(f"the prompt has {len(self.prompt)} characters, more than max_length={self.max_length}")


def sample(
    network: Network, vocabulary: Vocabulary, n: int, seed: int, options: SamplingOptions | None = None
) -> list[str]:
    """Sample `n` items; see `samples`."""
    whole_number("num_samples", n)
    return list(islice(samples(network, vocabulary, seed, options), n))


def unseen(items: Iterator[str], seen: Container[str], n: int, max_attempts: int | None = None) -> Iterator[str]:
    """Yield the first `n` items of a stream that are not in `seen`, the items of the text.

    Raises:
        UserError: fewer than `n` unseen items, all yielded before, in `max_attempts` (None is 100 n) items.
    """
    attempts = 100 * n if max_attempts is None else whole_number("max_attempts", max_attempts)
    found = 0
    for item in islice(items, attempts):
        if found == n:
            return
        if item not in seen:
            found += 1
            yield item
    if found < n:
        raise UserError(f"only {found} of {n} unseen items came up in {attempts:,} attempts; raise max_attempts")


def samples(
    network: Network, vocabulary: Vocabulary, seed: int, options: SamplingOptions | None = None
) -> Iterator[str]:
    """Yield samples without end, from a copy of the network in float64 on the CPU.

    `UserError` for a character of the prompt not in the vocabulary; `DivergedError` if there are no probabilities.
    """
    options = options or SamplingOptions()
    prompt = vocabulary.encode(options.prompt)
    generator = torch.Generator().manual_seed(whole_number("seed", seed))
    network = copy.deepcopy(network).to("cpu", torch.float64).eval()
    distributions = Distributions(vocabulary, options)
    if isinstance(network, SequenceNetwork):
        ends = vocabulary.start, vocabulary.end
        items = line_samples(network, distributions, prompt, *ends, options.max_length, Uniforms(generator))
        return map(vocabulary.decode, items)
    pages = _Pages(network, vocabulary.size, distributions)
    return _items(pages, vocabulary, prompt, options.max_length, _uniforms(generator))


@dataclass(frozen=True)
class Distributions:
    """Makes distributions of logits, as the options ask."""

    vocabulary: Vocabulary
    options: SamplingOptions

    def __call__(self, logits: Tensor) -> Tensor:
        """Return cumulative distributions (R, V) of logits (R, V); raise `DivergedError` for no probabilities."""
        if self.vocabulary.start != self.vocabulary.end:
            # a separate start token is never sampled
            logits[:, self.vocabulary.start] = -torch.inf
        if self.options.top_k is not None and self.options.top_k < logits.shape[1]:
            kept = logits.topk(self.options.top_k).indices
            logits = torch.full_like(logits, -torch.inf).scatter(1, kept, logits.gather(1, kept))
        if self.options.temperature != 1:
            # with a maximum of 0, no temperature overflows
            logits = (logits - logits.amax(1, keepdim=True)) / self.options.temperature
        cumulative = logits.softmax(1).cumsum(1)
        totals = cumulative[:, -1:]
        if not totals.isfinite().all():
            raise DivergedError(NO_PROBABILITIES)
        return cumulative / totals


def _items(
    pages: "_Pages", vocabulary: Vocabulary, prompt: list[int], max_length: int, uniforms: Iterator[float]
) -> Iterator[str]:
    rows, contexts = pages.rows, pages.contexts
    end, size = vocabulary.end, vocabulary.size
    before = 0
    for token in [vocabulary.start] * pages.network.block_size + prompt:
        before = (before * size + token) % contexts
    while True:
        tokens, context = prompt.copy(), before
        for _ in range(max_length - len(prompt)):
            number, row = divmod(context, rows)
            first = row * size
            token = bisect_right(pages[number], next(uniforms), first, first + size) - first
            if token == end:
                break
            tokens.append(token)
            context = (context * size + token) % contexts
        yield vocabulary.decode(tokens)


def _uniforms(generator: torch.Generator) -> Iterator[float]:
    """Yield the generator's float64 uniforms, which do not depend on how many are drawn at once."""
    while True:
        yield from torch.rand(_UNIFORMS, dtype=torch.float64, generator=generator).tolist()


class _Pages(dict[int, "array[float]"]):
    """A cache of pages: the cumulative distributions (R V,) after R contexts with consecutive numbers.

    The tokens of a context are the digits, base V, of its number.
    """

    def __init__(self, network: Network, size: int, distributions: Distributions) -> None:
        super().__init__()
        self.network, self.size, self.distributions = network, size, distributions
        self.contexts = size**network.block_size
        self.rows = max(_PAGE // size, 1) if self.contexts <= _FEW else 1
        self.most = max(_KEPT // (self.rows * size), 1)

    @torch.no_grad()
    def __missing__(self, number: int) -> "array[float]":
        cumulative = self.distributions(self.network(self._contexts_of(number)))
        page = array("d", cumulative.numpy().tobytes())
        if len(self) == self.most:
            # evicts the oldest; computed again it has the same bits
            del self[next(iter(self))]
        self[number] = page
        return page

    def _contexts_of(self, number: int) -> Tensor:
        """Return the contexts (R, T) of a page, as int64; the last page may have fewer."""
        first, size = number * self.rows, self.size
        carry = np.arange(min(self.rows, self.contexts - first))
        contexts = np.empty((len(carry), self.network.block_size), dtype=np.int64)
        # digit by digit, as the number of a context may exceed 64 bits
        for place in reversed(range(self.network.block_size)):
            first, digit = divmod(first, size)
            carry, contexts[:, place] = np.divmod(carry + digit, size)
        return torch.from_numpy(contexts)
