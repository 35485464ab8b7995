"""Train a model in a script of one's own, with a plain Trainer: `python docs/python_script.py TEXT`.

The text is UTF-8, one item a line. `lightning_logs` in the working directory has the curves and the best checkpoint.
"""

import sys
from functools import partial

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

import makemore
from makemore.data.datamodule import TextDataModule
from makemore.training.module import NeuralLanguageModel


def main(path: str, max_epochs: int = 20) -> list[str]:
    """Train on a text until its validation NLL no longer falls; return ten items that are not in it."""
    data = TextDataModule(path, batch_size=32, steps_per_execution=100)
    optimizer = partial(torch.optim.AdamW, lr=0.003)
    model = NeuralLanguageModel(
        "mlp", data.corpus.vocabulary, optimizer, block_size=4, embedding_dim=16, hidden_dim=64
    )
    best = ModelCheckpoint(monitor="val/nll", filename="{step}")
    callbacks = [best, EarlyStopping("val/nll", patience=2)]
    # an epoch is one pass over the training split
    trainer = L.Trainer(max_epochs=max_epochs, accelerator="cpu", callbacks=callbacks)
    trainer.fit(model, datamodule=data)
    # a list of one dictionary, which has test/nll in nats a character
    trainer.test(datamodule=data, ckpt_path="best")
    return makemore.load(best.best_model_path).sample(10, seed=1, unseen=True)


if __name__ == "__main__":
    print("\n".join(main(sys.argv[1])))
