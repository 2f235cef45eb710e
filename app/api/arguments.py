"""The arguments of the endpoints: what each means is said once here, and each has one field that carries it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import gradio as gr

from adafv_core.methods import METHODS
from app.gradio_ext.arguments import plainly
from app.gradio_ext.components import any_choice, any_number, checked_file, checked_image, json_list
from app.settings import Settings
from app.wire.parse import AskSettings

RATIOS = (0.25, 0.1, 0.05)
MEANINGS = {
    "image": "PNG, JPEG or WebP picture.",
    "prompt": "The question, in the user's own words.",
    "keep_ratio": "Fraction of visual tokens kept, above 0 and at most 1.",
    "method": "Name of a pruning method, for example adafv, saliency, t2i, random, full.",
    "max_new_tokens": "Longest answer, in tokens.",
    "with_full": "Answer with all visual tokens too, to compare.",
    "temperature": "Temperature γ of the text-to-image similarity, above 0.",
    "floor": "Share of the budget guaranteed to each side of the adaptive mix, from 0 to 0.5.",
    "text_tokens": "Text tokens that count: those of the question, or all, the template's too.",
    "positions": "Position ids of kept tokens: contiguous, or the original ones.",
    "force_keep": "Indices of visual tokens that stay in any case (adafv only).",
    "force_drop": "Indices of visual tokens that never stay (adafv only).",
    "methods": "Names of pruning methods, all of them by default.",
    "keep_ratios": "Fractions of visual tokens kept, each above 0 and at most 1.",
    "file": "A run that was saved as JSON, here or on the page.",
    "name": "A name from /models, another hub id, or a folder on the server.",
}
Field = gr.components.Component


def make_fields(settings: Settings) -> dict[str, Field]:
    """A hidden field for every argument, by name. Its value is the argument's default; image, prompt, file and name
    have none."""
    more = AskSettings()

    def hidden(name: str) -> dict[str, Any]:
        return {"label": MEANINGS[name], "visible": False}

    return {
        "image": checked_image(**hidden("image")),
        "prompt": gr.Textbox(**hidden("prompt")),
        "keep_ratio": any_number(0.1, **hidden("keep_ratio")),
        "method": gr.Textbox("adafv", **hidden("method")),
        "max_new_tokens": any_number(settings.answer_tokens, **hidden("max_new_tokens")),
        "with_full": gr.Checkbox(True, **hidden("with_full")),
        "temperature": any_number(more.temperature, **hidden("temperature")),
        "floor": any_number(more.floor, **hidden("floor")),
        "text_tokens": any_choice(("question", "all"), more.text_tokens, **hidden("text_tokens")),
        "positions": any_choice(("contiguous", "original"), more.positions, **hidden("positions")),
        "force_keep": json_list("integer", value=[], **hidden("force_keep")),
        "force_drop": json_list("integer", value=[], **hidden("force_drop")),
        "methods": json_list("string", value=list(METHODS), **hidden("methods")),
        "keep_ratios": json_list("number", value=list(RATIOS), **hidden("keep_ratios")),
        "file": checked_file(**hidden("file")),
        "name": gr.Textbox(**hidden("name")),
    }


class Endpoints:
    """Makes endpoints of functions, on the page that is being built: a function's name is the endpoint's, and its
    arguments are fields of the same names."""

    def __init__(self, settings: Settings) -> None:
        self._fields = make_fields(settings)
        self._trigger = gr.Button(visible=False)
        self.values = gr.JSON(visible=False)

    def add(self, function: Callable[..., Any], *outputs: Field, **options: Any) -> None:
        """Offer one function. outputs: what it returns; its values as JSON by default."""
        names = [name for name in inspect.signature(function).parameters if name != "request"]
        inputs = [self._fields[name] for name in names]
        shown = list(outputs) or [self.values]
        self._trigger.click(_documented(function, names), inputs, shown, api_name=function.__name__, **options)


def _documented(function: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    """The function with its arguments' meanings in its docstring; its errors are told plainly."""

    @functools.wraps(function)
    def told(*values: Any) -> Any:
        return plainly(lambda: function(*values))

    lines = [f"    {name}: {MEANINGS[name]}" for name in names]
    told.__doc__ = "\n".join([inspect.getdoc(function) or "", "", *(["Args:"] if lines else []), *lines]).strip()
    return told
