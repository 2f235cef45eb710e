"""What a browser may do with the page: headers for every response, no call from another origin, no unneeded address."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.settings import is_loopback

WRITTEN_FOR = "6.31"
ANY = "*"
CLOSED = re.compile(
    r"/(openapi\.json|monitoring(/.*)?|runs/?|login/?|logout/?|gradio_api/(openapi\.json|dev/.*|deep_link|proxy=.*"
    r"|custom_component/.*|stream/.*|process_recording|(undo-)?vibe-.*|runs/?|run-history/.*|profiling/.*|queue/status))$"
)
"""Addresses of Gradio's that neither the page nor its clients need."""
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {framing}"
)
"""Gradio's page has scripts in its document and makes functions from text, so that both have to be allowed; none may
come from another origin, and nothing may be sent to one."""
_FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"


class GuardMiddleware:
    """ASGI middleware for every response and request.

    origins: other origins that may call the endpoints and show the page in a frame, or `*` for all. loopback: whether
    the page listens on loopback only; a browser's call must then name a loopback host or one of `origins`, so that no
    web site can reach the page under a name of its own.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...] = (), loopback: bool = False) -> None:
        self.app = app
        self.origins = frozenset(origins)
        self.loopback = loopback
        framing = ANY if ANY in self.origins else " ".join(("'self'", *origins))
        self._headers = {
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
            "content-security-policy": _POLICY.format(framing=framing),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what is not for this caller, and add the headers to the response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = str(scope.get("path", ""))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                if "/gradio_api/file=" in path:
                    headers["content-security-policy"] = _FILE_POLICY
            await send(message)

        if CLOSED.search(path):
            await PlainTextResponse("Not found.", status_code=404)(scope, receive, with_headers)
        elif self._is_foreign(str(scope["method"]), Headers(scope=scope)):
            said = "Calls from other web sites are refused; --allow-origins (ADAFV_ALLOW_ORIGINS) can allow an origin."
            await PlainTextResponse(said, status_code=403)(scope, receive, with_headers)
        else:
            await self.app(scope, receive, with_headers)

    def _is_foreign(self, method: str, headers: Headers) -> bool:
        """Whether a browser sends this for a page of another origin, which is not allowed to."""
        origin, relation = headers.get("origin"), headers.get("sec-fetch-site")
        if ANY in self.origins or origin in self.origins:
            return False
        if relation is not None:
            navigation = headers.get("sec-fetch-mode") == "navigate" and method in _SAFE_METHODS
            return relation not in ("same-origin", "none") and not navigation
        if origin is None:
            return False
        place = urlsplit(origin)
        if place.netloc != headers.get("x-forwarded-host", headers.get("host")):
            return True
        return self.loopback and not is_loopback(place.hostname or "")
