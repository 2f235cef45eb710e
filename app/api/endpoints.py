"""The API: every action as an endpoint with a stable name and documented arguments."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr
from gradio.utils import get_function_description

from adafv_core.errors import AdaFVError
from adafv_core.methods import METHODS
from app.handlers import Question
from app.inputs import Choice, More, read_count, read_method, read_path, read_prompt, read_ratio
from app.parts import any_number, checked_image, json_list
from app.site import Site
from app.sweeping import read_sweep, run_sweep, sweep_view

T = TypeVar("T")
_RATIOS = (0.25, 0.1, 0.05)


def add_endpoints(site: Site) -> None:
    """Add /ask, /scores, /sweep and /new_scene to the page being built."""
    def ask(
        request: gr.Request, image: str, prompt: str, keep_ratio: Any = 0.1, method: str = "adafv",
        max_new_tokens: Any = 64, with_full: bool = True,
    ) -> dict[str, Any]:  # fmt: skip
        """Answer a question about an image with pruned visual tokens, and with all of them to compare.

        Args:
            image: PNG, JPEG or WebP picture.
            prompt: The question, in the user's own words.
            keep_ratio: Fraction of visual tokens kept, above 0 and at most 1.
            method: Name of a pruning method, for example adafv, saliency, t2i, random, full.
            max_new_tokens: Longest answer, in tokens.
            with_full: Answer with all visual tokens too, to compare.
        """

        def work() -> dict[str, Any]:
            count = read_count(max_new_tokens, "max_new_tokens", site.settings.max_new_tokens)
            asked = _question(site, image, prompt, keep_ratio, method, More(max_new_tokens=count))
            return site.desk.answer(site.desk.visits.of(request.session_hash), asked, bool(with_full))

        return plainly(work)

    def scores(
        request: gr.Request, image: str, prompt: str, keep_ratio: Any = 0.1, method: str = "adafv"
    ) -> dict[str, Any]:
        """Scores of every visual token for a question, and which ones stay: equal-length lists.

        Args:
            image: PNG, JPEG or WebP picture.
            prompt: The question, in the user's own words.
            keep_ratio: Fraction of visual tokens kept, above 0 and at most 1.
            method: Name of a pruning method, for example adafv, saliency, t2i, random, full.
        """

        def work() -> dict[str, Any]:
            asked = _question(site, image, prompt, keep_ratio, method, More())
            return site.desk.scores(site.desk.visits.of(request.session_hash), asked)

        return plainly(work)

    def new_scene() -> tuple[str, dict[str, Any]]:
        """Draw a scene of the pocket model's world, with questions about it and their answers."""
        scene = site.scenes.new_scene()
        pairs = [{"question": text, "answer": answer} for text, answer in scene.questions]
        return str(scene.path), {"seed": scene.seed, "questions": pairs}

    def sweep(
        request: gr.Request, image: str, prompt: str, methods: Any = None, keep_ratios: Any = None
    ) -> dict[str, Any]:
        """Answer one question with every method at every keep ratio, beside all tokens.

        Args:
            image: PNG, JPEG or WebP picture.
            prompt: The question, in the user's own words.
            methods: Names of pruning methods, all of them by default.
            keep_ratios: Fractions of visual tokens kept, each above 0 and at most 1.
        """

        def work() -> dict[str, Any]:
            cells = read_sweep(methods or list(METHODS), keep_ratios or list(_RATIOS))
            asked = _question(site, image, prompt, 1.0, "adafv", More())
            visit = site.desk.visits.of(request.session_hash)
            return sweep_view(list(run_sweep(site.desk, visit, asked, cells))[-1])

        return plainly(work)

    said = {**get_function_description(ask)[1], **get_function_description(sweep)[1]}
    image = checked_image(label=said["image"], visible=False)
    prompt = gr.Textbox(label=said["prompt"], visible=False)
    keep_ratio = any_number(0.1, label=said["keep_ratio"], visible=False)
    method = gr.Textbox("adafv", label=said["method"], visible=False)
    max_new_tokens = any_number(64, label=said["max_new_tokens"], visible=False)
    with_full = gr.Checkbox(True, label=said["with_full"], visible=False)
    methods = json_list("string", value=list(METHODS), label=said["methods"], visible=False)
    keep_ratios = json_list("number", value=list(_RATIOS), label=said["keep_ratios"], visible=False)
    picture = gr.Image(type="filepath", visible=False, label="The drawn scene, PNG")
    result = gr.JSON(visible=False)
    trigger = gr.Button(visible=False)
    model = {"concurrency_id": "model", "concurrency_limit": 1}
    asked = [image, prompt, keep_ratio, method]
    trigger.click(ask, [*asked, max_new_tokens, with_full], result, api_name="ask", **model)
    trigger.click(scores, asked, result, api_name="scores", **model)
    trigger.click(sweep, [image, prompt, methods, keep_ratios], result, api_name="sweep", **model)
    trigger.click(new_scene, None, [picture, result], api_name="new_scene")


def plainly(work: Callable[[], T]) -> T:
    """Run it; an error made on purpose becomes one sentence for the caller, escaped, without a traceback."""
    try:
        return work()
    except AdaFVError as error:
        raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from None


def _question(site: Site, image: Any, prompt: Any, keep_ratio: Any, method: Any, more: More) -> Question:
    choice = Choice(read_ratio(keep_ratio))
    name = read_method(method)
    text = read_prompt(prompt, site.settings)
    picture, key = site.desk.picture(read_path(image))
    return Question(picture, key, text, name, choice, more)
