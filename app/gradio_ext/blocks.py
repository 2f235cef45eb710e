"""Wraps the calls of endpoint functions: fills in defaults before, turns errors into one sentence after."""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import gradio as gr
from gradio.data_classes import FileData, ImageData, ListFiles
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.gradio_ext.inputs import CheckedImages
from app.gradio_ext.queueing import FairQueue
from app.wire.errors import sentence

WRITTEN_FOR = "6.31"
T = TypeVar("T")
NOT_PUBLIC = "This function is the page's own: call an endpoint by its name."
NOT_A_FILE = (
    "{names}: only a file that was sent to this page is taken. Upload it first; in Python, pass "
    "gradio_client.handle_file(path)."
)


class PageBlocks(gr.Blocks):
    """Blocks whose public endpoints may be called with trailing arguments left out, also over plain HTTP.

    Overrides `Blocks.preprocess_data`, which checks a call's values against the function's input components,
    `Blocks.process_api`, through which every call passes, and `Blocks.queue`, which makes the queue.
    """

    def queue(self, *arguments: Any, visitor_size: int | None = None, **options: Any) -> gr.Blocks:
        """`Blocks.queue` with a `FairQueue`. visitor_size: the most calls of one visitor that may wait."""
        super().queue(*arguments, **options)
        made = self._queue
        self._queue = FairQueue(
            visitor_size,
            live_updates=made.live_updates,
            concurrency_count=made.max_thread_count,
            update_intervals=made.update_intervals,
            max_size=made.max_size,
            blocks=self,
            default_concurrency_limit=made.default_concurrency_limit,
        )
        return self

    def drain(self, within_s: float) -> None:
        """See `FairQueue.drain`."""
        if isinstance(self._queue, FairQueue):
            self._queue.drain(within_s)

    def health_route(self) -> Route:
        """`/healthz` for whoever runs the page: 200, or 503 while it stops."""

        async def health(request: StarletteRequest) -> Response:
            stopping = isinstance(self._queue, FairQueue) and self._queue.stopping
            return JSONResponse({"status": "stopping" if stopping else "ok"}, status_code=503 if stopping else 200)

        return Route("/healthz", health, name="adafv-health")

    def close_soon(self) -> None:
        """Close the server; connections that are still open have a second."""
        if self.server is not None:
            self.server.config.timeout_graceful_shutdown = 1
        self.close(verbose=False)

    async def process_api(
        self, block_fn: Any, inputs: list[Any], state: Any = None, request: Any = None, *more: Any, **options: Any
    ) -> dict[str, Any]:
        """Run a function. Raises gr.Error for a private one that is not called by the page."""
        if is_private(block_fn) and not is_from_page(request):
            raise gr.Error(NOT_PUBLIC, print_exception=False)
        return await super().process_api(block_fn, inputs, state, request, *more, **options)

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *arguments: Any, **options: Any) -> Any:
        """The function's arguments. Raises gr.Error with one sentence for values that Gradio does not accept."""
        values = [*inputs, *missing_values(block_fn, len(inputs))]
        try:
            for at, block in enumerate(block_fn.inputs[: len(values)]):
                if isinstance(block, CheckedImages):
                    values[at] = block.files_of(values[at])
            return await super().preprocess_data(block_fn, values, *arguments, **options)
        except gr.Error:
            raise
        except Exception as error:
            raise gr.Error(refusal(block_fn, error), print_exception=False) from None


def is_private(block_fn: Any) -> bool:
    """Whether only the page may call a function. Those for a page that is closed are called by the server itself."""
    private = getattr(block_fn, "api_visibility", "") == "private"
    return private and not any(event == "unload" for _, event in block_fn.targets)


def is_from_page(request: Any) -> bool:
    """Whether the page's own script makes a call, which names itself so; None: the server makes it."""
    return request is None or request.headers.get("x-gradio-user") == "app"


def missing_values(block_fn: Any, given: int) -> list[Any]:
    """The defaults of a public endpoint's arguments after the first `given`. Raises gr.Error if one has none."""
    if block_fn.api_visibility == "private":
        return []
    rest = block_fn.inputs[given:]
    without = [index for index, block in enumerate(rest, given) if block.value is None]
    if without:
        raise gr.Error(
            f"/{block_fn.api_name} needs {' and then '.join(argument_names(block_fn)[: without[-1] + 1])}; "
            f"{given or 'no'} {'value' if given == 1 else 'values'} came.",
            print_exception=False,
        )
    return [block.value for block in rest]


def refusal(block_fn: Any, error: Exception) -> str:
    """Why Gradio did not accept the values of a call."""
    files = [
        name
        for name, block in zip(argument_names(block_fn), block_fn.inputs, strict=True)
        if getattr(block, "data_model", None) in (FileData, ImageData, ListFiles)
    ]
    if not files or not isinstance(error, ValueError):
        return sentence(error)
    return NOT_A_FILE.format(names=" and ".join(files))


def argument_names(block_fn: Any) -> list[str]:
    """The names of a function's inputs: those passed by keyword, or else its parameters."""
    if block_fn.input_keyword_names:
        positional = len(block_fn.inputs) - len(block_fn.input_keyword_names)
        labels = [str(getattr(block, "label", None) or "a value") for block in block_fn.inputs[:positional]]
        return [*labels, *block_fn.input_keyword_names]
    names = [name for name in inspect.signature(block_fn.fn).parameters if name != "request"]
    labels = [str(getattr(block, "label", None) or "a value") for block in block_fn.inputs]
    return names if len(names) == len(labels) else labels


def is_from_mcp(request: gr.Request) -> bool:
    """Whether Gradio's MCP server makes this call; its callers all share one session."""
    return bool(request.headers.get("x-gradio-user") == "mcp")


def with_gradio_errors(work: Callable[[], T]) -> T:
    """The result of `work`; whatever it raises becomes a gr.Error with one escaped sentence and no traceback."""
    try:
        return work()
    except gr.Error:
        raise
    except Exception as error:
        raise gr.Error(html.escape(sentence(error), quote=False), print_exception=False) from None


def streamed_with_gradio_errors(work: Callable[[], Iterator[T]]) -> Iterator[T]:
    """`with_gradio_errors` for a stream of results."""
    results = with_gradio_errors(work)
    end = object()
    while (result := with_gradio_errors(lambda: next(results, end))) is not end:
        yield result  # type: ignore[misc]
