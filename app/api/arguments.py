"""The arguments of the endpoints: each is described once, and a hidden field carries its value."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from adafv_core.methods import METHODS
from adafv_core.types import SHARES
from app.gradio_ext.blocks import streamed_with_gradio_errors, with_gradio_errors
from app.gradio_ext.inputs import AnyChoice, AnyNumber, CheckedFile, CheckedImage, CheckedImages, JsonList, JsonObject
from app.settings import Settings
from app.wire.parse import METHOD_OPTIONS, POSITION_CHOICES, TEXT_TOKENS, AskSettings

OTHER_SIDE = {"method": "random"}
RATIOS = (0.25, 0.1, 0.05)
MEANINGS = {
    "image": "PNG, JPEG or WebP picture.",
    "prompt": "The question, in the user's own words.",
    "keep_ratio": "Fraction of visual tokens kept, above 0 and at most 1.",
    "method": f"Name of a pruning method: {', '.join(f'{name} ({one.title})' for name, one in METHODS.items())}.",
    "max_new_tokens": "Longest answer, in tokens.",
    "with_full": "Answer with all visual tokens too, to compare.",
    "temperature": "Temperature γ of the text-to-image similarity, above 0.",
    "floor": "Share of the budget guaranteed to each side of the adaptive mix, from 0 to 0.5.",
    "text_tokens": "Text tokens that count: those of the question, or all, including the template's.",
    "positions": "Position ids of kept tokens: default (as the model's family does), contiguous or original.",
    "force_keep": "Indices of visual tokens that are always kept (adafv only).",
    "force_drop": "Indices of visual tokens that are never kept (adafv only).",
    "more_images": "Further pictures of the same question, which follow the first in the prompt.",
    "share": "With several pictures: image (keep_ratio for each of them) or all (one budget for all).",
    "block": "Side of the blocks of patches left out one at a time, larger where there would be more than 64 of them.",
    "b": "What side B has otherwise than side A, the other arguments: their names and values; no pictures.",
    "methods": "Names of pruning methods, all of them by default.",
    "keep_ratios": "Fractions of visual tokens kept, each above 0 and at most 1.",
    "file": "A run that was saved as JSON, by /run or on the page.",
    "name": "A name from /models, another hub id, or a folder on the server.",
}
MORE = ("more_images", "share")
SCORES = ("image", "prompt", "keep_ratio", "method", *METHOD_OPTIONS, "positions", "force_keep", "force_drop", *MORE)
STRIP = (*SCORES[:2], "method", "max_new_tokens", *SCORES[4:])
CAUSAL = (*SCORES[:4], "max_new_tokens", "block", *SCORES[4:])
ASK = (*SCORES[:4], "max_new_tokens", "with_full", *SCORES[4:])
SIDE_B = ("max_new_tokens", "share", *(name for name in SCORES if name not in ("image", *MORE)))
COMPARE = (*SCORES[:4], "b", "max_new_tokens", *SCORES[4:])
Field = gr.components.Component


def make_fields(settings: Settings) -> dict[str, Field]:
    """A hidden field for every argument, by name; its value is the argument's default. image, prompt, file and name
    have no default.
    """

    def hidden(name: str) -> dict[str, Any]:
        return {"label": MEANINGS[name], "visible": False}

    return {
        "image": CheckedImage(**hidden("image")),
        "prompt": gr.Textbox(**hidden("prompt")),
        "keep_ratio": AnyNumber(0.1, **hidden("keep_ratio")),
        "method": gr.Textbox("adafv", **hidden("method")),
        "max_new_tokens": AnyNumber(settings.answer_tokens, **hidden("max_new_tokens")),
        "with_full": gr.Checkbox(AskSettings.with_full, **hidden("with_full")),
        "temperature": AnyNumber(AskSettings.temperature, **hidden("temperature")),
        "floor": AnyNumber(AskSettings.floor, **hidden("floor")),
        "text_tokens": AnyChoice(list(TEXT_TOKENS), value=AskSettings.text_tokens, **hidden("text_tokens")),
        "positions": AnyChoice(list(POSITION_CHOICES), value=AskSettings.positions, **hidden("positions")),
        "force_keep": JsonList([], items="integer", **hidden("force_keep")),
        "force_drop": JsonList([], items="integer", **hidden("force_drop")),
        "more_images": CheckedImages(**hidden("more_images")),
        "share": AnyChoice(list(SHARES), value=AskSettings.share, **hidden("share")),
        "b": JsonObject(dict(OTHER_SIDE), **hidden("b")),
        "block": AnyNumber(1, **hidden("block")),
        "methods": JsonList(list(METHODS), items="string", **hidden("methods")),
        "keep_ratios": JsonList(list(RATIOS), items="number", **hidden("keep_ratios")),
        "file": CheckedFile(**hidden("file")),
        "name": gr.Textbox(**hidden("name")),
    }


class Endpoints:
    """Adds endpoints to the page that is being built, each named like its function."""

    def __init__(self, settings: Settings) -> None:
        self._fields = make_fields(settings)
        self._trigger = gr.Button(visible=False)
        self.values = gr.JSON(visible=False)

    def add(
        self,
        function: Callable[..., Any],
        arguments: Sequence[str] = (),
        outputs: Sequence[Field] = (),
        **options: Any,
    ) -> None:
        """Add one endpoint.

        function: takes the gr.Request and each of `arguments` by name; a generator streams. outputs: what it returns,
        JSON by default. options: of Gradio's event.
        """
        self._trigger.click(
            _documented(function, arguments),
            None,
            list(outputs) or [self.values],
            inputs_kwargs={name: self._fields[name] for name in arguments},
            api_name=function.__name__,
            **options,
        )


def _documented(function: Callable[..., Any], arguments: Sequence[str]) -> Callable[..., Any]:
    """The function with its arguments' meanings in its docstring, and its errors as one sentence."""

    def plain(request: gr.Request, **values: Any) -> Any:
        return with_gradio_errors(lambda: function(request, **values))

    def streaming(request: gr.Request, **values: Any) -> Iterator[Any]:
        yield from streamed_with_gradio_errors(lambda: function(request, **values))

    endpoint: Callable[..., Any] = streaming if inspect.isgeneratorfunction(function) else plain
    lines = ["Args:", *(f"    {name}: {MEANINGS[name]}" for name in arguments)] if arguments else []
    endpoint.__doc__ = "\n".join([inspect.getdoc(function) or "", "", *lines]).strip()
    endpoint.__name__ = function.__name__
    # Gradio describes only arguments that it finds in the signature.
    named = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in arguments]
    request = inspect.signature(endpoint).parameters["request"]
    endpoint.__signature__ = inspect.Signature([request, *named])  # type: ignore[attr-defined]
    return endpoint
