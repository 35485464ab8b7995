"""A CUDA device without a card, for tests: it refuses what CUDA would, and computes on the CPU.

Each operator with a tensor of the device is put to torch's `FakeTensorMode` on fake `cuda` tensors, which refuses
mixed devices and says where the results are; and then to the CPU, for their numbers. FakeTensorMode alone knows no
numbers, and would end where a function reads one, such as a loss. A tensor on the CPU is a plain one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

# always with its number: torch would ask CUDA for that of the current device
CUDA = torch.device("cuda:0")
CPU = torch.device("cpu")


class CudaTensor(Tensor):
    """A tensor on the device, whose numbers are on the CPU.

    To C++ code it is a tensor of the meta device, whose part of the autograd engine needs no card.
    """

    numbers: Tensor
    device = CUDA
    is_cuda = True

    @staticmethod
    def __new__(cls, numbers: Tensor) -> "CudaTensor":
        layout = {"strides": numbers.stride(), "storage_offset": numbers.storage_offset(), "dtype": numbers.dtype}
        tensor: CudaTensor = Tensor._make_wrapper_subclass(cls, numbers.shape, device="meta", **layout)
        tensor.numbers = numbers
        return tensor

    @property
    def data(self) -> Tensor:  # type: ignore[override]
        return self.detach()

    @data.setter
    def data(self, other: "CudaTensor") -> None:
        assert (other.shape, other.dtype) == (self.shape, self.dtype)
        self.numbers = other.numbers

    def __reduce_ex__(self, protocol: Any) -> Any:
        # as `torch.load(map_location="cpu")` gives it back
        return self.numbers.detach().__reduce_ex__(protocol)

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def new_tensor(self, data: Any, **options: Any) -> Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": CUDA, **options})

    def __repr__(self) -> str:  # type: ignore[override]
        return f"CudaTensor({self.numbers})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} on a tensor of the pretended device, which is gone")


class PretendedCuda(TorchDispatchMode):
    """Runs operators on the device within the block."""

    # the place of FakeTensorMode, so that what traces operators sees them before
    _mode_key = torch._C._TorchDispatchModeKey.FAKE
    shape_env = None

    @classmethod
    def is_infra_mode(cls) -> bool:
        return True

    def __init__(self) -> None:
        super().__init__()
        self.rules = FakeTensorMode(allow_fallback_kernels=False)
        # by operator and by what the rules depend on
        self.known: dict[Any, list[bool]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, form = tree_flatten((args, kwargs or {}))
        if not any(isinstance(value, CudaTensor) or _is_cuda(value) for value in given):
            return func(*args, **(kwargs or {}))
        key = (func, *map(_aspect, given))
        if key not in self.known:
            self.known[key] = self._are_on_the_device(func, given, form)
        numbers = [_numbers(value) for value in given]
        args, kwargs = tree_unflatten(numbers, form)
        results, form = tree_flatten(func(*args, **kwargs))
        # an operator in place returns what it was given
        same = {id(number): value for number, value in zip(numbers, given, strict=True) if isinstance(number, Tensor)}
        found = self.known[key]
        for place, result in enumerate(results):
            if isinstance(result, Tensor):
                shared = same.get(id(result))
                if found[min(place, len(found) - 1)]:
                    results[place] = CudaTensor(result) if shared is None else shared
                elif isinstance(shared, CudaTensor):
                    # moved to the CPU, where the numbers were already
                    results[place] = result.clone()
        return tree_unflatten(results, form)

    def _are_on_the_device(self, func: Any, given: list[Any], form: Any) -> list[bool]:
        """Return whether each result of an operator is on the device, or all are; raise an error for mixed devices."""
        if any(isinstance(value, torch.Generator) for value in given) and any(_is_asked_for(value) for value in given):
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        fakes = [self._fake(value) for value in given]
        args, kwargs = tree_unflatten(fakes, form)
        try:
            with self.rules:
                results, _ = tree_flatten(func(*args, **kwargs))
            return [isinstance(result, Tensor) and result.device == CUDA for result in results]
        except (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException):
            # the shape of the result depends on numbers, or the operator has no rule of its own
            pass
        except RuntimeError as error:
            # what some rules are made of asks for the device itself, in a build that has none or without a driver
            if "is not linked with support for cuda" not in str(error) and "CUDA driver" not in str(error):
                raise
        return [FakeTensor._find_common_device(func, fakes)[0] == CUDA]

    def _fake(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return CUDA if _is_cuda(value) else value
        meta = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
        return self.rules.fake_tensor_converter.from_meta_and_device(self.rules, meta, value.device)


def _is_asked_for(value: Any) -> bool:
    return isinstance(value, torch.device) and value.type == "cuda"


def _is_cuda(value: Any) -> bool:
    # functorch's wrappers say the device that C++ code sees
    return _is_asked_for(value) or (isinstance(value, torch.device) and value.type == "meta")


def _aspect(value: Any) -> Any:
    """Return what the device of a result may depend on: of a tensor on the CPU, whether it is a number too."""
    if isinstance(value, Tensor):
        return value.device, value.ndim == 0, value.dtype
    return value if isinstance(value, torch.device) else type(value)


def _numbers(value: Any) -> Any:
    if isinstance(value, CudaTensor):
        return value.numbers
    return CPU if _is_cuda(value) else value


@contextmanager
def pretended_cuda() -> Iterator[None]:
    """Let `cuda:0` be a device within the block, with a generator of random numbers."""
    generator = torch.Generator()
    swaps, lifts = torch.__future__.get_swap_module_params_on_conversion(), torch._C._only_lift_cpu_tensors()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.cuda, "set_device", lambda _device: None)
        # asked for where torch is built for CUDA
        patch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 0))
        patch.setattr(torch.cuda, "mem_get_info", lambda _device: (2**30, 2**30))
        patch.setattr(torch.cuda, "default_generators", (generator,))
        patch.setattr(torch.cuda, "get_rng_state", lambda *_: generator.get_state())
        patch.setattr(torch.cuda, "set_rng_state", lambda state, *_: generator.set_state(state))
        # `Module.to` keeps its parameters, as it does with a card
        torch.__future__.set_swap_module_params_on_conversion(True)
        torch._C._set_only_lift_cpu_tensors(True)
        try:
            with PretendedCuda():
                yield
        finally:
            torch._C._set_only_lift_cpu_tensors(lifts)
            torch.__future__.set_swap_module_params_on_conversion(swaps)
