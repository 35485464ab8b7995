"""A second baseline: the lessons' MLP as Lightning's documentation teaches to write it.

`python -m benchmarks.stock FILE STEPS` trains one from the initial parameters, contexts and targets in FILE.
"""

import sys
import warnings
from pathlib import Path

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.baselines import Parameters


class StockMLP(L.LightningModule):
    """The lesson's MLP with automatic optimisation: a Lightning batch for each optimiser step.

    Args:
        parameters: the initial c, w1, b1, w2, b2.
    """

    def __init__(self, parameters: Parameters) -> None:
        super().__init__()
        self.c, self.w1, self.b1, self.w2, self.b2 = (nn.Parameter(p.detach().clone()) for p in parameters)

    def forward(self, contexts: Tensor) -> Tensor:
        """Return logits (B, V) for contexts (B, T)."""
        hidden = torch.tanh(self.c[contexts].flatten(1) @ self.w1 + self.b1)
        return hidden @ self.w2 + self.b2

    def training_step(self, batch: tuple[Tensor, Tensor], _batch_idx: int) -> Tensor:
        """Return and log the loss of one minibatch."""
        contexts, targets = batch
        loss = F.cross_entropy(self(contexts), targets)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return SGD with the lesson's learning rates."""
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [20000, 28000], gamma=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def fit_stock(parameters: Parameters, contexts: Tensor, targets: Tensor, steps: int, directory: Path) -> StockMLP:
    """Train with a stock Trainer and its progress bar, TensorBoard logger and checkpoints.

    Args:
        parameters: the initial c, w1, b1, w2, b2, which are not modified.
        contexts: (N, T).
        targets: (N,).
        steps: the number of updates.
        directory: where its files are written.
    """
    model = StockMLP(parameters)
    loader = DataLoader(TensorDataset(contexts, targets), batch_size=32, shuffle=True)
    with warnings.catch_warnings():
        # it recommends worker processes, which cost more than these batches
        warnings.simplefilter("ignore")
        trainer = L.Trainer(
            max_steps=steps,
            accelerator="cpu",
            devices=1,
            logger=TensorBoardLogger(directory),
            callbacks=[ModelCheckpoint(directory / "checkpoints", every_n_train_steps=5000)],
            enable_model_summary=False,
            default_root_dir=directory,
        )
        trainer.fit(model, loader)
    return model


if __name__ == "__main__":
    initial, xs, ys = torch.load(sys.argv[1])
    fit_stock(initial, xs, ys, int(sys.argv[2]), Path())
