"""Headless Chromium or Chrome, whichever is installed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from makemore.errors import UserError

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# as root, in a container, without a network
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATH = next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser and close it at the end.

    Raises:
        UserError: none is installed.
    """
    if PATH is None:
        raise UserError(f"there is none of {', '.join(_NAMES)} here; install one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PATH, args=list(_FLAGS))
        yield browser
        browser.close()
