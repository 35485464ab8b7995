"""The page in Gradio: a box that answers every letter, and the controls of what is made up."""

import asyncio
import os
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

# nothing is told to anybody; read when Gradio and its hub are imported
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_OFFLINE="1")

import gradio as gr
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from makemore.playground.model_view import LONGEST, MOST_ITEMS, ModelView

_STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
# what has data-type types it, as if by hand
_TYPING = """<script>
function typed(event) {
  const from = event.target.closest("[data-type]"), box = document.querySelector("#typed textarea");
  if (!from || !box || (event.type === "keydown" && event.key !== "Enter")) return;
  box.value = from.dataset.type;
  box.dispatchEvent(new InputEvent("input", { bubbles: true }));
}
document.addEventListener("click", typed);
document.addEventListener("keydown", typed);
</script>"""
# a browser asks no other host, whatever is on the page; Gradio's scripts stand in it and make functions of text
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'self'; form-action 'none'"
)

# what the page asks for, by method; the rest of Gradio's server, such as uploads, is closed
_ASKED = {
    "GET": re.compile(r"/|/theme\.css|/favicon\.ico|/(assets|static)/.+"),
    "POST": re.compile("/gradio_api/run/predict"),
}


def application(views: Sequence[ModelView]) -> FastAPI:
    """Return the page of models side by side, for a server on this machine."""
    # where an event loop runs, Gradio makes none, which it would never close
    return asyncio.run(_application(views))


async def _application(views: Sequence[ModelView]) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_OwnPageAlone)
    # a page of another site cannot reach it by a name of its own for this machine
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    app.add_middleware(_Policy)
    accent = {"color_accent": "*primary_600", "slider_color": "*primary_600"}
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    theme = gr.themes.Base(primary_hue="blue", neutral_hue="gray", **fonts).set(
        button_primary_background_fill="*primary_600", **accent
    )
    gr.mount_gradio_app(
        app,
        _page(views),
        "/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        theme=theme,
        css=_STYLE,
        head=_TYPING,
    )
    return app


def _page(views: Sequence[ModelView]) -> gr.Blocks:
    def answer(typed: str) -> str:
        return _side_by_side([view.answer(typed) for view in views])

    def make_up(typed: str, n: Any, temperature: Any, top_k: Any, seed: Any, unseen: bool) -> str:
        arguments = (typed, n, seed, temperature, top_k, unseen)
        # where there is one, its name stands above
        names = [f"<h3>{escape(view.name)}</h3>" if len(views) > 1 else "" for view in views]
        return _side_by_side([name + view.make_up(*arguments) for name, view in zip(names, views, strict=True)])

    most = max(view.model.vocabulary.size for view in views)
    with gr.Blocks(analytics_enabled=False, title="makemore playground", fill_width=True) as page:
        gr.HTML("<h1>Playground</h1>")
        typed = gr.Textbox(
            label="Type a beginning, or a whole item", max_length=LONGEST, elem_id="typed", autofocus=True, lines=1
        )
        answers = gr.HTML()
        gr.HTML("<h2>Made up from it</h2>")
        with gr.Row():
            number = gr.Slider(1, MOST_ITEMS, 20, step=1, label="Items", min_width=140)
            temperature = gr.Slider(0.1, 2, 1, step=0.05, label="Temperature", min_width=140)
            top_k = gr.Slider(0, min(most, 100), 0, step=1, label="Top-k (0 for all)", min_width=140)
            seed = gr.Number(0, precision=0, label="Seed", min_width=140)
            unseen = gr.Checkbox(label="Unseen only", min_width=140)
        button = gr.Button("Make up", variant="primary", elem_id="make-up")
        items = gr.HTML()
        # the queue would take longer than the answer does; of several letters at once the last is answered
        now: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        typed.change(answer, typed, answers, trigger_mode="always_last", **now)
        asked = [typed, number, temperature, top_k, seed, unseen]
        for event in (button.click, typed.submit, page.load):
            event(make_up, asked, items, **now)
        page.load(answer, typed, answers, **now)
    return page


def _side_by_side(columns: Sequence[str]) -> str:
    return f'<div class="models">{"".join(f"<article>{column}</article>" for column in columns)}</div>'


class _OwnPageAlone:
    """Refuses what a page of another site asks, and what this one does not."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        own = f"http://{headers.get('host')}"
        # a link elsewhere may lead to the page
        is_own = path == "/" or headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        if not is_own or headers.get("origin", own) != own:
            await PlainTextResponse("asked by another site", 403)(scope, receive, send)
        elif scope["method"] not in _ASKED or not _ASKED[scope["method"]].fullmatch(path):
            await PlainTextResponse("not found", 404)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class _Policy:
    """Adds `_POLICY` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = _POLICY
            await send(message)

        await self.app(scope, receive, send_with_policy)
