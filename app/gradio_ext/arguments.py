"""What Gradio does before an endpoint runs: arguments left out are filled in, and what it refuses is told plainly."""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr
from gradio.data_classes import FileData, ImageData

from app.wire.errors import sentence

T = TypeVar("T")
NOT_A_FILE = (
    "{names}: only a file that was sent to this page is taken. Upload it first; in Python, pass "
    "gradio_client.handle_file(path)."
)


def take_plainly(page: gr.Blocks) -> None:
    """Make a page fill in the arguments that a call leaves out, and say in one sentence what it cannot take."""
    prepare = page.preprocess_data

    async def prepare_plainly(block_fn: Any, inputs: list[Any], *arguments: Any, **options: Any) -> Any:
        values = [*inputs, *left_out(block_fn, len(inputs))]
        try:
            return await prepare(block_fn, values, *arguments, **options)
        except gr.Error:
            raise
        except Exception as error:
            raise gr.Error(refusal(block_fn, error), print_exception=False) from None

    page.preprocess_data = prepare_plainly  # type: ignore[method-assign]


def left_out(block_fn: Any, given: int) -> list[Any]:
    """The defaults of a public endpoint's arguments after the first `given`. Raises gr.Error where one has none."""
    if block_fn.api_visibility == "private":
        return []
    rest = block_fn.inputs[given:]
    without = [index for index, block in enumerate(rest, given) if block.value is None]
    if without:
        raise gr.Error(
            f"/{block_fn.api_name} needs {' and then '.join(names_of(block_fn)[: without[-1] + 1])}; "
            f"{given or 'no'} {'value' if given == 1 else 'values'} came.",
            print_exception=False,
        )
    return [block.value for block in rest]


def refusal(block_fn: Any, error: Exception) -> str:
    """Why Gradio did not take the values of a call."""
    files = [
        name
        for name, block in zip(names_of(block_fn), block_fn.inputs, strict=True)
        if getattr(block, "data_model", None) in (FileData, ImageData)
    ]
    if not files or not isinstance(error, ValueError):
        return sentence(error)
    return NOT_A_FILE.format(names=" and ".join(files))


def names_of(block_fn: Any) -> list[str]:
    """What a function's inputs are called: its arguments, or the labels of its components where it names none."""
    names = [name for name in inspect.signature(block_fn.fn).parameters if name != "request"]
    labels = [str(getattr(block, "label", None) or "a value") for block in block_fn.inputs]
    return names if len(names) == len(labels) else labels


def plainly(work: Callable[[], T]) -> T:
    """Run it; whatever it raises becomes one escaped sentence for the caller, without a traceback."""
    try:
        return work()
    except gr.Error:
        raise
    except Exception as error:
        raise gr.Error(html.escape(sentence(error), quote=False), print_exception=False) from None
