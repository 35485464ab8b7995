"""Dropout whose masks are functions of (seed, step, layer, place), not of a generator's history.

A mask is a hash of the key of the step and of the place of each number: its row in the batch, its position in the
row, its unit. So it is the same after a resume, for any number of steps in a block, compiled, and mapped over members,
whose rows are padded where those of a single run are packed.
"""

import torch
from torch import Tensor, nn

from makemore.errors import real_number

# odd multipliers, which keep the products of different coordinates apart
_ROW, _POSITION, _UNIT, _LAYER = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F


class Dropout(nn.Module):
    """Zero each number with probability `p`, and scale the others by 1 / (1 - p) (Srivastava et al. 2014).

    Args:
        p: the probability, below 1.
        layer: the number of this layer in its network.
    """

    def __init__(self, p: float, layer: int) -> None:
        super().__init__()
        self.p = real_number("model.dropout", p, at_least=0, below=1)
        self.layer = layer

    def forward(self, x: Tensor, key: Tensor | None, places: Tensor | None) -> Tensor:
        """Return `x` (..., H) with its mask applied.

        Args:
            x: (..., H).
            key: () int64, a random number of the step; None for no dropout, as in evaluation.
            places: (...) int32, see `places_of`.
        """
        if key is None or places is None or self.p == 0:
            return x
        units = torch.arange(x.shape[-1], dtype=torch.int32, device=x.device) * _int32(_UNIT)
        bits = places.unsqueeze(-1) + units + (key + self.layer * _LAYER).to(torch.int32)
        kept = _hashed(bits) < int((1 - self.p) * 2**32) - 2**31
        return x * kept.to(x.dtype) * (1 / (1 - self.p))


def places_of(rows: Tensor, positions: Tensor) -> Tensor:
    """Return a number (...) for each place, given the row and the position, int32 tensors that broadcast to (...)."""
    return rows * _int32(_ROW) + positions * _int32(_POSITION)


def _hashed(bits: Tensor) -> Tensor:
    """Return a hash of int32 numbers whose high bits are random: two rounds of lowbias32 (Wellons 2018)."""
    # the shifts of int32 are arithmetic, hence the masks
    bits = (bits ^ ((bits >> 16) & 0xFFFF)) * 0x7FEB352D
    return (bits ^ ((bits >> 15) & 0x1FFFF)) * _int32(0x846CA68B)


def _int32(number: int) -> int:
    """Return a number modulo 2^32 as int32 has it."""
    return number - 2**32 if number >= 2**31 else number
