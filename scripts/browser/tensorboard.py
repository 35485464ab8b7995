"""A TensorBoard in a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from makemore.errors import UserError


@contextmanager
def tensorboard(logs: Path) -> Iterator[str]:
    """Serve `logs` on a free port of this machine and yield the URL; stop at the end.

    Raises:
        UserError: TensorBoard does not answer within a minute.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs), "--host", "127.0.0.1"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([*line, "--port", str(port)], stdout=quiet, stderr=quiet)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str) -> None:
    for _ in range(120):
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, ConnectionError):
            time.sleep(0.5)
    raise UserError(f"{url}: TensorBoard does not answer; start it by hand and see why")
