"""What can be told before a model is loaded or anything heavy imported: wrong settings, a missing package, an address
that cannot be listened on.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Sequence

from app.settings import Settings, read_settings, refuse_missing_mcp, refuse_vibe_mode

_ABOUT_THE_PORT = frozenset({None, errno.EADDRINUSE, errno.EACCES})
ABOUT_THE_ADDRESS = _ABOUT_THE_PORT | {errno.EADDRNOTAVAIL}
"""Error numbers of an OSError that says a host or port cannot be listened on; Gradio's own has none."""


def settings_to_start_with(arguments: Sequence[str]) -> Settings:
    """Settings from flags and environment; where no page can be opened with them, a sentence ends the program."""
    settings = read_settings(arguments)
    refuse_vibe_mode()
    refuse_missing_mcp(settings)
    refuse_unusable_address(settings)
    return settings


def refuse_unusable_address(settings: Settings) -> None:
    """End the program where its host and port cannot be listened on, as far as one can tell by trying."""
    try:
        host = settings.host.removeprefix("[").removesuffix("]")
        family, kind, protocol, _, address = socket.getaddrinfo(host, settings.port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        sys.exit(unusable_address(settings, error))


def unusable_address(settings: Settings, error: Exception) -> str:
    """Why the page cannot listen, and which flag would mend it."""
    port = "any port from 7860" if settings.port is None else f"port {settings.port}"
    if isinstance(error, OSError) and error.errno in _ABOUT_THE_PORT:
        remedy = "end what listens there, or choose another port with --port (GRADIO_SERVER_PORT)"
    else:
        remedy = "choose another address with --host (GRADIO_SERVER_NAME)"
    reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return f"The page cannot listen on host {settings.host}, {port} ({reason}): {remedy}."
