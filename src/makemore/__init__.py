"""makemore-lightning: small character-level language models as Lightning experiments.

From Python, `makemore.load(path)` gives a trained model with its vocabulary: `.nll(words)` and `.sample(n, seed=...)`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from makemore.inference.trained_model import TrainedModel

__all__ = ["load"]


def load(path: str | Path) -> "TrainedModel":
    """Load a trained model from a checkpoint, or from the newest of a run's directory.

    Raises:
        makemore.errors.UserError: a missing, truncated or foreign checkpoint.
    """
    from makemore.inference import trained_model  # torch is heavy; importing the package is not

    return trained_model.load(path)
