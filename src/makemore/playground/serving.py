"""A server of the playground on this machine, from a free or a given port to Ctrl-C."""

import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from makemore.errors import UserError
from makemore.system import signals

HOST = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """Return a socket on a port of this machine, 0 for a free one; raise `UserError` if it is in use."""
    listening = socket.socket()
    # one that another server has just left can be taken at once
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"port={port}: {reason}; give another, or port=0 for a free one") from error
    return listening


class PageServer(uvicorn.Server):
    """A server of an application on a socket that `listen` gave.

    Args:
        ready: called with the page's URL once it is served.
    """

    def __init__(self, app: FastAPI, listening: socket.socket, ready: Callable[[str], None]) -> None:
        # a page that is open holds its connection, and is not waited for
        super().__init__(uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=1))
        self._listening, self._ready = listening, ready

    def serve_page(self) -> None:
        """Serve until `should_exit` is set, or until Ctrl-C; raise `Stopped` for another signal."""
        try:
            with signals.answering():
                self.run(sockets=[self._listening])
        except signals.Stopped as stopped:
            if stopped.signum != signal.SIGINT:
                raise

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self._ready(f"http://{HOST}:{self._listening.getsockname()[1]}")
