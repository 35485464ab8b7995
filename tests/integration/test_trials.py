"""Processes of their own, started and awaited in two threads at once."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.connection import wait
from typing import Any

import pytest
from trials import forked


def test_each_thread_has_the_code_of_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    read, reading = forkserver.read_signed, threading.Event()

    def slowly(*arguments: Any) -> int:
        found = read(*arguments)
        reading.set()
        # time for the other thread to ask for the same code
        time.sleep(0.1)
        return found

    first = forked(os._exit, 3)
    wait([first.sentinel])
    monkeypatch.setattr(forkserver, "read_signed", slowly)
    with ThreadPoolExecutor(1) as pool:
        # this start reads the code of the first
        starting = pool.submit(forked, os._exit, 4)
        assert reading.wait(60)
        first.join()
        assert first.exitcode == 3
        second = starting.result()
    second.join()
    assert second.exitcode == 4
