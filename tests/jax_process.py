"""A process of its own for what uses JAX: one that has used it cannot be forked, which other tests do."""

import logging
import warnings
from concurrent.futures import ProcessPoolExecutor

import torch

# what makemore has warned of in this process
warned: list[str] = []


def executor() -> ProcessPoolExecutor:
    # not before coverage is measured
    from trials import server

    return ProcessPoolExecutor(1, server(), initializer=_start)


def _start() -> None:
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warned.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("makemore").addHandler(handler)
