"""Pictures, drawn by matplotlib without a display."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure


def learning_rate_range(rates: Sequence[float], losses: Sequence[float]) -> Figure:
    """Return the picture of a learning-rate range test: loss against the rate, and against its exponent (L2).

    Args:
        rates: the learning rate of each step.
        losses: the minibatch NLL of each step, nats a character.
    """
    # a rate of 0 has no exponent
    steps = [(rate, loss) for rate, loss in zip(rates, losses, strict=True) if rate > 0]
    rates, losses = [rate for rate, _ in steps], [loss for _, loss in steps]
    figure = Figure(figsize=(10, 4), layout="constrained")
    by_rate, by_exponent = figure.subplots(1, 2, sharey=True)
    by_rate.plot(rates, losses, linewidth=0.8)
    by_rate.set(xlabel="learning rate", ylabel="NLL (nats a character)")
    by_exponent.plot(np.log10(rates), losses, linewidth=0.8)
    by_exponent.set(xlabel="exponent of the learning rate (log10)")
    for axes in (by_rate, by_exponent):
        axes.grid(alpha=0.3)
    figure.suptitle("Learning-rate range test")
    return figure
