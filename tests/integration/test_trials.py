"""Processes of their own, started and awaited in two threads at once."""

import os
import time
from multiprocessing import forkserver
from typing import Any

import pytest
from trials import forked, in_parallel


def test_each_thread_has_the_codes_of_its_own_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    read = forkserver.read_signed

    def slowly(*arguments: Any) -> int:
        found = read(*arguments)
        # time for the other thread to ask for the same code
        time.sleep(0.02)
        return found

    monkeypatch.setattr(forkserver, "read_signed", slowly)

    def codes(code: int) -> list[int]:
        found = []
        for _ in range(8):
            process = forked(os._exit, code)
            # meanwhile it ends, and the other thread's start asks for its code
            time.sleep(0.05)
            process.join()
            found.append(process.exitcode)
        return found

    assert in_parallel(codes, [3, 4]) == [[3] * 8, [4] * 8]
