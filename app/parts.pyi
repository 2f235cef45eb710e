"""Components of the page's own: HTML parts whose text arrives as data, and an image that is checked first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

_STATIC = Path(__file__).parent / "static"
_SCRIPTS = ("core", "stage", "page", "keep", "inspector", "panels", "answers", "sweep")
_MOUNT = (
    "(function mount() {{ if (window.adafv && window.adafv.ready) "
    "window.adafv.mount('{name}', element, trigger, props, watch); else setTimeout(mount, 10); }})(); {events}"
)


def page_head() -> str:
    """The page's script, to go into the document's head."""
    code = "\n".join((_STATIC / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
    return f"<script>{code}\nwindow.adafv.ready = true;</script>"


def page_css() -> str:
    """The page's style sheet."""
    return (_STATIC / "page.css").read_text(encoding="utf-8")


def part(name: str, value: str = "", events: tuple[str, ...] = (), **options: Any) -> gr.HTML:
    """A component drawn by the page's script. Its template is a constant; `value` is JSON text, read as data.

    events: names of custom events the script triggers.
    """
    comment = f"/* events: {', '.join(repr(event) for event in events)} */"
    return gr.HTML(
        value,
        html_template="<div></div>",
        js_on_load=_MOUNT.format(name=name, events=comment),
        apply_default_css=False,
        elem_id=f"part-{name}",
        **options,
    )

from gradio.events import Dependency

class CheckedImage(gr.Image):
    """An image input that hands the uploaded file over as it is, so that it can be checked before it is decoded.

    Web addresses are refused: the server fetches nothing.
    """

    is_template = True

    def __init__(self, **options: Any) -> None:
        super().__init__(type="filepath", image_mode=None, **options)

    def preprocess(self, payload: ImageData | None) -> str | None:
        """The path of the upload, unopened."""
        if payload is None:
            return None
        if payload.url and payload.url.startswith("data:"):
            raise gr.Error("Send the picture as a file.", print_exception=False)
        return payload.path

    async def async_move_resource_to_block_cache(self, url_or_file_path: str | Path | None) -> str | None:
        """Take uploaded files only."""
        if str(url_or_file_path).lower().startswith(("http://", "https://")):
            raise gr.Error("Send the picture itself, not its address.", print_exception=False)
        return await super().async_move_resource_to_block_cache(url_or_file_path)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


class AnyNumber(gr.Number):
    """A number that is checked by the function that receives it, so that every caller gets the same sentence."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """Whatever came."""
        return payload
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component