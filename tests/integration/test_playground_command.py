"""Checks scripts/playground.py: what cannot be served is one line, and what is served asks nothing of other hosts."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from trials import ROOT

import makemore
from browser.playground import serving
from makemore.playground.model_view import views_of

Command = Callable[..., Any]


def test_what_is_no_model_is_one_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no checkpoint\n")
    assert "notes.txt: is" in command("playground", "notes.txt").error
    assert "nowhere" in command("playground", "nowhere").error
    assert command("playground").code == 2


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("port=70000", "port must be a whole number from 0 to 65535, not '70000'"),
        ("port=x", "port must be a whole number from 0 to 65535, not 'x'"),
        ("top=9", "top must be a whole number from 1 to 4, not '9'"),
    ],
)
def test_a_wrong_key_is_one_line(key: str, error: str, command: Command) -> None:
    assert error in command("playground", "latest", key).error


def test_a_port_in_use_is_one_line(command: Command, trained: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = command("playground", trained, f"port={port}").error
    assert f"port={port}: address already in use; give another, or port=0 for a free one" in error


def test_more_models_than_have_room_are_one_line(command: Command, trained: Path) -> None:
    checkpoints = sorted((trained / "checkpoints").glob("*.ckpt"))
    copies = [path.with_name(f"{number}.ckpt") for number in range(5) for path in checkpoints[:1]]
    for copy in copies:
        copy.write_bytes(checkpoints[0].read_bytes())
    try:
        assert "5 models are given; at most 4 have room" in command("playground", *copies).error
    finally:
        for copy in copies:
            copy.unlink()


def test_without_the_extra_it_is_named(command: Command, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "makemore.playground.wiring", raising=False)
    assert "the playground needs gradio, which is not installed: pip install" in command("playground", trained).error


def status(request: Request) -> int:
    """Return the status of the answer to a request."""
    try:
        with urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def test_the_page_names_no_other_host_and_answers_to_no_other_name(trained: Path) -> None:
    with serving(views_of([makemore.load(trained)])) as url:
        with urlopen(url, timeout=60) as page:
            html = page.read().decode()
            policy = page.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "http" not in policy
        # what a browser would fetch by itself
        assert re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//[^"]*"', html) == []
        assert status(Request(url, headers={"Host": "elsewhere.example"})) == 400
        predict, upload = "/gradio_api/run/predict", "/gradio_api/upload"
        foreign = {"Origin": "http://evil.example"}
        for path, headers, code in (
            # as far as the page's own function, which there is none of that number
            (predict, {"Origin": url}, 500),
            (predict, foreign, 403),
            (predict, {"Origin": "null"}, 403),
            (predict, {"Sec-Fetch-Site": "cross-site"}, 403),
            (predict, {"Sec-Fetch-Site": "same-site"}, 403),
            (upload, foreign, 403),
            (upload, {"Origin": url}, 404),
        ):
            body = b'{"data": [], "fn_index": 99}'
            asked = Request(url + path, body, {"Content-Type": "application/json", **headers})
            assert (path, headers, status(asked)) == (path, headers, code)
        for path in ("/gradio_api/openapi.json", "/gradio_api/info", "/config", "/gradio_api/file=/etc/hostname"):
            assert (path, status(Request(url + path))) == (path, 404)
        # a link to it
        assert status(Request(url, headers={"Sec-Fetch-Site": "cross-site"})) == 200


@pytest.mark.full
def test_ctrl_c_ends_it(trained: Path, tmp_path: Path) -> None:
    line = [sys.executable, str(ROOT / "scripts" / "playground.py"), str(trained), "port=0"]
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().split()[0]
        with urlopen(url, timeout=60) as page:
            assert page.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []
