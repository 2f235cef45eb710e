"""The user's words are found wherever they stand in a prompt, for every chat template of the known models."""

from __future__ import annotations

import re
from functools import cache

import pytest
from helpers.chat_templates import TEMPLATES, prompter_of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adafv_core.models.prompts import Prompter
from adafv_core.patching.question_finder import QuestionFinder

LAYOUTS = {
    "image first": "<image>\n{0}",
    "image last": "{0}\n<image>",
    "image between": "{0} <image>\n{1}",
    "several first": "<image>\n<image>\n{0}",
    "several between": "{0} <image> {1}\n<image><image>\n{2}",
    "several around": "<image>\n{0}\n<image>",
}
ROLE_WORDS = ("USER:", "ASSISTANT:", "User:", "Assistant:", "[INST]", "[/INST]", "<|user|>", "<|assistant|>")
MARK = "\ue0f5{}\ue0f6"

words = st.text(
    st.one_of(
        st.sampled_from("abcdefghij KLMNOPQRST  ?.,:;!'\"-()[]{}<>|/\\0123456789\n"),
        st.sampled_from("äß数字の한🟢🏳️‍🌈\u200b\u00a0é"),
    ),
    min_size=1,
    max_size=24,
)


@cache
def finder_of(name: str) -> QuestionFinder:
    return QuestionFinder(prompter_of(name))


def encoded(prompter: Prompter, template: str, user: list[str]) -> tuple[list[int], tuple[bool, ...]]:
    """Token ids of a prompt, marks replaced by what users wrote, and which tokens hold a piece of it."""
    text, ranges = "", []
    for piece in re.split("(\ue0f5\\d+\ue0f6)", template):
        mark = re.fullmatch("\ue0f5(\\d+)\ue0f6", piece)
        written = user[int(mark[1])] if mark else piece
        if mark:
            ranges.append((len(text), len(text) + len(written)))
        text += written
    found = prompter.tokenizer(text, return_offsets_mapping=True)
    counted = tuple(
        any(start < right and end > left and end > start for left, right in ranges) and not prompter.is_idle(one)
        for one, (start, end) in zip(found["input_ids"], found["offset_mapping"], strict=True)
    )
    return found["input_ids"], counted


def laid_out(prompter: Prompter, layout: str, history: list[tuple[str, str]]) -> str:
    """The model's template around a last user turn with images and marks at the places of the layout."""
    rendered = prompter.render("\ue0f7", history).replace("<image>\n", "<image>").replace("<image>", "")
    return rendered.replace("\ue0f7", layout.format(*(MARK.format(number) for number in range(3))))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    user=st.tuples(words, words, words),
    history=st.lists(st.tuples(words, words), max_size=2),
    begun=st.one_of(st.just(""), words),
)
@example(
    user=("What color is the ring?", "Read the card.", "How many?"), history=[("Is it?", "No.")], begun="The number"
)
@example(user=("How many?", "x", "7"), history=[], begun="")
def test_the_users_words_count_and_nothing_else(
    name: str, layout: str, user: tuple[str, str, str], history: list[tuple[str, str]], begun: str
) -> None:
    finder = finder_of(name)
    prompter = finder.prompter
    texts = [text.strip() for text in (*user, begun, *(text for turn in history for text in turn))]
    special = (*ROLE_WORDS, *prompter.protected.values())
    if any("".join(one.split()) in "".join(text.split()) for text in texts for one in special):
        return
    if any(not text for turn in history for text in map(str.strip, turn)):
        return
    template = laid_out(prompter, LAYOUTS[layout], history) + begun.strip()
    ids, counted = encoded(prompter, template, texts[:3])
    if any(counted):
        assert finder(ids) == counted, (template, texts)


@pytest.mark.parametrize("name", TEMPLATES)
def test_role_words_in_the_question_are_the_users(name: str) -> None:
    """As far as ids can tell: the prompt ends where the answer begins, and a new turn follows an answer only."""
    finder = finder_of(name)
    for question in ("What does ASSISTANT: mean?", "Is USER: or User: written there?", "Where is the user?"):
        ids, counted = encoded(finder.prompter, laid_out(finder.prompter, "<image>\n{0}", []), [question])
        assert finder(ids) == counted


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_turn_that_the_answer_has_not_followed_yet(name: str) -> None:
    """Without a generation prompt (`add_generation_prompt=False`) the last user turn is still the question."""
    finder = finder_of(name)
    prompter = finder.prompter
    turns = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is it?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "No."}]},
        {"role": "user", "content": [{"type": "text", "text": MARK.format(0)}]},
    ]
    rendered = prompter.processor.apply_chat_template(turns, add_generation_prompt=False)
    ids, counted = encoded(prompter, rendered, ["What color is the ring?"])
    assert finder(ids) == counted


@pytest.mark.parametrize("name", TEMPLATES)
def test_markers_are_made_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    finder = QuestionFinder(finder_of(name).prompter)
    ids, counted = encoded(finder.prompter, laid_out(finder.prompter, "<image>\n{0}", []), ["How many?"])
    assert finder(ids) == counted
    monkeypatch.setattr(finder.prompter.processor, "apply_chat_template", None)
    assert finder(ids) == counted
