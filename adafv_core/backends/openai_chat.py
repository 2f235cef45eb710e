"""OpenAI's chat format: an image chat in, an answer or a stream of its parts out. Pure values, no network."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from PIL import Image, UnidentifiedImageError

from adafv_core.engine.request import Request, request_of
from adafv_core.errors import ImageError, InputError
from adafv_core.images import MAX_PIXELS, to_rgb
from adafv_core.models.prompts import Turn

MAX_NEW_TOKENS = 64
MAX_IMAGE_BYTES = 20 * 1024**2
_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "ignore_eos",
)
"""Fields of a chat that a completion has under the same name."""
_OWN = ("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "adafv", "n")
_WITHOUT_EFFECT = ("user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier")
_ADAFV = frozenset(one.name for one in fields(Request) if one.init) - {"selection", "max_new_tokens", "share"}


@dataclass(frozen=True)
class ImageChat:
    """One question about one image, after earlier turns about it.

    request: how to prune, from the body's "adafv". sampling: fields for the completion. with_usage: whether a stream
    ends with the number of tokens.
    """

    image: Image.Image
    prompt: str
    history: tuple[Turn, ...]
    request: Request
    model: str | None
    sampling: Mapping[str, Any]
    stream: bool = False
    with_usage: bool = False


def read_chat(body: object, default: Request) -> ImageChat:
    """Read the body of a chat request. default: how to prune where "adafv" does not say it.

    Raises InputError, or an error of its kind, for anything this front does not carry out.
    """
    if not isinstance(body, dict):
        raise InputError(f"Expected a JSON object, as in OpenAI's chat API; got {type(body).__name__}.")
    wanted = {name: value for name, value in body.items() if value is not None}
    unknown = sorted(set(wanted) - {*_SAMPLING, *_OWN, *_WITHOUT_EFFECT})
    if unknown:
        raise InputError(f"{unknown[0]!r} is not supported here; leave it out.")
    if wanted.get("n", 1) != 1:
        raise InputError(f"One answer a request; got n = {wanted['n']!r}.")
    image, prompt, history = _read_messages(wanted.get("messages"))
    longest = wanted.get("max_completion_tokens", wanted.get("max_tokens", MAX_NEW_TOKENS))
    options = wanted.get("stream_options", {})
    return ImageChat(
        image,
        prompt,
        history,
        read_pruning(wanted.get("adafv"), default, longest),
        wanted.get("model"),
        {name: wanted[name] for name in _SAMPLING if name in wanted},
        bool(wanted.get("stream", False)),
        isinstance(options, dict) and bool(options.get("include_usage")),
    )


def read_pruning(given: object, default: Request, max_new_tokens: object) -> Request:
    """The pruning of one request: "adafv" with keep_ratio, budget or flops_ratio, method, options, newline, positions.

    Raises InputError for any other field, and what `Request` raises.
    """
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise InputError(f'"adafv" is an object such as {{"keep_ratio": 0.1}}; got {type(given).__name__}.')
    if unknown := sorted(set(given) - _ADAFV):
        raise InputError(f'"adafv" has no field {unknown[0]!r}; expected {", ".join(sorted(_ADAFV))}.')
    if not isinstance(given.get("options", {}), dict):
        raise InputError('The "options" of "adafv" are an object of the method\'s options.')
    whole: dict[str, Any] = {"newline": default.newline, "positions": default.positions}
    if given.get("method", default.method) == default.method:
        whole |= {"method": default.method, "options": default.options}
    ways = ("keep_ratio", "budget", "flops_ratio")
    if not any(name in given for name in ways):
        whole |= {name: getattr(default, name) for name in ways}
    return request_of(None, **{**whole, **given, "max_new_tokens": max_new_tokens})


def _read_messages(messages: object) -> tuple[Image.Image, str, tuple[Turn, ...]]:
    """The image of the first message, the last question, and the (question, answer) turns before it."""
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise InputError('"messages" is a list of objects with role and content; the last one is the question.')
    roles = [one.get("role") for one in messages]
    if "system" in roles or "developer" in roles:
        raise InputError("The model's template has no system message: put its text into the question.")
    if roles != ["assistant" if place % 2 else "user" for place in range(len(roles))] or roles[-1] != "user":
        raise InputError(f"Roles take turns, user first and last; got {', '.join(map(str, roles))}.")
    texts, images = [], []
    for place, message in enumerate(messages):
        text, urls = _read_content(message.get("content"))
        if urls and place:
            raise InputError("The image belongs to the first message: all turns are about it.")
        texts.append(text)
        images += urls
    if len(images) != 1:
        raise InputError(f"Expected one image_url part in the first message, got {len(images)}.")
    pairs = zip(texts[0:-1:2], texts[1:-1:2], strict=True)
    return read_image_url(images[0]), texts[-1], tuple(pairs)


def _read_content(content: object) -> tuple[str, list[object]]:
    """The text of a message, and its image URLs."""
    if isinstance(content, str):
        return content, []
    if not isinstance(content, list):
        raise InputError(f"A message's content is a text or a list of parts; got {type(content).__name__}.")
    texts, urls = [], []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image_url":
            url = part.get("image_url")
            urls.append(url.get("url") if isinstance(url, dict) else url)
        else:
            raise InputError(f"A part of a message is a text or an image_url; got {kind!r}.")
    return "\n".join(texts), urls


def read_image_url(url: object) -> Image.Image:
    """The picture in a data URL. Addresses are never fetched. Raises ImageError."""
    if not isinstance(url, str) or not url.startswith("data:image/") or ";base64," not in url[:100]:
        raise ImageError('Send the picture itself, as "data:image/png;base64,…": addresses are not fetched.')
    encoded = url.partition(";base64,")[2]
    if len(encoded) * 3 // 4 > MAX_IMAGE_BYTES:
        raise ImageError(f"The picture is larger than {MAX_IMAGE_BYTES:,} bytes; make it smaller.")
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ImageError(f"The picture has {opened.width} × {opened.height} pixels, above {MAX_PIXELS:,}.")
            return to_rgb(opened)
    except binascii.Error:
        raise ImageError("The picture's data URL is not valid base64.") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ImageError("The picture cannot be read; expected JPEG, PNG or WebP.") from None


def chat_of(completion: Mapping[str, Any], pruning: Mapping[str, object]) -> dict[str, Any]:
    """An answer in chat format from one in completion format. pruning: what was kept, as "adafv"."""
    choices = [
        {
            "index": one["index"],
            "message": {"role": "assistant", "content": one["text"].strip()},
            "finish_reason": one.get("finish_reason"),
        }
        for one in completion["choices"]
    ]
    return {
        **_head(completion, "chat.completion"),
        "choices": choices,
        "usage": completion.get("usage"),
        "adafv": pruning,
    }


class ChatChunks:
    """Turns the data lines of a streamed completion into those of a streamed chat, without leading white space."""

    def __init__(self, pruning: Mapping[str, object]) -> None:
        self._pruning: Mapping[str, object] | None = pruning
        self._seen_text = False

    def convert(self, line: str) -> str | None:
        """One line of the upstream stream; None for one that carries nothing (blank, or a comment)."""
        name, _, data = line.partition(":")
        data = data.strip()
        if name != "data" or not data:
            return None
        if data == "[DONE]":
            return "data: [DONE]\n\n"
        chunk = json.loads(data)
        if "choices" not in chunk:  # an error in mid-stream: passed on
            return f"data: {data}\n\n"
        whole = {**_head(chunk, "chat.completion.chunk"), "choices": [self._choice(one) for one in chunk["choices"]]}
        if chunk.get("usage") is not None:
            whole["usage"] = chunk["usage"]
        if self._pruning is not None:
            whole["adafv"], self._pruning = self._pruning, None
        return f"data: {json.dumps(whole, ensure_ascii=False)}\n\n"

    def _choice(self, one: Mapping[str, Any]) -> dict[str, Any]:
        text = one.get("text") or ""
        delta: dict[str, str] = {}
        if not self._seen_text:
            text = text.lstrip()
        if self._pruning is not None:
            delta["role"] = "assistant"
        if text:
            self._seen_text = True
            delta["content"] = text
        return {"index": one["index"], "delta": delta, "finish_reason": one.get("finish_reason")}


def error_body(sentence: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    return {"error": {"message": sentence, "type": kind, "param": None, "code": None}}


def _head(completion: Mapping[str, Any], kind: str) -> dict[str, Any]:
    number = str(completion.get("id", "")).removeprefix("cmpl-")
    return {
        "id": f"chatcmpl-{number}",
        "object": kind,
        "created": completion.get("created", 0),
        "model": completion.get("model", ""),
    }
