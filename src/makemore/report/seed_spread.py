"""The picture of how far the NLLs of a sweep lie apart that differs in its seed alone."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from makemore.sweeps.records import Job


def spread(jobs: Sequence[Job]) -> Figure:
    """Return a histogram of the final NLLs of jobs, with their median and the middle nine tenths.

    Args:
        jobs: that have finished, at least two, each with a finite NLL.
    """
    nlls = np.array([job.nll for job in jobs])
    low, middle, high = np.quantile(nlls, [0.05, 0.5, 0.95])
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.hist(nlls, bins="auto", color="tab:blue", alpha=0.7)
    axes.axvspan(low, high, color="tab:orange", alpha=0.15, label=f"nine of ten: {low:.4f} to {high:.4f}")
    axes.axvline(middle, color="tab:orange", label=f"median: {middle:.4f}")
    split = "validation" if "val" in jobs[0].nlls else "training"
    axes.set(
        xlabel=f"{split} NLL (nats a character)",
        ylabel="seeds",
        title=f"final NLL of {len(jobs):,} seeds: mean {nlls.mean():.4f}, standard deviation {nlls.std(ddof=1):.4f}",
    )
    # of numbers that are close to each other, all digits
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
