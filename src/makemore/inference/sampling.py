"""Sampling of items from any network, with the lesson's stream of random numbers (L4).

Each character takes one float64 uniform from a CPU generator, looked up in the cumulative distribution of the context.
So the same seed gives the same items on every machine, more samples begin with the same ones, and the stream does not
depend on temperature, top-k or prompt. Distributions are computed in float64.
"""

import copy
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from makemore.data.vocabulary import Vocabulary
from makemore.errors import DivergedError, UserError, as_text, real_number, whole_number
from makemore.inference.batched_sampling import Uniforms
from makemore.inference.likelihood import NO_PROBABILITIES
from makemore.inference.line_sampling import line_samples
from makemore.inference.window_sampling import window_samples
from makemore.models.network import Network
from makemore.models.sequence import SequenceNetwork


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
    starts = 1 if isinstance(network, SequenceNetwork) else network.block_size
    tokens = [vocabulary.start] * starts + prompt
    prefix = tokens[max(len(tokens) - network.block_size, 0) :]
    given = prefix, vocabulary.end, options.max_length - len(prompt), Uniforms(generator)
    if isinstance(network, SequenceNetwork):
        items = line_samples(network, distributions, *given)
    else:
        items = window_samples(network, distributions, *given)
    return (vocabulary.decode(prompt + item) for item in items)


@dataclass(frozen=True)
class Distributions:
    """Makes distributions of logits, as the options ask."""

    vocabulary: Vocabulary
    options: SamplingOptions

    def __call__(self, logits: Tensor) -> Tensor:
        """Return cumulative distributions (R, V) of logits (R, V); raise `DivergedError` for no probabilities."""
        if self.vocabulary.start != self.vocabulary.end:
            # a separate start token is never sampled
            logits = logits.index_fill(1, torch.tensor([self.vocabulary.start]), -torch.inf)
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
