"""Downloads of known texts, such as the lessons' file: once, by https, verified by their sha256."""

import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import platformdirs

from makemore.data.text import locate, sha256_of
from makemore.errors import UserError
from makemore.system.files import IS_INSTALLED, PROJECT_ROOT, replacing, writing

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def fetch(url: str, target: Path, sha256: str, timeout: float = 30) -> None:
    """Download a file atomically, by https, and verify its digest; leave nothing behind on failure.

    Raises:
        UserError: no connection, no answer for `timeout` seconds, an error status, an incomplete download, or another
            digest.
    """
    _refuse_unsafe(url)
    try:
        with urllib.request.build_opener(_SafeRedirects).open(url, timeout=timeout) as response:
            content = response.read()
    except http.client.IncompleteRead as error:
        got, rest = len(error.partial), error.expected or 0
        raise UserError(f"{url}: broken off after {got:,} of {got + rest:,} bytes; try again") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        reason = " ".join(str(error).split())
        raise UserError(f"{url}: cannot be downloaded ({reason}); name a copy with MAKEMORE_NAMES=FILE") from error
    with writing(target), replacing(target) as file:
        file.write(content)
        file.flush()
        check_sha256(Path(file.name), sha256, f"{url} (deleted)")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows only redirections to URLs that `fetch` accepts."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        try:
            _refuse_unsafe(newurl)
        except UserError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refuse_unsafe(url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise UserError(f"{url}: is no address ({error}); give data.url an https address") from error
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise UserError(f"{url}: is not https; give data.url an https address")


def check_sha256(path: Path, expected: str, shown: str) -> None:
    """Raise `UserError` with both digests if the sha256 of the file at `path` is not as expected."""
    if (found := sha256_of(path)) != expected:
        raise UserError(f"{shown}: is not the expected file: sha256 {found}, expected {expected}")


def obtain(path: str, sha256: str, url: str | None = None, copy_variable: str | None = None) -> Path:
    """Return the path of a known text: the copy that an environment variable names, or the project's, downloaded once.

    `path` is relative to the project's root, or for an installed project that of the user's data, where it is
    downloaded; `url` is None for a text that is part of the project. `UserError`: it is missing and cannot be
    downloaded, or has another digest.
    """
    if copy_variable is not None and (copy := os.environ.get(copy_variable)):
        try:
            target = locate(copy)
        except UserError as error:
            raise UserError(f"{copy_variable}={error}; unset it to download {url}") from error
        check_sha256(target, sha256, f"{copy_variable}={target}")
        return target
    # nothing is written into an installed package
    is_kept_elsewhere = IS_INSTALLED and url is not None
    target = (platformdirs.user_data_path("makemore") if is_kept_elsewhere else PROJECT_ROOT) / path
    if url is not None and not target.exists():
        fetch(url, target, sha256)
    again = "use data=text for a text of your own" if url is None else "delete it, and it is downloaded again"
    check_sha256(locate(target), sha256, f"{target} ({again})")
    return target
