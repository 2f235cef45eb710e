"""The page's own components: HTML whose text arrives as data, and inputs that are checked before they are decoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import gradio as gr
from gradio.data_classes import FileData, ImageData
from gradio.utils import get_upload_folder, is_in_or_equal

from app.gradio_ext.static_files import ENTRY, base_url

Sent = TypeVar("Sent", gr.Image, gr.File)
_SERVED = "/gradio_api/file="
_MOUNT = (
    "import(new URL('{script}', document.baseURI)).then((page) => "
    "page.mount('{name}', element, trigger, props, watch)); {events}"
)


def html_view(
    name: str,
    value: str = "",
    events: tuple[str, ...] = (),
    template: str = "<div></div>",
    elem_id: str = "",
    **options: Any,
) -> gr.HTML:
    """A component that app/static/ui draws. Its template is a constant; `value` is JSON text, read as data.

    name: which component of ui/main.js draws it. events: names of the custom events that it triggers.
    template: constant markup, never made from data. elem_id: its id on the page, `view-NAME` by default.
    """
    comment = f"/* events: {', '.join(repr(event) for event in events)} */"
    return gr.HTML(
        value,
        html_template=template,
        js_on_load=_MOUNT.format(script=base_url() + ENTRY, name=name, events=comment),
        apply_default_css=False,
        elem_id=elem_id or f"view-{name}",
        **options,
    )


def checked_image(**options: Any) -> gr.Image:
    """An image input that hands the uploaded file over as it is, so that it can be checked before it is decoded."""
    return _sent(gr.Image(type="filepath", image_mode=None, **options), "picture")


def checked_file(**options: Any) -> gr.File:
    """A file input that hands the uploaded file over as it is."""
    return _sent(gr.File(type="filepath", **options), "file")


def _sent(component: Sent, what: str) -> Sent:
    """The component, handing over the path of what was uploaded, and of no other file of the server.

    Web addresses are refused, since the server fetches nothing; save for the address under which this page itself
    serves an uploaded file, which stands for that file.
    """
    take = component.async_move_resource_to_block_cache

    def preprocess(payload: ImageData | FileData | None) -> str | None:
        if payload is None:
            return None
        if payload.url and payload.url.startswith("data:"):
            raise gr.Error(f"Send the {what} as a file.", print_exception=False)
        if payload.path and not is_in_or_equal(payload.path, get_upload_folder()):
            refused = f"Upload the {what} first: only files that were sent to this page are read."
            raise gr.Error(refused, print_exception=False)
        return payload.path

    async def move(path: str | Path | None) -> str | None:
        if not str(path).lower().startswith(("http://", "https://")):
            return await take(path)
        own = served_file(str(path))
        if own is None:
            raise gr.Error(f"Send the {what} itself, not its address.", print_exception=False)
        return own

    component.preprocess = preprocess  # type: ignore[method-assign,assignment]
    component.async_move_resource_to_block_cache = move  # type: ignore[method-assign]
    return component


def served_file(address: str) -> str | None:
    """The uploaded file that Gradio serves at this address; None for any other address. Nothing is fetched."""
    _, found, name = urlsplit(address).path.partition(_SERVED)
    path = unquote(name)
    return path if found and is_in_or_equal(path, get_upload_folder()) and Path(path).is_file() else None


def json_list(kind: str, **options: Any) -> gr.JSON:
    """A list in the API. kind: what JSON schema calls its entries (string, number, integer)."""
    values = gr.JSON(**options)
    values.api_info = lambda: {"type": "array", "items": {"type": kind}}  # type: ignore[method-assign]
    values.example_payload = lambda: options.get("value", [])  # type: ignore[method-assign]
    return values


def any_number(value: float | None = None, **options: Any) -> gr.Number:
    """A number that is checked by the function that receives it, so that every caller gets the same sentence."""
    number = gr.Number(value, **options)
    number.preprocess = lambda payload: payload  # type: ignore[method-assign]
    return number


def any_choice(choices: Sequence[str], value: str, **options: Any) -> gr.Radio:
    """One of a few names, checked by the function that receives it."""
    radio = gr.Radio(list(choices), value=value, **options)
    radio.preprocess = lambda payload: payload  # type: ignore[method-assign]
    return radio
