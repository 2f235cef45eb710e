"""The pocket model's word-level tokenizer: it knows the words of its world, and any other word becomes <unk>."""

from __future__ import annotations

import re

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from adafv_core.pocket.world.phrasings import DIRECTION_WORDS, EXTRA_WORDS, HELD_OUT, SYNONYMS, TRAINED
from adafv_core.pocket.world.world import CARD, COLOR_NAMES, COUNTS, DIGITS, PLACES, PLURALS, SHAPES

PAD, BOS, EOS, UNK, IMAGE = "<pad>", "<s>", "</s>", "<unk>", "<image>"
CHAT_WORDS = ("user", "assistant", ":", "?", ".", ",", "!")
ANSWERS = (*COLOR_NAMES, *SHAPES, CARD, *DIGITS, *COUNTS, *PLACES, "yes", "no", "large", "small")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: "
    "{% if message['content'] is string %}{{ message['content'] }} {% else %}"
    "{% for item in message['content'] if item['type'] == 'image' %}<image> {% endfor %}"
    "{% for item in message['content'] if item['type'] == 'text' %}{{ item['text'] }} {% endfor %}{% endif %}"
    "{% else %}ASSISTANT: "
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for item in message['content'] if item['type'] == 'text' %}{{ item['text'] }}{% endfor %}{% endif %}</s>"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""LLaVA-1.5's "USER: <image> question ASSISTANT: answer</s>". Content may also be plain text, with <image> in it."""

GROUNDED: dict[str, tuple[str, str]] = {
    **{shape: ("kind", shape) for shape in SHAPES},
    **{plural: ("kind", shape) for plural, shape in zip(PLURALS, SHAPES, strict=True)},
    CARD: ("kind", CARD),
    **{color: ("color", color) for color in COLOR_NAMES},
}
"""Words that name something visible → (attribute of `Thing`, value)."""


def vocabulary() -> list[str]:
    """All tokens in id order: special tokens first, then the words, sorted."""
    words: set[str] = {*CHAT_WORDS, *ANSWERS, *GROUNDED, *EXTRA_WORDS, "a"}
    texts = [*sum(TRAINED.values(), ()), *sum(HELD_OUT.values(), ()), *sum(DIRECTION_WORDS.values(), ())]
    texts += sum(SYNONYMS.values(), ())
    for text in texts:
        words.update(re.findall(r"[a-z]+", re.sub(r"\{.\}", " ", text)))
    return [PAD, BOS, EOS, UNK, IMAGE, *sorted(words)]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: it lowercases, reads British "colour" as "color", and splits words from punctuation."""
    ids = {token: index for index, token in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNK))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace("colour", "color"),
            normalizers.Replace("centre", "center"),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(r"[a-z]+(?:-[a-z]+)*|[0-9]|[^a-z0-9]"), "isolated"),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(f"{BOS} $A", special_tokens=[(BOS, ids[BOS])])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        extra_special_tokens={"image_token": IMAGE},
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
