"""What browsers are told of every page: load nothing from elsewhere, and be shown in no other page."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from danlu.serve.studio.address import ROOT, STATIC

# NiceGUI writes scripts into its pages and compiles templates. So scripts of ours are all that may run, and
# what keeps others' text from becoming one is that it is never put where a script could be.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
FOR_EVER = "public, max-age=31536000, immutable"  # such addresses change with what lies there


class Shield:
    """Middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(ROOT):
            return await self._app(scope, receive, send)
        fixed = scope["path"].startswith((f"{ROOT}/_nicegui/", f"{STATIC}/"))

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", POLICY)  # a report brings a stricter one
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
                if fixed and message["status"] == 200:
                    headers["Cache-Control"] = FOR_EVER
            await send(message)

        await self._app(scope, receive, marked)
