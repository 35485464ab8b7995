"""The baselines of models over lines: loops as makemore.py has them, written anew, with none of ours.

A batch is of whole lines, X and Y padded to the longest line of the text, and networks return logits (B, T, V). The
loops print nothing, which favours them.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH, LR = 128, 0.003


def padded_dataset(words: Sequence[str], characters: str, length: int) -> tuple[Tensor, Tensor]:
    """Return X and Y (N, length + 1) of words: X starts with token 0 and is padded with it, Y is padded with -1."""
    s_i = {character: i + 1 for i, character in enumerate(characters)}
    x = torch.zeros(len(words), length + 1, dtype=torch.long)
    y = torch.full_like(x, -1)
    for row, word in enumerate(words):
        ix = torch.tensor([s_i[character] for character in word])
        x[row, 1 : 1 + len(ix)] = ix
        y[row, : len(ix)] = ix
        y[row, len(ix)] = 0
    return x, y


class GRUCell(nn.Module):
    """A gated recurrent unit whose gates read the input and the hidden state as one vector (Cho et al. 2014)."""

    def __init__(self, embedding_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.xh_to_z = nn.Linear(embedding_dim + hidden_dim, hidden_dim)
        self.xh_to_r = nn.Linear(embedding_dim + hidden_dim, hidden_dim)
        self.xh_to_hbar = nn.Linear(embedding_dim + hidden_dim, hidden_dim)

    def forward(self, xt: Tensor, hprev: Tensor) -> Tensor:
        """Return the next hidden state (B, H)."""
        xh = torch.cat([xt, hprev], dim=1)
        r = torch.sigmoid(self.xh_to_r(xh))
        hbar = torch.tanh(self.xh_to_hbar(torch.cat([xt, r * hprev], dim=1)))
        z = torch.sigmoid(self.xh_to_z(xh))
        return (1 - z) * hprev + z * hbar


class RecurrentNetwork(nn.Module):
    """A cell, `GRUCell` or `nn.LSTMCell`, in a loop over the positions, from a learned start."""

    def __init__(self, cell: nn.Module, vocab_size: int, embedding_dim: int, hidden_dim: int, block_size: int) -> None:
        super().__init__()
        self.block_size = block_size
        self.start = nn.Parameter(torch.zeros(1, hidden_dim))
        self.wte = nn.Embedding(vocab_size, embedding_dim)
        self.cell = cell
        self.lm_head = nn.Linear(hidden_dim, vocab_size)

    def forward(self, idx: Tensor) -> Tensor:
        """Return logits (B, T, V)."""
        emb = self.wte(idx)
        h = self.start.expand((idx.shape[0], -1))
        c, hiddens = h, []
        for i in range(idx.shape[1]):
            if isinstance(self.cell, nn.LSTMCell):
                h, c = self.cell(emb[:, i, :], (h, c))
            else:
                h = self.cell(emb[:, i, :], h)
            hiddens.append(h)
        logits: Tensor = self.lm_head(torch.stack(hiddens, 1))
        return logits


class NewGELU(nn.Module):
    """GELU by tanh (Hendrycks and Gimpel 2016), operation by operation."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations."""
        return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


class CausalSelfAttention(nn.Module):
    """Attention with the T x T weights written out and a mask."""

    bias: Tensor

    def __init__(self, n_embd: int, n_head: int, block_size: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.c_attn = nn.Linear(n_embd, 3 * n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)
        self.register_buffer("bias", torch.tril(torch.ones(block_size, block_size)).view(1, 1, block_size, block_size))

    def forward(self, x: Tensor) -> Tensor:
        """Return what each position (B, T, C) takes from those up to it."""
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.n_head, -1).transpose(1, 2) for part in self.c_attn(x).split(c, dim=2))
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.bias[:, :, :t, :t] == 0, float("-inf"))
        y = F.softmax(att, dim=-1) @ v
        projected: Tensor = self.c_proj(y.transpose(1, 2).contiguous().view(b, t, c))
        return projected


class Block(nn.Module):
    """Attention and an MLP, each after a layer norm."""

    def __init__(self, n_embd: int, n_head: int, block_size: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.attn = CausalSelfAttention(n_embd, n_head, block_size)
        self.mlp = nn.Sequential(nn.Linear(n_embd, 4 * n_embd), NewGELU(), nn.Linear(4 * n_embd, n_embd))

    def forward(self, x: Tensor) -> Tensor:
        """Return the new numbers (B, T, C)."""
        x = x + self.attn(self.ln_1(x))
        added: Tensor = x + self.mlp(self.ln_2(x))
        return added


class Transformer(nn.Module):
    """makemore's transformer; its parameters are in the order of ours."""

    def __init__(self, vocab_size: int, n_embd: int, n_layer: int, n_head: int, block_size: int) -> None:
        super().__init__()
        self.block_size = block_size
        self.wte, self.wpe = nn.Embedding(vocab_size, n_embd), nn.Embedding(block_size, n_embd)
        self.h = nn.Sequential(*(Block(n_embd, n_head, block_size) for _ in range(n_layer)))
        self.ln_f = nn.LayerNorm(n_embd)
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)

    def forward(self, idx: Tensor) -> Tensor:
        """Return logits (B, T, V)."""
        pos = torch.arange(0, idx.shape[1], dtype=torch.long).unsqueeze(0)
        logits: Tensor = self.lm_head(self.ln_f(self.h(self.wte(idx) + self.wpe(pos))))
        return logits


def loss_of(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the mean loss over the targets, nats a character."""
    logits = network(x)
    return F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1), ignore_index=-1)


def training_loop(network: nn.Module, x: Tensor, y: Tensor, steps: int) -> list[float]:
    """Train a network in place on batches of 128 lines by AdamW, and return the loss of each step."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR)
    losses = []
    for _ in range(steps):
        ix = torch.randint(0, len(x), (BATCH,))
        loss = loss_of(network, x[ix], y[ix])
        losses.append(loss.item())
        network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return losses


@torch.no_grad()
def whole_nll(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the mean NLL of all lines, nats a character, summed over batches of 128."""
    total = 0.0
    for first in range(0, len(x), BATCH):
        targets = y[first : first + BATCH]
        total += loss_of(network, x[first : first + BATCH], targets).item() * int((targets >= 0).sum())
    return total / int((y >= 0).sum())


@torch.no_grad()
def generate(network: RecurrentNetwork | Transformer, characters: str, rows: int = 1) -> list[str]:
    """Sample `rows` names together, running the whole prefixes for each character until all names have ended."""
    idx = torch.zeros(rows, 1, dtype=torch.long)
    ended = torch.zeros(rows, 1, dtype=torch.bool)
    while not ended.all():
        logits = network(idx[:, -network.block_size :])[:, -1, :]
        drawn = torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)
        idx = torch.cat((idx, drawn), dim=1)
        ended |= drawn == 0
    names = ([*tokens, 0] for tokens in idx[:, 1:].tolist())
    return ["".join(characters[token - 1] for token in tokens[: tokens.index(0)]) for tokens in names]
