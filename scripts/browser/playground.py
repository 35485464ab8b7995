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
    urls: Queue[str] = Queue()
    server = PageServer(application(views), listen(0), urls.put)
    thread = Thread(target=server.serve_page)
    thread.start()
    try:
        yield urls.get(timeout=60)
    finally:
        server.should_exit = True
        thread.join()
