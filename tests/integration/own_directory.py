"""A working directory of a user's own: a network in a module; a conf/ with its model, an experiment and a sweep."""

from pathlib import Path

STEPS = 20

FILES = {
    "own_networks.py": '''
import torch
from torch import Tensor, nn

from makemore.models.network import Network, register
from makemore.training.module import NeuralLanguageModel


@register("pairs")
class Pairs(Network):
    """The sum of a row of logits for each character of the context."""

    def __init__(self, vocab_size: int, generator: torch.Generator, block_size: int) -> None:
        super().__init__()
        self.vocab_size, self.block_size = vocab_size, block_size
        self.rows = nn.ModuleList(nn.Embedding(vocab_size, vocab_size) for _ in range(block_size))

    def forward(self, contexts: Tensor) -> Tensor:
        return sum(rows(contexts[:, place]) for place, rows in enumerate(self.rows))
''',
    "conf/model/own.yaml": """
_target_: own_networks.NeuralLanguageModel
_partial_: true
architecture: pairs
block_size: 3 # characters of context
""",
    "conf/experiment/own.yaml": f"""
# @package _global_
defaults:
  - override /model: own
data:
  max_lines: 1000
trainer:
  max_steps: {STEPS}
val_every: 10
""",
    "conf/sweep/own.yaml": """
# @package _global_
defaults:
  - /experiment/own
  - override /hydra/launcher: vectorized
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      optimizer.lr: 0.01,0.03
      seed: 0,1
""",
}


def make(cwd: Path) -> Path:
    """Write these files into a working directory."""
    for name, content in FILES.items():
        path = cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.lstrip())
    return cwd
