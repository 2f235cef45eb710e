"""Chat templates as the families' checkpoints bring them: the user's words, and the same ids as the stock processor."""

from __future__ import annotations

import pytest
from helpers.models_shared import engine_of
from helpers.tiny_models import picture

from adafv_core.engine.batch import row_from_template
from adafv_core.models.prompts import Prompter

_CONTENT = (
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
)
_QWEN = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}" + _CONTENT + "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_QWEN3 = _QWEN.replace("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n", "")
_INTERNVL = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "{{ '<IMG_CONTEXT>\n' }}{% elif content['type'] == 'video' %}{{ '<video>\n' }}{% elif content['type'] == 'text' %}"
    "{{ content['text'] }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_SMOLVLM = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
TEMPLATES = {
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": _QWEN,
    "qwen3_vl": _QWEN3,
    "internvl": _INTERNVL,
    "idefics3": _SMOLVLM,
    "smolvlm": _SMOLVLM,
}
ASKED = [
    ("What color is the ring?", ()),
    ("  Is it <image> or </s>?\n", ()),
    ("How many?", (("What is in the picture?", "A ring, and <row_1_col_1> a star."), ("Is it red?", "No."))),
    ("<|image_pad|> <IMG_CONTEXT> <global-img> <|im_end|> ünïcödé 😀", (("a", "b"),)),
]


@pytest.mark.parametrize(("question", "history"), ASKED, ids=[question[:12] for question, _ in ASKED])
@pytest.mark.parametrize("family", TEMPLATES)
def test_the_users_words_count_and_marks_in_them_are_plain_text(
    family: str, question: str, history: tuple[tuple[str, str], ...]
) -> None:
    engine, image = engine_of(family), picture(80, 60)
    had = engine.processor.chat_template
    engine.processor.chat_template = TEMPLATES[family]
    try:
        prompter = Prompter(engine.processor, engine.adapter.image_token_id)
        prompt = prompter(question, history)
        rendered = prompter.render(question, history)
    finally:
        engine.processor.chat_template = had
    counted = [one for one, counts in zip(prompt.text_ids, prompt.counted, strict=True) if counts]
    words = engine.tokenizer.decode(counted)
    assert words.replace(" ", "") == question.strip().replace(" ", "").replace("\n", "")
    visual = engine.encode(image)
    row = row_from_template(engine.adapter, prompt.ids, [(visual, None)])
    assert row.images[0].places.numel() == visual.size
    if not any(mark in question + str(history) for mark in ("<", "|")):
        nested = [[image]] if family in ("idefics3", "smolvlm") else [image]
        stock = engine.processor(images=nested, text=[rendered], return_tensors="pt")
        assert row.ids.tolist() == stock["input_ids"][0].tolist()
