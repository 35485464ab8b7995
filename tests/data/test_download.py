"""Checks the download against a local server: right, wrong, broken off, refused; nothing wrong is left on disk."""

import hashlib
import http.client
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from makemore.data.download import fetch, obtain
from makemore.errors import UserError
from makemore.system.files import PROJECT_ROOT

CONTENT = b"emma\nolivia\nava\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = b"<html>not found</html>\n"


class Handler(BaseHTTPRequestHandler):
    """Answers as the path says, and remembers that it was asked."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        getattr(self, f"answer_{self.path.strip('/')}", self.answer_absent)()

    def answer_right(self) -> None:
        self.answer(CONTENT, len(CONTENT))

    def answer_wrong(self) -> None:
        self.answer(OTHER, len(OTHER))

    def answer_empty(self) -> None:
        self.answer(b"", 0)

    def answer_short(self) -> None:
        self.answer(CONTENT[:7], len(CONTENT))
        self.close_connection = True

    def answer_short_chunk(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"10\r\nemma\n")
        self.close_connection = True

    def answer_garbage(self) -> None:
        self.wfile.write(b"this is no HTTP\r\n\r\n")

    def answer_nothing(self) -> None:
        self.close_connection = True

    def answer_absent(self) -> None:
        self.send_error(404)

    def answer_failure(self) -> None:
        self.send_error(503)

    def answer_moved(self) -> None:
        self.redirect("/right")

    def answer_elsewhere(self) -> None:
        self.redirect("http://names.example.invalid/names.txt")

    def answer(self, body: bytes, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def redirect(self, location: str) -> None:
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class Server:
    """A server on this machine; `asked` are the paths that were asked for."""

    def __init__(self, address: str, asked: list[str]) -> None:
        self.address = address
        self.asked = asked

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"


@pytest.fixture
def server() -> Iterator[Server]:
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {"asked": asked})) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Server(f"http://127.0.0.1:{listener.server_port}", asked)
        listener.shutdown()
        thread.join()


@pytest.fixture
def refusing() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}/names.txt"


@pytest.fixture(autouse=True)
def _straight_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("MAKEMORE_NAMES", raising=False)


@pytest.fixture(autouse=True)
def _every_answer_is_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An answer left open is a ResourceWarning at any time later."""
    answers: list[http.client.HTTPResponse] = []

    class Answer(http.client.HTTPResponse):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            answers.append(self)

    monkeypatch.setattr(http.client.HTTPConnection, "response_class", Answer)
    yield
    assert all(answer.isclosed() for answer in answers)


def failed_fetch(url: str, directory: Path, timeout: float = 30) -> str:
    """Fetch what cannot be fetched, into an empty directory that stays empty; return the message."""
    with pytest.raises(UserError) as caught:
        fetch(url, directory / "names.txt", SHA256, timeout)
    assert list(directory.iterdir()) == []
    message = str(caught.value)
    assert url in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", ["right", "moved"])
def test_the_right_file_is_there_alone(server: Server, tmp_path: Path, path: str) -> None:
    target = tmp_path / "made" / "on the way" / "names.txt"
    fetch(server.url(path), target, SHA256)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_localhost_is_this_machine_too(server: Server, tmp_path: Path) -> None:
    fetch(server.url("right").replace("127.0.0.1", "localhost"), tmp_path / "names.txt", SHA256)
    assert (tmp_path / "names.txt").read_bytes() == CONTENT


def test_others_may_read_the_file_as_any_other(server: Server, tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary.txt"
    ordinary.write_bytes(CONTENT)
    fetch(server.url("right"), tmp_path / "names.txt", SHA256)
    assert (tmp_path / "names.txt").stat().st_mode == ordinary.stat().st_mode


@pytest.mark.parametrize(("path", "content"), [("wrong", OTHER), ("empty", b"")])
def test_the_wrong_file_is_deleted_and_both_digests_shown(
    server: Server, tmp_path: Path, path: str, content: bytes
) -> None:
    message = failed_fetch(server.url(path), tmp_path)
    assert SHA256 in message
    assert hashlib.sha256(content).hexdigest() in message


def test_the_wrong_file_does_not_replace_what_is_there(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "names.txt"
    target.write_bytes(CONTENT)
    with pytest.raises(UserError, match=SHA256):
        fetch(server.url("wrong"), target, SHA256)
    assert target.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [target]


def test_a_download_broken_off_says_how_far_it_came(server: Server, tmp_path: Path) -> None:
    assert "broken off after 7 of 16 bytes" in failed_fetch(server.url("short"), tmp_path)


def test_a_download_in_chunks_broken_off(server: Server, tmp_path: Path) -> None:
    assert "broken off" in failed_fetch(server.url("short_chunk"), tmp_path)


@pytest.mark.parametrize(("path", "status"), [("absent", "404"), ("failure", "503")])
def test_an_error_status_is_named_with_its_mend(server: Server, tmp_path: Path, path: str, status: str) -> None:
    message = failed_fetch(server.url(path), tmp_path)
    assert status in message
    assert "MAKEMORE_NAMES=" in message


@pytest.mark.parametrize("path", ["garbage", "nothing"])
def test_an_answer_that_is_no_http_is_a_user_error(server: Server, tmp_path: Path, path: str) -> None:
    failed_fetch(server.url(path), tmp_path)


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/names.txt", "https://[::1/names.txt", "https:///names.txt"])
def test_an_address_that_is_none_is_a_user_error(tmp_path: Path, url: str) -> None:
    failed_fetch(url, tmp_path)


def test_a_refused_connection_is_named_with_its_mend(refusing: str, tmp_path: Path) -> None:
    message = failed_fetch(refusing, tmp_path)
    assert "refused" in message
    assert "MAKEMORE_NAMES=" in message


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # so that this test fails, and does not wait, where nobody gives up
        end = threading.Timer(30, listener.close)
        end.start()
        message = failed_fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/names.txt", tmp_path, timeout=0.1)
        end.cancel()
    assert "timed out" in message


def test_https_is_spoken_where_it_is_asked_for(server: Server, tmp_path: Path) -> None:
    failed_fetch(server.url("right").replace("http:", "https:"), tmp_path)
    # a server that speaks no TLS is not asked in the clear instead
    assert server.asked == []


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that an address was wanted for; only this machine has one."""
    hosts: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> Any:
        hosts.append(host)
        if host != "127.0.0.1":
            raise socket.gaierror("no network in tests")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return hosts


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/names.txt",
        "http://127.0.0.1.example.com/names.txt",
        "http://127.0.0.1@example.com/names.txt",
        "http://192.0.2.1/names.txt",
        "ftp://127.0.0.1/names.txt",
        "file:///etc/hostname",
        "names.txt",
    ],
)
def test_what_is_not_https_is_refused_before_any_connection(url: str, tmp_path: Path, looked_up: list[str]) -> None:
    assert "not https" in failed_fetch(url, tmp_path)
    assert looked_up == []


def test_a_redirection_to_plain_http_elsewhere_is_not_followed(
    server: Server, tmp_path: Path, looked_up: list[str]
) -> None:
    failed_fetch(server.url("elsewhere"), tmp_path)
    assert set(looked_up) == {"127.0.0.1"}


def test_a_directory_that_cannot_be_made_is_a_user_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError):
        fetch(server.url("right"), tmp_path / "file" / "names.txt", SHA256)


def test_what_was_downloaded_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "names.txt"
    for _ in range(2):
        assert obtain(str(target), SHA256, server.url("right"), "MAKEMORE_NAMES") == target
        assert target.read_bytes() == CONTENT
    assert server.asked == ["/right"]


def test_a_damaged_download_is_an_error_with_both_digests(refusing: str, tmp_path: Path) -> None:
    target = tmp_path / "names.txt"
    target.write_bytes(OTHER)
    with pytest.raises(UserError, match=SHA256) as caught:
        obtain(str(target), SHA256, refusing, "MAKEMORE_NAMES")
    assert str(target) in str(caught.value)
    assert hashlib.sha256(OTHER).hexdigest() in str(caught.value)


@pytest.mark.parametrize("named", ["{}/copy.txt", "copy.txt", "~/copy.txt"])
def test_a_copy_on_disk_is_used_and_nothing_fetched(
    refusing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MAKEMORE_NAMES", named.format(tmp_path))
    target = tmp_path / "names.txt"
    assert obtain(str(target), SHA256, refusing, "MAKEMORE_NAMES") == copy
    assert list(tmp_path.iterdir()) == [copy]


def test_a_copy_goes_before_a_download(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, target = tmp_path / "copy.txt", tmp_path / "names.txt"
    copy.write_bytes(CONTENT)
    target.write_bytes(OTHER)
    monkeypatch.setenv("MAKEMORE_NAMES", str(copy))
    assert obtain(str(target), SHA256, server.url("right"), "MAKEMORE_NAMES") == copy
    assert server.asked == []


@pytest.mark.parametrize("impossible", ["x" * 300, "~no-such-user/names.txt"])
def test_an_impossible_copy_is_a_user_error(
    refusing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impossible: str
) -> None:
    monkeypatch.setenv("MAKEMORE_NAMES", impossible)
    with pytest.raises(UserError, match="MAKEMORE_NAMES"):
        obtain(str(tmp_path / "names.txt"), SHA256, refusing, "MAKEMORE_NAMES")


@pytest.mark.parametrize(("missing", "message"), [("absent.txt", "no such file"), (".", "is a directory")])
def test_a_missing_copy_is_an_error_and_nothing_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, message: str
) -> None:
    named = str(tmp_path / missing)
    monkeypatch.setenv("MAKEMORE_NAMES", named)
    with pytest.raises(UserError, match=message) as caught:
        obtain(str(tmp_path / "names.txt"), SHA256, server.url("right"), "MAKEMORE_NAMES")
    assert f"MAKEMORE_NAMES={named}" in str(caught.value)
    assert server.asked == []


def test_a_wrong_copy_is_an_error_with_both_digests_and_stays(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_bytes(OTHER)
    monkeypatch.setenv("MAKEMORE_NAMES", str(copy))
    with pytest.raises(UserError, match=SHA256) as caught:
        obtain(str(tmp_path / "names.txt"), SHA256, server.url("right"), "MAKEMORE_NAMES")
    assert str(copy) in str(caught.value)
    assert hashlib.sha256(OTHER).hexdigest() in str(caught.value)
    assert copy.read_bytes() == OTHER
    assert os.listdir(tmp_path) == ["copy.txt"]
    assert server.asked == []


def test_an_empty_variable_names_no_copy(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEMORE_NAMES", "")
    target = tmp_path / "names.txt"
    assert obtain(str(target), SHA256, server.url("right"), "MAKEMORE_NAMES") == target


def test_an_installed_package_keeps_what_it_downloads_with_the_data_of_its_user(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("makemore.data.download.IS_INSTALLED", True)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    found = obtain("data/downloaded.txt", SHA256, server.url("right"))
    assert found == tmp_path / "makemore" / "data" / "downloaded.txt"
    assert found.exists()


def test_a_text_of_the_project_is_checked_and_never_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    digest = hashlib.sha256((PROJECT_ROOT / "data" / "names.txt").read_bytes()).hexdigest()
    assert obtain("data/names.txt", digest) == PROJECT_ROOT / "data" / "names.txt"
    with pytest.raises(UserError, match=f"sha256 {digest}, expected {SHA256}"):
        obtain("data/names.txt", SHA256)
    with pytest.raises(UserError, match="no such file"):
        obtain("data/nothing.txt", SHA256)
