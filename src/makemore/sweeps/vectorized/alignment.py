"""Find the rows of a stack after which the factors of its products are aligned as before, see `layout.py`."""

import math
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from makemore.sweeps.vectorized.layout import PERIOD, Layout
from makemore.sweeps.vectorized.member import Member
from makemore.sweeps.vectorized.trial import try_step

# bytes to which products are sensitive
_LINE = 64
_ROWS = 2
# products of matrices, of each member its own
_BATCHED = ("bmm", "baddbmm")
# those of all members together, in which a member has no rows of its own
_TOGETHER = ("mm", "addmm", "mv", "addmv", "dot", "linear", "convolution", "convolution_backward")


def period_of(member: Member) -> int:
    """Return the least number of rows, a divisor of PERIOD, after which the last bits of a step repeat."""
    products = _Products()
    try_step(member, Layout([0], _ROWS), products)
    return products.period


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches products for the alignment of the factors and the result in each row."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.period = 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in _TOGETHER:
            self.period = PERIOD
        elif name in _BATCHED:
            for tensor in tree_leaves((args, result)):
                if isinstance(tensor, Tensor):
                    of_row = tensor.stride(0) * (len(tensor) // _ROWS) * tensor.element_size()
                    self.period = max(self.period, _LINE // math.gcd(_LINE, of_row))
        return result
