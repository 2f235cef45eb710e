"""From a question to token ids, with the user's words distinguished from the template's.

The template is rendered with placeholders for the user's text, so the boundary between template and text is known
exactly, whatever the text says. Text that spells a special token (`<image>`, `</s>`, …) is tokenized as ordinary
characters: a prompt can never add or remove image tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from adafv_core.errors import InputError, PromptError
from adafv_core.types import Prompt

Turn = tuple[str, str]

_PLAIN_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


class Prompter:
    """Builds prompts for one processor (its tokenizer and chat template).

    Raises InputError if `processor` is not a full processor (e.g. a bare tokenizer).
    """

    def __init__(self, processor: Any, image_token_id: int) -> None:
        if getattr(processor, "tokenizer", None) is None or not hasattr(processor, "apply_chat_template"):
            raise InputError(
                "processor must be the model's processor (`AutoProcessor.from_pretrained`), which holds its tokenizer "
                f"and chat template; got {type(processor).__name__}."
            )
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.image_token_id = image_token_id
        self.image_token = str(self.tokenizer.convert_ids_to_tokens(image_token_id))
        unknown = self.tokenizer.unk_token_id
        self.protected = {
            token_id: str(token)
            for token_id, token in self.tokenizer.added_tokens_decoder.items()
            if token_id != unknown and len(str(token)) > 1 and not str(token).isspace()
        }
        self._idle: dict[int, bool] = {}
        self._pieces: dict[tuple[str, int, int], list[str]] = {}

    def __call__(self, question: str, history: Sequence[Turn] = (), images: int = 1) -> Prompt:
        """Tokenize `question` after the (question, answer) turns of `history`; the images stand in the first turn.

        Raises PromptError if the question is empty, a text contains half a surrogate pair, or the template cannot be
        applied; InputError if `history` holds anything but pairs of strings.
        """
        texts = _texts(question, history)
        pieces = self._template(len(texts) // 2, images)
        ids, slots, spans = self._tokenize(pieces, texts)
        found = ids.count(self.image_token_id)
        if found != images:
            if images > 1 and found == 1:
                raise PromptError(f"This model's chat template takes one image, got {images}: ask about one alone.")
            expected = "one image token" if images == 1 else f"{images} image tokens"
            raise PromptError(f"Expected {expected} from the chat template, got {found}.")
        image_at = ids.index(self.image_token_id)
        after = [place for place in range(image_at + 1, len(ids)) if ids[place] != self.image_token_id]
        last = len(texts) - 1
        own = tuple(slots[place] for place in after)
        counted = tuple(slots[place] == last and not self.is_idle(ids[place]) for place in after)
        if not any(counted):
            counted = tuple(slot == last for slot in own)
        if not any(counted):
            raise PromptError(f"No token of the question {question.strip()[:40]!r} follows the image in the template.")
        words = tuple(self._word(ids[place], spans[place]) for place in after)
        return Prompt(tuple(ids), image_at, images, tuple(ids[place] for place in after), words, counted, own)

    def is_idle(self, token_id: int) -> bool:
        """Whether a token never counts as a word: special tokens and pure white space."""
        if token_id in self.protected:
            return True
        if token_id not in self._idle:
            self._idle[token_id] = not str(self.tokenizer.decode([token_id])).strip()
        return self._idle[token_id]

    def render(self, question: str, history: Sequence[Turn] = (), images: int = 1) -> str:
        """The prompt as text, as one would pass it to the processor. Raises the same errors as a call."""
        texts = _texts(question, history)
        pieces = self._template(len(texts) // 2, images)
        return pieces[0] + "".join(text + piece for text, piece in zip(texts, pieces[1:], strict=True))

    def _template(self, turns: int, images: int) -> list[str]:
        """The literal text around 2 * turns + 1 user-written texts, rendered once for each chat template."""
        key = (str(self.processor.chat_template), turns, images)
        if key not in self._pieces:
            self._pieces[key] = self._rendered(turns, images)
        return self._pieces[key]

    def _rendered(self, turns: int, images: int) -> list[str]:
        marks = [f"\ue0f0{number}\ue0f1" for number in range(2 * turns + 1)]
        conversation = []
        for number, mark in enumerate(marks):
            content: list[dict[str, str]] = [{"type": "text", "text": mark}]
            if number == 0:
                content = [{"type": "image"}] * images + content
            conversation.append({"role": "assistant" if number % 2 else "user", "content": content})
        options: dict[str, Any] = {"add_generation_prompt": True}
        if not self.processor.chat_template:
            options["chat_template"] = _PLAIN_TEMPLATE.replace("<image>", self.image_token)
        try:
            rendered = self.processor.apply_chat_template(conversation, **options)
        except ImportError:
            raise
        except Exception as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise PromptError(f"The model's chat template cannot be followed ({first}); mend or remove it.") from error
        pieces = re.split("|".join(marks), rendered)
        found = re.findall("|".join(marks), rendered)
        if found != marks:
            raise PromptError("The chat template drops, repeats or reorders what users write; expected each text once.")
        return pieces

    def _tokenize(self, pieces: list[str], texts: list[str]) -> tuple[list[int], list[int | None], list[str | None]]:
        """Token ids; per token the number of its text (None: template) and, where known, its characters.

        The whole prompt at once, exactly as the stock processor does; piece by piece where that cannot tell texts from
        template, or where a text spells a special token.
        """
        bos = self.tokenizer.bos_token
        add_special = not (bos and pieces[0].startswith(bos))
        if not self.tokenizer.is_fast:
            return self._piecewise(pieces, texts, add_special)
        full = pieces[0]
        ranges = []
        for text, piece in zip(texts, pieces[1:], strict=True):
            ranges.append((len(full), len(full) + len(text)))
            full += text + piece
        encoded = self.tokenizer(full, add_special_tokens=add_special, return_offsets_mapping=True)
        ids = list(encoded["input_ids"])
        slots: list[int | None] = []
        spans: list[str | None] = []
        for start, end in encoded["offset_mapping"]:
            inside = [n for n, (left, right) in enumerate(ranges) if start < right and end > left and end > start]
            slots.append(inside[-1] if inside else None)
            spans.append(full[start:end])
        if any(slot is not None and one in self.protected for one, slot in zip(ids, slots, strict=True)):
            return self._piecewise(pieces, texts, add_special)
        return ids, slots, spans

    def _piecewise(
        self, pieces: list[str], texts: list[str], add_special: bool
    ) -> tuple[list[int], list[int | None], list[str | None]]:
        """Tokenize template and texts piece by piece, with texts cut so that none can spell a special token."""
        ids = list(self.tokenizer(pieces[0], add_special_tokens=False)["input_ids"])
        if add_special:
            empty = list(self.tokenizer("", add_special_tokens=True)["input_ids"])
            bos = self.tokenizer.bos_token_id
            ids = [bos, *ids] if bos in empty else ids
        slots: list[int | None] = [None] * len(ids)
        for number, (text, piece) in enumerate(zip(texts, pieces[1:], strict=True)):
            for part, slot in ((self._plain(text), number), (self._continued(piece), None)):
                ids += part
                slots += [slot] * len(part)
        return ids, slots, [None] * len(ids)

    def _plain(self, text: str) -> list[int]:
        """Tokenize `text` into ordinary tokens only."""
        cuts = {0, len(text)}
        for token in self.protected.values():
            cuts |= {match.start() + 1 for match in re.finditer(f"(?={re.escape(token)})", text)}
        edges = sorted(cuts)
        parts = [text[left:right] for left, right in pairwise(edges)]
        ids = [one for part in parts for one in self._continued(part)]
        if any(one in self.protected for one in ids):
            ids = [one for character in text for one in self._continued(character) if one not in self.protected]
        return ids

    def _continued(self, text: str) -> list[int]:
        """Tokens of text in the middle of a prompt, without the space that some tokenizers put before a first word."""
        if not text:
            return []
        lead = list(self.tokenizer("\n", add_special_tokens=False)["input_ids"])
        ids = list(self.tokenizer("\n" + text, add_special_tokens=False)["input_ids"])
        if lead and ids[: len(lead)] == lead:
            return ids[len(lead) :]
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _word(self, token_id: int, characters: str | None) -> str:
        word = str(self.tokenizer.decode([token_id]))
        if "\ufffd" in word or not word:
            word = characters or str(self.tokenizer.convert_ids_to_tokens(token_id))
        return word.strip() or ("↵" if "\n" in word else "␣")


def _texts(question: object, history: object) -> list[str]:
    """Questions and answers in order, checked, without white space around them.

    Raises PromptError unless the question has a visible character, and for a text that UTF-8 cannot encode; InputError
    unless `history` holds pairs of strings.
    """
    if isinstance(history, str) or not isinstance(history, Sequence):
        came = f"{history!r:.60}" if isinstance(history, str) else type(history).__name__
        raise InputError(f"history must be a list of (question, answer) pairs, empty where there are none; got {came}.")
    for turn in history:
        if not isinstance(turn, list | tuple) or [isinstance(text, str) for text in turn] != [True, True]:
            raise InputError(f"history must hold (question, answer) pairs of two texts each; got {turn!r:.60}.")
    if not isinstance(question, str) or not question.strip():
        raise PromptError(f"Expected a question of at least one visible character, got {question!r}.")
    texts: list[str] = [*(text for turn in history for text in turn), question]
    for number, text in enumerate(texts, 1):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            what = "The question" if number == len(texts) else "A turn of history"
            raise PromptError(
                f"{what} holds half a character, {text[error.start]!a} at index {error.start}, which no tokenizer "
                "reads; take it out."
            ) from None
    return [text.strip() for text in texts]
