"""The baselines: the lessons' loops, with the lessons' operations and none of ours.

Names are the lessons' in lower case: c, w1, b1, w2, b2 are the MLP's parameters in this order, w is the neural
bigram's matrix, contexts and targets are X and Y. The loops print nothing, which favours them.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Parameters = list[Tensor]

_SEED = 2147483647


def mlp_parameters(vocab_size: int, block_size: int = 3, embedding_dim: int = 2, hidden_dim: int = 100) -> Parameters:
    """Return the initial c (V, E), w1 (T E, H), b1 (H,), w2 (H, V), b2 (V,), requiring gradients (L2)."""
    g = torch.Generator().manual_seed(_SEED)
    c = torch.randn((vocab_size, embedding_dim), generator=g)
    w1 = torch.randn((block_size * embedding_dim, hidden_dim), generator=g)
    b1 = torch.randn(hidden_dim, generator=g)
    w2 = torch.randn((hidden_dim, vocab_size), generator=g)
    b2 = torch.randn(vocab_size, generator=g)
    parameters = [c, w1, b1, w2, b2]
    for p in parameters:
        p.requires_grad = True
    return parameters


def _forward(parameters: Parameters, contexts: Tensor) -> Tensor:
    c, w1, b1, w2, b2 = parameters
    emb = c[contexts]
    h = torch.tanh(emb.view(-1, w1.shape[0]) @ w1 + b1)
    return h @ w2 + b2


def decayed(lr: float, step: int) -> float:
    """Return the learning rate of a step: a tenth after 20,000 steps, a hundredth after 28,000 (L2)."""
    return lr * 0.01 if step > 28000 else lr * 0.1 if step > 20000 else lr


def mlp_loop(parameters: Parameters, contexts: Tensor, targets: Tensor, steps: int) -> list[float]:
    """Train the lesson's MLP in place on minibatches of 32 and return the loss of each step (L2).

    Args:
        parameters: see `mlp_parameters`.
        contexts: (N, T).
        targets: (N,).
        steps: the number of updates; each draws its rows with replacement.
    """
    losses = []
    for step in range(1, steps + 1):
        ix = torch.randint(0, contexts.shape[0], (32,))
        loss = F.cross_entropy(_forward(parameters, contexts[ix]), targets[ix])
        losses.append(loss.item())
        for p in parameters:
            p.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        lr = decayed(0.1, step)
        for p in parameters:
            assert p.grad is not None
            p.data += -lr * p.grad
    return losses


def adamw_loop(
    parameters: Parameters, contexts: Tensor, targets: Tensor, steps: int, batch_size: int = 32
) -> list[float]:
    """Train as `mlp_loop` does, with `torch.optim.AdamW` and a rate of 0.003, lowered at the same steps."""
    optimizer = torch.optim.AdamW(parameters, lr=0.003)
    losses = []
    for step in range(1, steps + 1):
        ix = torch.randint(0, contexts.shape[0], (batch_size,))
        loss = F.cross_entropy(_forward(parameters, contexts[ix]), targets[ix])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = decayed(0.003, step)
        optimizer.step()
    return losses


def bigram_loop(xs: Tensor, ys: Tensor, vocab_size: int, steps: int) -> list[float]:
    """Train the lesson's neural bigram, full batch with L2 0.01, and return the loss of each step (L1).

    Args:
        xs: (N,), first characters.
        ys: (N,), second characters.
        vocab_size: V.
        steps: the number of updates.
    """
    g = torch.Generator().manual_seed(_SEED)
    w = torch.randn((vocab_size, vocab_size), generator=g, requires_grad=True)
    num = xs.nelement()
    losses = []
    for _ in range(steps):
        xenc = F.one_hot(xs, num_classes=vocab_size).float()
        logits = xenc @ w
        counts = logits.exp()
        probs = counts / counts.sum(1, keepdim=True)
        loss = -probs[torch.arange(num), ys].log().mean() + 0.01 * (w**2).mean()
        losses.append(loss.item())
        w.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        w.data += -50 * w.grad  # type: ignore[operator]
    return losses


def dataset_loop(words: Sequence[str], block_size: int = 3) -> tuple[Tensor, Tensor]:
    """Return contexts (N, T) and targets (N,) of all words, built one by one in Python (L2)."""
    chars = sorted(set("".join(words)))
    s_i = {s: i + 1 for i, s in enumerate(chars)}
    s_i["."] = 0
    x, y = [], []
    for w in words:
        context = [0] * block_size
        for ch in w + ".":
            ix = s_i[ch]
            x.append(context)
            y.append(ix)
            context = [*context[1:], ix]
    return torch.tensor(x), torch.tensor(y)


@torch.no_grad()
def whole_loss(parameters: Parameters, contexts: Tensor, targets: Tensor) -> float:
    """Return the loss over all examples, nats a character (L2); it tracks no gradients, which favours it."""
    return F.cross_entropy(_forward(parameters, contexts), targets).item()


@torch.no_grad()
def sampling_loop(parameters: Parameters, characters: str, n: int) -> list[str]:
    """Sample `n` names, a forward pass and a multinomial draw for each character (L4, with the MLP of L2).

    Args:
        parameters: see `mlp_parameters`.
        characters: those of tokens 1, 2, ...; 0 is the boundary.
        n: the number of names.
    """
    g = torch.Generator().manual_seed(_SEED)
    names = []
    for _ in range(n):
        out = []
        context = [0] * 3
        while True:
            logits = _forward(parameters, torch.tensor([context]))
            probs = F.softmax(logits, dim=1)
            ix = int(torch.multinomial(probs, num_samples=1, replacement=True, generator=g).item())
            if ix == 0:
                break
            out.append(characters[ix - 1])
            context = [*context[1:], ix]
        names.append("".join(out))
    return names
