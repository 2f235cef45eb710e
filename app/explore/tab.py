"""Explore: one image, one question, four maps and two answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from adafv_core.engine.request import Request
from adafv_core.engine.several_images import check_several
from adafv_core.methods import METHODS
from adafv_core.pocket.world.world import SPLIT_SIZE
from adafv_core.types import POSITIONS
from app.context import AppContext
from app.events import (
    ASK,
    ASK_AGAIN_WITH_STATE,
    ASK_WITH_STATE,
    ASKED_AGAIN,
    HALT_WITH_STATE,
    PRIVATE,
    SILENT,
    WITH_STATE,
    job_handlers,
    on_the_model,
)
from app.explore.causal_map import bind_causal_map, build_causal_map
from app.explore.compare import bind_compare, build_compare
from app.explore.model_menu import ModelMenu, bind_menu, build_menu, build_offer
from app.explore.strip import bind_strip, build_strip
from app.gradio_ext.blocks import with_gradio_errors
from app.gradio_ext.components import html_view
from app.gradio_ext.inputs import AnyNumber, CheckedImage, CheckedImages
from app.gradio_ext.queueing import client_gone
from app.saved_runs.buttons import SavingRow, bind_row, build_row
from app.serving.ask import AskRequest
from app.serving.page_stream import page_stream
from app.serving.scenes import ShownScene
from app.wire.errors import sentence
from app.wire.parse import (
    AskSettings,
    TokenChoice,
    read_ask_settings,
    read_count,
    read_method,
    read_more_paths,
    read_page_state,
    read_path,
    read_prompt,
)
from app.wire.views import notice

LINKED = ("scene", "more_scenes", "prompt", "method")
"""What a link holds besides the settings and how the maps look."""
NEW_PICTURE = "A new picture: ask, and its maps and answers replace those shown."


@dataclass
class Explore:
    """The tab's components, for the events here and in the other tabs. keep: the slider, which carries the page's
    state to the server."""

    notice: gr.HTML
    image: gr.Image
    more_images: gr.File
    prompt: gr.Textbox
    ask: gr.Button
    stop: gr.Button
    new_scene: gr.Button
    questions: gr.Radio
    keep: gr.HTML
    strip: gr.HTML
    method: gr.Dropdown
    picture: gr.HTML
    temperature: gr.Number
    floor: gr.Slider
    text_tokens: gr.Radio
    positions: gr.Radio
    max_new_tokens: gr.Number
    with_full: gr.Checkbox
    share: gr.Radio
    stage: gr.HTML
    answers: gr.HTML
    save: SavingRow
    compare: gr.HTML
    causal_map: gr.HTML
    menu: ModelMenu

    @property
    def inputs(self) -> dict[str, gr.components.Component]:
        """The inputs of a question, by the names `read_request` knows."""
        about = {"image": self.image, "more_images": self.more_images, "prompt": self.prompt, "method": self.method}
        return {**about, **self.settings}

    @property
    def settings(self) -> dict[str, gr.components.Component]:
        """The components of `AskSettings`, by field."""
        return {
            "temperature": self.temperature,
            "floor": self.floor,
            "text_tokens": self.text_tokens,
            "positions": self.positions,
            "max_new_tokens": self.max_new_tokens,
            "with_full": self.with_full,
            "share": self.share,
        }


def method_choices() -> list[tuple[str, str]]:
    """The menu of methods: name in words and what it keeps, beside the value."""
    return [(f"{method.title}: {method.keeps}", name) for name, method in METHODS.items()]


def read_request(context: AppContext, choice: TokenChoice, values: Mapping[str, Any], model: str = "") -> AskRequest:
    """One checked question. values: image, more_images, prompt, method and the settings, by name. model: the session's,
    which `Service.picture` asks how large a picture it needs. Raises InputError."""
    method = read_method(values["method"])
    settings = read_ask_settings(values, context.settings)
    prompt = read_prompt(values["prompt"], context.settings)
    paths = [read_path(values["image"]), *read_more_paths(values.get("more_images"), context.settings)]
    check_several(Request(method, share=settings.share), len(paths))
    picture, *more = [context.service.picture(path, model) for path in paths]
    return AskRequest(picture, prompt, method, choice, settings, tuple(more))


def build(context: AppContext) -> Explore:
    """Lay the tab out."""
    first = context.first
    notice_line = html_view("notice", first.notice, events=("take",))
    offer = build_offer(context)
    with gr.Row(elem_id="explore", equal_height=False):
        with gr.Column(elem_id="explore-controls"):
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
            picture = html_view("picture", first.examples, events=("choose", "restore", "remove"))
            image = CheckedImage(
                value=str(first.picture_path),
                label="Image",
                sources=["upload"],
                elem_id="question-image",
                buttons=[],
            )
            more_images = CheckedImages(label="Further images", file_types=["image"], elem_id="more-images")
            share = gr.Radio(
                [("each picture", "image"), ("all together", "all")],
                value=AskSettings.share,
                label="The keep ratio holds for",
                elem_id="share",
            )
            keep = html_view("keep", events=("settle",))
            strip = build_strip()
            method = gr.Dropdown(method_choices(), value="adafv", label="Method", elem_id="method")
            questions = gr.Radio(
                list(first.questions),
                value=first.prompt,
                label="Questions about this scene",
                elem_id="scene-questions",
            )
            with gr.Accordion("More", open=False, elem_id="more"):
                temperature = AnyNumber(100, label="Temperature γ", elem_id="temperature")
                floor = gr.Slider(0, 0.5, 0, step=0.05, label="Floor: share guaranteed to each side", elem_id="floor")
                text_tokens = gr.Radio(
                    [("question", "question"), ("all, template too", "all")],
                    value="question",
                    label="Text tokens that count",
                    elem_id="text-tokens",
                )
                positions = gr.Radio(
                    [("the model's own way", "default"), *((name, name) for name in POSITIONS)],
                    value="default",
                    label="Position ids of kept tokens",
                    elem_id="positions",
                )
                max_new_tokens = AnyNumber(
                    context.settings.answer_tokens, label="New tokens at most", elem_id="max-new-tokens", precision=0
                )
                with_full = gr.Checkbox(True, label="Answer with all tokens too", elem_id="compare")
                menu = build_menu(context, offer)
        with gr.Column(elem_id="explore-stage"):
            stage = html_view("stage", first.payload)
            answers = html_view("answers", first.answers)
            save = build_row()
            with gr.Row(elem_id="explore-measures", equal_height=False):
                compare = build_compare()
                causal_map = build_causal_map()
    return Explore(
        notice=notice_line,
        image=image,
        more_images=more_images,
        prompt=prompt,
        ask=ask,
        stop=stop,
        new_scene=new_scene,
        questions=questions,
        keep=keep,
        strip=strip,
        method=method,
        picture=picture,
        temperature=temperature,
        floor=floor,
        text_tokens=text_tokens,
        positions=positions,
        max_new_tokens=max_new_tokens,
        with_full=with_full,
        share=share,
        stage=stage,
        answers=answers,
        save=save,
        compare=compare,
        causal_map=causal_map,
        menu=menu,
    )


def bind(context: AppContext, tab: Explore, masthead: gr.HTML) -> None:
    """Connect the tab's events. masthead: shows the model's name."""
    bind_row(
        context,
        tab.save,
        tab.keep,
        {
            "payload": tab.stage,
            "answers": tab.answers,
            "picture_path": tab.image,
            "more_paths": tab.more_images,
            "prompt": tab.prompt,
            "method": tab.method,
            "questions": tab.questions,
            "notice": tab.notice,
            **tab.settings,
        },
    )
    _bind_asking(context, tab, masthead)
    bind_strip(context, tab.strip, tab.keep)
    bind_compare(context, tab.compare, tab.keep)
    bind_causal_map(context, tab.causal_map, tab.keep)

    def uploaded() -> dict[gr.components.Component, Any]:
        return {tab.questions: gr.Radio([], value=None, visible=False), tab.notice: notice(NEW_PICTURE)}

    tab.prompt.input(None, None, tab.questions, js="() => null", **SILENT)
    tab.image.upload(uploaded, None, [tab.questions, tab.notice], **SILENT)


def _bind_asking(context: AppContext, tab: Explore, masthead: gr.HTML) -> None:
    service = context.service
    shown = [tab.stage, tab.answers, tab.notice]
    streamed: dict[str, Any] = {
        **PRIVATE,
        **on_the_model(context),
        "trigger_mode": "multiple",
        "inputs_kwargs": tab.inputs,
    }
    supersede, stop = job_handlers(context, lambda session: (session.asking, *session.in_background))

    def ask(request: gr.Request, page_state: str, **values: Any) -> Iterator[dict[gr.HTML, str]]:
        number = 0
        try:
            state = read_page_state(page_state)
            number = state.number
            session = service.session(request.session_hash, state)
            asked = read_request(context, state.choice, values, session.model)
        except Exception as error:
            yield {tab.notice: notice(sentence(error), "error", number)}
            return
        for update in page_stream(service, session, asked, number, client_gone(request)):
            texts = {tab.stage: update.payload, tab.answers: update.answers, tab.notice: update.notice}
            yield {component: text for component, text in texts.items() if text is not None}

    def ask_again(request: gr.Request, page_state: str, **values: Any) -> Iterator[dict[gr.HTML, str]]:
        session = service.sessions.of(request.session_hash)
        if session.model == (session.run.model if session.run else service.pool.first):
            yield gr.skip()
            return
        for texts in ask(request, page_state, **values):
            # An empty notice would erase what the menu has just said about the loaded model.
            yield {component: text for component, text in texts.items() if text != notice()}

    def bind_ask(event: Any, first: Callable[..., Any] | None = None, inputs: Any = None, outputs: Any = None) -> None:
        """Ask on this event. first: what it changes on the page before, with its inputs and outputs."""
        if first is None:
            ready = event(supersede, tab.keep, js=ASK_WITH_STATE, **SILENT)
        else:
            changed = event(first, inputs, outputs, js=ASK, **SILENT)
            ready = changed.then(supersede, tab.keep, js=WITH_STATE, **SILENT)
        ready.then(ask, tab.keep, shown, js=WITH_STATE, **streamed)

    def scene_values(scene: ShownScene) -> dict[gr.components.Component, Any]:
        texts = [text for text, _ in scene.questions]
        return {
            tab.image: str(scene.path),
            tab.more_images: [],
            tab.prompt: texts[0],
            tab.questions: gr.Radio(texts, value=texts[0], visible=True),
        }

    def new_scene() -> dict[gr.components.Component, Any]:
        return scene_values(context.scenes.new_scene())

    def example(event: gr.EventData) -> dict[gr.components.Component, Any]:
        index = getattr(event, "index", None)
        scenes = context.first.scenes
        return scene_values(scenes[index]) if type(index) is int and 0 <= index < len(scenes) else gr.skip()

    def linked_values(given: dict[str, Any]) -> dict[gr.components.Component, Any]:
        settings, most = read_ask_settings(given, context.settings), context.settings.max_images
        values: dict[gr.components.Component, Any] = {
            component: getattr(settings, name) for name, component in tab.settings.items()
        }
        prompt = read_prompt(given.get("prompt"), context.settings)
        if "scene" in given:
            scene, *more = [
                context.scenes.scene(read_count(number, "The scene", SPLIT_SIZE - 1))
                for number in [given["scene"], *str(given.get("more_scenes") or "").split(",")[: most - 1]]
                if number != ""
            ]
            texts = [text for text, _ in scene.questions]
            chosen = gr.Radio(texts, value=prompt if prompt in texts else None, visible=True)
            paths = {tab.image: str(scene.path), tab.more_images: [str(one.path) for one in more]}
            values |= {**paths, tab.questions: chosen}
        return {**values, tab.prompt: prompt, tab.method: read_method(given.get("method", "adafv"))}

    def restore(event: gr.EventData) -> dict[gr.components.Component, Any]:
        """Set the controls as the page's address says."""
        wanted = {name: getattr(event, name, None) for name in (*tab.settings, *LINKED)}
        given = {name: value for name, value in wanted.items() if value is not None}
        return with_gradio_errors(lambda: linked_values(given))

    scene_outputs = [tab.image, tab.more_images, tab.prompt, tab.questions]

    def remove(event: gr.EventData, paths: list[str]) -> list[str]:
        """Take one further picture away."""
        index = getattr(event, "index", None)
        return [path for at, path in enumerate(paths) if at != index]

    tab.picture.remove(remove, tab.more_images, tab.more_images, **SILENT)
    outputs = [*scene_outputs, tab.method, *tab.settings.values()]
    restored = tab.picture.restore(restore, None, outputs, **SILENT)
    ready = restored.success(supersede, tab.keep, js=ASK_WITH_STATE, **SILENT)
    ready.then(ask, tab.keep, shown, js=WITH_STATE, **streamed)

    for loaded in bind_menu(context, tab.menu, tab.notice, masthead):
        again = loaded.then(ask_again, tab.keep, shown, js=ASK_AGAIN_WITH_STATE, **streamed)
        again.then(None, None, None, js=ASKED_AGAIN, **SILENT)
    bind_ask(tab.ask.click)
    bind_ask(tab.prompt.submit)
    bind_ask(tab.keep.settle)
    bind_ask(tab.method.input)
    bind_ask(tab.new_scene.click, new_scene, None, scene_outputs)
    bind_ask(tab.picture.choose, example, None, scene_outputs)
    bind_ask(tab.questions.input, lambda text: text, tab.questions, tab.prompt)
    tab.stop.click(stop, tab.keep, js=HALT_WITH_STATE, **SILENT)
