"""Components drawn by the page's own script; their values arrive as JSON text."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.gradio_ext.static_files import ENTRY, base_url

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
