"""What `app/gradio_ext` leans on inside Gradio is still there; a failure names the module to look at."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi.testclient import TestClient
from gradio import processing_utils
from gradio.data_classes import FileData, ImageData, ListFiles
from gradio.queueing import Queue
from gradio.routes import App
from starlette.middleware import Middleware

from app.gradio_ext import blocks, busy, document, inputs, queueing
from app.gradio_ext.blocks import PageBlocks, with_gradio_errors
from app.gradio_ext.busy import BusyMiddleware
from app.gradio_ext.components import html_view
from app.gradio_ext.inputs import AnyChoice, AnyNumber, CheckedFile, CheckedImage, CheckedImages, JsonList, JsonObject

CHANGED = "Gradio {version} changed something that app/gradio_ext/{module}.py leans on (written for {written})"


def message(module: Any) -> str:
    name = Path(str(module.__file__)).stem
    return CHANGED.format(version=gr.__version__, module=name, written=module.WRITTEN_FOR)


@pytest.mark.parametrize("module", [blocks, busy, document, inputs, queueing])
def test_each_module_names_the_version_it_was_written_for(module: Any) -> None:
    written, running = (tuple(map(int, text.split(".")[:2])) for text in (module.WRITTEN_FOR, gr.__version__))
    assert written <= running


def test_values_are_checked_where_calls_pass() -> None:
    arguments = list(inspect.signature(gr.Blocks.preprocess_data).parameters)
    assert arguments[:4] == ["self", "block_fn", "inputs", "state"], message(blocks)
    source = inspect.getsource(gr.Blocks.process_api)
    assert "self.preprocess_data(" in source, message(blocks)


def test_a_function_names_its_inputs() -> None:
    with PageBlocks() as page:
        field, trigger = gr.Number(3, label="A count"), gr.Button()
        trigger.click(lambda request, **values: values, field, None, inputs_kwargs={"count": field}, api_name="f")
    block_fn = next(iter(page.fns.values()))
    for name in ("inputs", "fn", "api_name", "api_visibility", "input_keyword_names"):
        assert hasattr(block_fn, name), message(blocks)
    assert blocks.argument_names(block_fn) == ["A count", "count"], message(blocks)


def test_uploads_pass_our_checks_before_anything_is_fetched() -> None:
    for component, stock in ((CheckedImage, gr.Image), (CheckedImages, gr.File), (CheckedFile, gr.File)):
        assert component.preprocess is not stock.preprocess
        for name in ("preprocess", "async_move_resource_to_block_cache"):
            ours, theirs = (list(inspect.signature(getattr(one, name)).parameters) for one in (component, stock))
            assert ours == theirs, message(inputs)
    source = inspect.getsource(processing_utils.async_move_files_to_cache)
    assert "block.async_move_resource_to_block_cache(" in source, message(inputs)
    assert gr.Image().data_model is ImageData and gr.File().data_model is FileData, message(inputs)
    assert CheckedImages().data_model is ListFiles and CheckedImages().value == [], message(inputs)


@pytest.mark.parametrize(
    ("component", "name"),
    [
        (CheckedImage(), "image"),
        (CheckedFile(), "file"),
        (CheckedImages(), "file"),
        (JsonList([1], items="integer"), "json"),
        (JsonObject({"a": 1}), "json"),
        (AnyNumber(1), "number"),
        (AnyChoice(["a", "b"], value="a"), "radio"),
    ],
)
def test_a_subclass_is_drawn_as_what_it_extends(component: Any, name: str) -> None:
    assert component.get_block_name() == name, message(inputs)
    stock = type(component).__mro__[1]
    made = stock([], value=None) if stock is gr.Radio else stock()
    assert component.get_config().keys() == made.get_config().keys(), message(inputs)


def test_values_of_our_inputs_come_as_they_were_sent() -> None:
    assert AnyNumber(1).preprocess("many") == "many" and AnyChoice(["a"], value="a").preprocess("b") == "b"
    values = JsonList([1, 2], items="integer")
    assert values.api_info() == {"type": "array", "items": {"type": "integer"}}
    assert values.example_payload() == [1, 2], message(inputs)
    named = JsonObject({"a": 1})
    assert (named.api_info(), named.example_payload()) == ({"type": "object"}, {"a": 1}), message(inputs)


def small_page() -> PageBlocks:
    """A page with one endpoint, whose second argument has a default, and where one request may wait."""
    with PageBlocks() as page:
        first, second, out = gr.Textbox(), JsonList([1, 2], items="integer"), gr.JSON()

        def echo(request: gr.Request, **values: Any) -> Any:
            return with_gradio_errors(lambda: {**values, "length": 1 / len(values["text"])})

        named = {"text": first, "numbers": second}
        gr.Button().click(echo, None, out, inputs_kwargs=named, api_name="echo")
    page.queue(max_size=1)
    return page


def client_of(page: PageBlocks) -> TestClient:
    app = App.create_app(page, app_kwargs={"middleware": [Middleware(BusyMiddleware, page=page)]})
    return TestClient(app)


def test_arguments_left_out_take_their_defaults_and_errors_are_one_sentence() -> None:
    page = small_page()
    block_fn = next(iter(page.fns.values()))
    assert blocks.missing_values(block_fn, 1) == [[1, 2]], message(blocks)
    with pytest.raises(gr.Error, match="/echo needs text; no values came"):
        blocks.missing_values(block_fn, 0)
    with pytest.raises(gr.Error) as raised:
        with_gradio_errors(lambda: 1 / 0)
    assert "ZeroDivision" not in str(raised.value)


def test_a_full_queue_answers_with_our_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(self: Queue, *arguments: Any, **options: Any) -> tuple[bool, str, str]:
        return False, "Queue is full.", "queue_full"

    monkeypatch.setattr(Queue, "push", full)
    client = client_of(small_page())
    body = {"data": ["a"], "fn_index": 0, "session_hash": "s"}
    assert queueing.wait_s(small_page()._queue) == queueing.UNKNOWN_S, message(busy)
    for path, headers, status in (
        ("/gradio_api/queue/join", {"x-gradio-user": "app"}, 429),
        ("/gradio_api/queue/join", {"x-gradio-user": "api"}, 503),
        ("/gradio_api/call/echo", {}, 503),
    ):
        refused = client.post(path, json=body, headers=headers)
        assert refused.status_code == status, message(busy)
        assert refused.json() == {"detail": queueing.busy_text(queueing.UNKNOWN_S)}
        assert refused.headers["retry-after"] == "2"


def test_the_queue_is_ours_and_gradio_calls_what_it_overrides() -> None:
    queue = small_page()._queue
    assert isinstance(queue, queueing.FairQueue) and queue.max_size == 1, message(queueing)
    for name in ("push", "get_events", "clean_events"):
        ours, stock = (list(inspect.signature(getattr(one, name)).parameters) for one in (queueing.FairQueue, Queue))
        assert ours == stock, message(queueing)
    assert "self.get_events()" in inspect.getsource(Queue.start_processing), message(queueing)
    assert "clean_events(session_hash=session_hash)" in inspect.getsource(App.create_app), message(queueing)
    assert "event.alive" in inspect.getsource(Queue.process_events), message(queueing)


def test_other_answers_pass_unchanged() -> None:
    client = client_of(small_page())
    assert client.get("/gradio_api/info").json()["named_endpoints"].keys() == {"/echo"}
    assert client.post("/gradio_api/nothing/call/echo", json={"data": []}).status_code == 404


def test_an_event_named_in_a_script_is_an_event_of_the_component() -> None:
    with gr.Blocks():
        made = html_view("picture", events=("choose",))
    assert callable(getattr(made, "choose", None)), "gr.HTML no longer finds events in js_on_load"
