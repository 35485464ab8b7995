"""A playground served by a thread of this process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Queue
from threading import Thread

from makemore.playground.model_view import ModelView


@contextmanager
def serving(views: Sequence[ModelView]) -> Iterator[str]:
    """Serve the page of some models, whose texts have been scored, and yield its URL; stop at the end."""
    from makemore.playground.serving import PageServer, listen
    from makemore.playground.wiring import application

    for view in views:
        view.known.start()
        view.known.wait()
    urls, servers = Queue[str](), Queue[PageServer]()

    def serve() -> None:
        # the main thread may run Playwright's event loop
        server = PageServer(application(views), listen(0), urls.put)
        servers.put(server)
        server.serve_page()

    thread = Thread(target=serve)
    thread.start()
    try:
        yield urls.get(timeout=600)
    finally:
        servers.get(timeout=600).should_exit = True
        thread.join()
