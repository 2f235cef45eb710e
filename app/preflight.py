"""Checks that run before a model is loaded or anything heavy is imported: settings, packages, and the address."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from app.settings import Settings, read_settings, refuse_missing_mcp, refuse_missing_ray, refuse_vibe_mode

_PROXIES = tuple(name for kind in ("http", "https", "all") for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY"))
_ABOUT_THE_PORT = frozenset({None, errno.EADDRINUSE, errno.EACCES})
ABOUT_THE_ADDRESS = _ABOUT_THE_PORT | {errno.EADDRNOTAVAIL}
"""Error numbers of an OSError that says a host or port cannot be listened on; Gradio's own has none."""


def settings_to_start_with(arguments: Sequence[str], prog: str = "python -m app") -> Settings:
    """Settings from flags and environment; ends the program with one sentence if no page can be opened with them.

    Gradio reads its ports from the environment too, while it is imported, and accepts only numbers: variables that it
    could not read, or that the settings replace, are removed.
    """
    settings = read_settings(arguments, prog=prog)
    os.environ.pop("GRADIO_SERVER_PORT", None)
    if not os.environ.get("GRADIO_NUM_PORTS", "").isdecimal():
        os.environ.pop("GRADIO_NUM_PORTS", None)
    leave_socks_out()
    refuse_vibe_mode()
    refuse_missing_mcp(settings)
    refuse_missing_ray(settings)
    refuse_unusable_address(settings)
    return settings


def refuse_unusable_address(settings: Settings) -> None:
    """End the program if its host and port cannot be bound now."""
    try:
        host = settings.host.removeprefix("[").removesuffix("]")
        family, kind, protocol, _, address = socket.getaddrinfo(host, settings.port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        sys.exit(unusable_address(settings, error))


def server_name(host: str) -> str:
    """A host as written in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def leave_socks_out() -> None:
    """Ignore SOCKS proxies if the package that supports them is missing; the page could not start with them."""
    named = [name for name in _PROXIES if os.environ.get(name, "").startswith("socks")]
    if named and importlib.util.find_spec("socksio") is None:
        for name in named:
            del os.environ[name]
        remedy = "pip install socksio, to download models through it"
        print(f"Not used: the SOCKS proxy in {' and '.join(named)} ({remedy}).", file=sys.stderr, flush=True)


@contextmanager
def without_proxies() -> Iterator[None]:
    """Run a block without proxies: while the page opens, Gradio sends a request to itself."""
    held = {name: os.environ.pop(name) for name in _PROXIES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(held)


def unusable_address(settings: Settings, error: Exception) -> str:
    """Why the page cannot listen on its address, and which flag would change that."""
    port = "any port from 7860" if settings.port is None else f"port {settings.port}"
    if isinstance(error, OSError) and error.errno in _ABOUT_THE_PORT:
        remedy = "stop the program that uses it, or choose another port with --port (GRADIO_SERVER_PORT)"
    else:
        remedy = "choose another address with --host (GRADIO_SERVER_NAME)"
    reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return f"The page cannot listen on host {settings.host}, {port} ({reason}): {remedy}."
