"""makemore-lightning: small character-level language models as Lightning experiments.

From Python, `makemore.load(path)` gives a trained model with its vocabulary: `.nll(words)` and `.sample(n, seed=...)`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from makemore.inference.trained_model import TrainedModel

__all__ = ["load"]


def load(path: str | Path, *, which: str | None = None) -> "TrainedModel":
    """Load a trained model from the checkpoint that a path names.

    Args:
        path: a checkpoint; the directory of a run; that of a sweep, for its best job; "latest", for the newest run
            below `logs`; a glob pattern of checkpoints or runs, for the newest of them; or the directory of an export
            or its `model.safetensors`.
        which: of a run, "best" is the checkpoint with the lowest validation NLL, "last" its newest whole one, and
            None the one that it hands on: the best, unless its config says `result: last`.

    Raises:
        makemore.errors.UserError: a missing, truncated or foreign checkpoint.
    """
    from makemore.cli.finding import find_checkpoint  # torch is heavy; importing the package is not
    from makemore.inference import trained_model

    return trained_model.load(find_checkpoint(path, which))
