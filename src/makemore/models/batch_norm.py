"""Batch normalisation, whose running statistics are replaced at each step (Ioffe & Szegedy 2015; lectures, part 3)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from makemore.errors import UserError, real_number


class BatchNorm(nn.Module):
    """Batch norm over all dimensions but the last: the batch of (B, C), batch and positions of (B, T, C).

    In training it normalises by the mean and the biased variance of the batch, as the paper does. The running
    statistics, by which it normalises in evaluation, take the unbiased variance, the estimate of that of all examples
    (section 3.1, algorithm 2). A full batch (`data.batch_size=null`) has each distinct context once, uncounted.

    The buffers are new tensors after each step in training, so `torch.func.functional_call` returns them in its dict.

    Args:
        num_features: C.
        momentum: the weight of a batch in the running statistics; the rest is that of those before.
        eps: added to the variance.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, momentum: float, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum = real_number("model.momentum", momentum, above=0)
        if momentum > 1:
            raise UserError(f"model.momentum must be at most 1, not {momentum:g}")
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, values: Tensor) -> Tensor:
        """Return the values, of any shape (..., C), normalised."""
        rows = values.flatten(0, -2)
        if self.training:
            if rows.shape[0] == 1:
                raise UserError("batch norm needs two examples a step at least; data.batch_size must be above 1")
            # torch changes them in place, and those before may belong to whoever called
            self.running_mean, self.running_var = self.running_mean.clone(), self.running_var.clone()
        statistics = self.running_mean, self.running_var
        normalised = F.batch_norm(rows, *statistics, self.gain, self.bias, self.training, self.momentum, self.eps)
        return normalised.view_as(values)
