"""Explore: one image, one question, four maps and two answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from adafv_core.methods import METHODS
from app.context import AppContext
from app.events import ASKED, ASKED_AGAIN, ASKED_AGAIN_AND_SENT, ASKED_AND_SENT, HALTED, SENT, asking
from app.explore.model_menu import ModelMenu, bind_menu, build_menu, build_offer
from app.gradio_ext.components import any_number, checked_image, html_view
from app.saved_runs.buttons import SavingRow, bind_row, build_row
from app.serving.ask import AskRequest
from app.wire.errors import sentence
from app.wire.parse import read_choice, read_method, read_more, read_path, read_prompt, read_shown
from app.wire.views import notice

NEW_PICTURE = "A new picture: ask, and its maps and answers take the place of those shown."


@dataclass
class Explore:
    """The tab's components, for the wiring here and in the other tabs."""

    notice: gr.HTML
    image: gr.Image
    prompt: gr.Textbox
    ask: gr.Button
    stop: gr.Button
    new_scene: gr.Button
    questions: gr.Radio
    keep: gr.HTML
    method: gr.Dropdown
    examples: gr.HTML
    temperature: gr.Number
    floor: gr.Slider
    text_tokens: gr.Radio
    positions: gr.Radio
    max_new_tokens: gr.Number
    compare: gr.Checkbox
    stage: gr.HTML
    answers: gr.HTML
    save: SavingRow
    menu: ModelMenu

    @property
    def asked(self) -> list[gr.components.Component]:
        """The inputs of a question, in the order `read_question` takes them."""
        return [
            self.keep,
            self.image,
            self.prompt,
            self.method,
            self.temperature,
            self.floor,
            self.text_tokens,
            self.positions,
            self.max_new_tokens,
            self.compare,
        ]


def read_question(context: AppContext, keep: Any, image: Any, prompt: Any, method: Any, *more: Any) -> AskRequest:
    """One checked request from the tab's inputs, the page's own words first (`SENT`). Raises InputError."""
    method = read_method(method)
    settings = read_more(*more, context.settings)
    choice = read_choice(keep)
    text = read_prompt(prompt, context.settings)
    picture, key = context.service.picture(read_path(image))
    return AskRequest(picture, key, text, method, choice, settings)


def build(context: AppContext) -> Explore:
    """Lay the tab out."""
    first = context.first
    line = html_view("notice", first.notice)
    offer = build_offer(context)
    with gr.Row(elem_id="explore", equal_height=False):
        with gr.Column(elem_id="explore-controls"):
            image = checked_image(
                value=str(first.picture_path),
                label="Image",
                sources=["upload", "clipboard", "webcam"],
                elem_id="question-image",
                buttons=[],
                height=206,
            )
            examples = html_view("examples", first.examples, events=("choose",))
            prompt = gr.Textbox(
                first.prompt,
                label="Question",
                lines=1,
                max_lines=6,
                elem_id="prompt",
                max_length=context.settings.max_prompt_characters,
            )
            with gr.Row(elem_id="ask-row"):
                ask = gr.Button("Ask", variant="primary", elem_id="ask-button", size="md")
                stop = gr.Button("Stop", elem_id="stop-button", size="md")
                new_scene = gr.Button("New scene", elem_id="new-scene", size="md")
            keep = html_view("keep", events=("settle",))
            method = gr.Dropdown(list(METHODS), value="adafv", label="Method", elem_id="method")
            questions = gr.Radio(
                list(first.questions),
                value=first.prompt,
                label="Questions about this scene",
                elem_id="scene-questions",
            )
            with gr.Accordion("More", open=False, elem_id="more"):
                temperature = any_number(100, label="Temperature γ", elem_id="temperature")
                floor = gr.Slider(0, 0.5, 0, step=0.05, label="Floor: share guaranteed to each side", elem_id="floor")
                text_tokens = gr.Radio(
                    [("question", "question"), ("all, template too", "all")],
                    value="question",
                    label="Text tokens that count",
                    elem_id="text-tokens",
                )
                positions = gr.Radio(
                    ["contiguous", "original"], value="contiguous", label="Position ids", elem_id="positions"
                )
                max_new_tokens = any_number(
                    context.settings.answer_tokens, label="New tokens at most", elem_id="max-new-tokens", precision=0
                )
                compare = gr.Checkbox(True, label="Answer with all tokens too", elem_id="compare")
                menu = build_menu(context, offer)
        with gr.Column(elem_id="explore-stage"):
            stage = html_view("stage", first.payload)
            answers = html_view("answers", first.answers)
            save = build_row()
    return Explore(
        line,
        image,
        prompt,
        ask,
        stop,
        new_scene,
        questions,
        keep,
        method,
        examples,
        temperature,
        floor,
        text_tokens,
        positions,
        max_new_tokens,
        compare,
        stage,
        answers,
        save,
        menu,
    )


def bind(context: AppContext, tab: Explore, masthead: gr.HTML) -> None:
    """Wire the tab. masthead: where the model's name stands."""
    service = context.service
    parts = {
        "stage": tab.stage,
        "answers": tab.answers,
        "image": tab.image,
        "prompt": tab.prompt,
        "method": tab.method,
        "questions": tab.questions,
        "notice": tab.notice,
        "masthead": masthead,
        "temperature": tab.temperature,
        "floor": tab.floor,
        "text_tokens": tab.text_tokens,
        "positions": tab.positions,
        "max_new_tokens": tab.max_new_tokens,
        "compare": tab.compare,
    }
    bind_row(context, tab.save, tab.keep, parts)
    shown = [tab.stage, tab.answers, tab.notice]
    streamed: dict[str, Any] = {
        "concurrency_id": "model",
        "concurrency_limit": 1,
        "api_visibility": "private",
        "show_progress": "hidden",
        "trigger_mode": "multiple",
    }

    silent: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    order, halt = asking(context)

    def ask(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        number = 0
        try:
            shown = read_shown(values[0])
            number = shown.asked
            question = read_question(context, *values)
        except Exception as error:
            yield gr.skip(), gr.skip(), notice(sentence(error), "error", number)
            return
        for payload, answers, line in service.ask(service.session(request.session_hash, shown), question, number):
            yield (*(gr.skip() if value is None else value for value in (payload, answers, line)),)

    def ask_again(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        session = service.sessions.of(request.session_hash)
        if session.model == (session.run.model if session.run else service.pool.first):
            yield gr.skip(), gr.skip(), gr.skip()
            return
        for payload, answers, line in ask(request, *values):
            yield payload, answers, gr.skip() if line == notice() else line

    def answered(event: Any, start: Any) -> None:
        if start is None:
            ordered = event(order, tab.keep, js=ASKED_AND_SENT, **silent)
        else:
            function, inputs, outputs = start
            ordered = event(function, inputs, outputs, js=ASKED, **silent).then(order, tab.keep, js=SENT, **silent)
        ordered.then(ask, tab.asked, shown, js=SENT, **streamed)

    def new_scene() -> tuple[Any, ...]:
        scene = context.scenes.new_scene()
        texts = [text for text, _ in scene.questions]
        return str(scene.path), texts[0], gr.Radio(texts, value=texts[0], visible=True)

    def example(event: gr.EventData) -> tuple[Any, ...]:
        index = event._data.get("index") if isinstance(event._data, dict) else None
        if not isinstance(index, int) or not 0 <= index < len(context.first.scenes):
            return gr.skip(), gr.skip(), gr.skip()
        scene = context.first.scenes[index]
        texts = [text for text, _ in scene.questions]
        return str(scene.path), texts[0], gr.Radio(texts, value=texts[0], visible=True)

    for loaded in bind_menu(context, tab.menu, parts):
        again = loaded.then(ask_again, tab.asked, shown, js=ASKED_AGAIN_AND_SENT, **streamed)
        again.then(None, None, None, js=ASKED_AGAIN, **silent)
    scene_outputs = [tab.image, tab.prompt, tab.questions]
    answered(tab.ask.click, None)
    answered(tab.prompt.submit, None)
    answered(tab.keep.settle, None)
    answered(tab.method.input, None)
    answered(tab.new_scene.click, (new_scene, None, scene_outputs))
    answered(tab.examples.choose, (example, None, scene_outputs))
    answered(tab.questions.input, (lambda text: text, tab.questions, tab.prompt))
    tab.stop.click(halt, tab.keep, js=HALTED, **silent)
    tab.prompt.input(None, None, tab.questions, js="() => null", **silent)
    hidden = gr.Radio([], value=None, visible=False)
    tab.image.upload(lambda: (hidden, notice(NEW_PICTURE)), None, [tab.questions, tab.notice], **silent)
