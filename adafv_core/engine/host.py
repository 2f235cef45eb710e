"""A loaded model with what every job on it shares: one at a time, encoded images, prompts, answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from adafv_core.engine.answer import Times, make_answer
from adafv_core.engine.batch import PlacedImage, Row
from adafv_core.engine.clock import now_s
from adafv_core.engine.gate import gate_of
from adafv_core.engine.plan import Plan
from adafv_core.engine.score import score_tokens
from adafv_core.engine.streaming import FirstLogits
from adafv_core.images import VisualCache, read_picture
from adafv_core.loading.load import LoadedModel
from adafv_core.memory import memory_guard
from adafv_core.models.checks import check_images
from adafv_core.models.prompts import Prompt, Prompter, Turn
from adafv_core.types import Answer, Selection, TokenScores, VisualTokens

CACHE_BYTES = 1 << 30


class ModelHost:
    """Everything about answering that needs no pruning method.

    name, revision, device, dtype: what was loaded and where it runs. weights: a short key of the checkpoint's
    weights. model, processor, tokenizer: the stock objects. cache: encoded images. prompter: builds prompts from
    questions.
    """

    def __init__(self, loaded: LoadedModel, cache_bytes: int = CACHE_BYTES) -> None:
        self.adapter = loaded.adapter
        self.model = loaded.adapter.model
        self.processor = loaded.adapter.processor
        self.tokenizer = self.processor.tokenizer
        self.name = loaded.name
        self.revision = loaded.revision
        self.device = loaded.device
        self.dtype = loaded.dtype
        self.weights = loaded.weights
        self.cache = VisualCache(cache_bytes)
        self.prompter = Prompter(self.processor, self.adapter.image_token_id)
        self._busy = gate_of(self.model)

    def encode(self, image: object) -> VisualTokens:
        """Run the vision encoder and projector once on one image, or return what an earlier call found.

        image: a PIL image, the path of a picture file, an array of uint8, (height, width, 3), with opacity (height,
        width, 4) or gray (height, width), a gray one of uint16, or VisualTokens, returned as they are. What is
        transparent is laid on white. Raises ImageError, or OutOfMemoryError.
        """
        return self.encode_many([image])[0]

    def encode_many(self, images: Iterable[object]) -> list[VisualTokens]:
        """`encode` for several images; those not in the cache go through the encoder together.

        Raises ImageError, also for one image alone, or OutOfMemoryError.
        """
        several = check_images(images)
        with self._job():
            return self._encode(several)

    def score(
        self, visual_tokens: object, prompt: str, history: Sequence[Turn] = (), temperature: float = 100.0
    ) -> TokenScores:
        """Score N visual tokens for a question, sections 1 and 2 of the method.

        visual_tokens: from `encode`, or a picture, which is encoded first. prompt: the user's own words, without
        any template. history: earlier (question, answer) turns about the same image; their words are in `words`
        but do not count. Raises PromptError for a prompt that is empty or cannot be placed, ImageError for what is
        neither VisualTokens nor a picture, InputError for another wrong argument, or OutOfMemoryError.
        """
        tokenized = self.prompter(prompt, history)
        return self._score(self.encode(visual_tokens), tokenized, prompt, history, temperature)

    @contextmanager
    def _job(self, asked: Callable[[], bool] | None = None) -> Iterator[bool]:
        """Wait for the job before, then hold the model; False where `asked` for a stop came first."""
        while not self._busy.acquire(timeout=0.05):
            if asked is not None and asked():
                yield False
                return
        try:
            yield True
        finally:
            self._busy.release()

    @torch.inference_mode()
    def _encode(self, images: Sequence[object]) -> list[VisualTokens]:
        found: dict[int, VisualTokens] = {}
        missing: dict[str, tuple[Any, list[int]]] = {}
        for place, image in enumerate(images):
            if isinstance(image, VisualTokens):
                found[place] = image
                continue
            picture = read_picture(image)
            cached = self.cache.get(picture.key)
            if cached is not None:
                found[place] = cached
            else:
                missing.setdefault(picture.key, (picture.image, []))[1].append(place)
        if missing:
            pictures = [picture for picture, _ in missing.values()]
            with memory_guard():
                encoded = self.adapter.encode(
                    self.adapter.pixels(pictures), [picture.size for picture in pictures], list(missing)
                )
            for visual, (_, places) in zip(encoded, missing.values(), strict=True):
                self.cache.put(visual)
                found |= dict.fromkeys(places, visual)
        return [found[place] for place in range(len(images))]

    def _timed_encode(self, images: Sequence[object], times: Times) -> list[VisualTokens]:
        before = self.cache.misses
        visuals = self._encode(images)
        encoded_s = now_s(self.device)
        times.encode_s = encoded_s - times.start_s if self.cache.misses > before else 0.0
        times.encoded_s = encoded_s
        return visuals

    @torch.inference_mode()
    def _score(
        self,
        visual: VisualTokens,
        tokenized: Prompt,
        prompt: str,
        history: Sequence[Turn],
        temperature: float,
    ) -> TokenScores:
        text_tokens = self.adapter.embed(torch.tensor(tokenized.text_ids))
        return score_tokens(visual, text_tokens, tokenized.words, tokenized.counted, prompt, temperature, history)

    def _row(self, tokenized: Prompt, visual: VisualTokens, selection: Selection | None) -> Row:
        before, after = tokenized.ids[: tokenized.image_at], tokenized.text_ids
        placeholders = [self.adapter.image_token_id] * visual.stock_size
        ids = torch.tensor([*before, *placeholders, *after], device=self.adapter.device)
        return Row(ids, (PlacedImage(tokenized.image_at, visual, selection),))

    def _answer(
        self,
        plan: Plan,
        row: int,
        times: Times,
        first: FirstLogits,
        token_ids: Sequence[int],
        text: str,
        finished: bool,
    ) -> Answer:
        times.first_s = first.at_s
        image = plan.rows[row].images[0]
        return make_answer(
            self.adapter,
            image.visual,
            plan.selections(row)[0],
            times,
            text=text,
            token_ids=token_ids,
            n_newline=plan.n_newline(row),
            n_text=plan.rows[row].ids.numel() - image.visual.stock_size,
            finished=finished,
            first_logprobs=first.logprobs[row] if first.logprobs is not None else None,
            layer_tokens=plan.layer_tokens(row),
        )

    def _is_finished(self, ids: Sequence[int], max_new_tokens: int) -> bool:
        return len(ids) >= max_new_tokens or (bool(ids) and ids[-1] in self._end_ids)

    def _until_end(self, ids: list[int]) -> list[int]:
        """New tokens of one row of a batch: up to its end token, which is kept; the padding after it is
        not.
        """
        end = next((place for place, token in enumerate(ids) if token in self._end_ids), len(ids))
        return ids[: end + 1]

    @property
    def _pad_id(self) -> int:
        candidates = (self.tokenizer.pad_token_id, self.model.generation_config.pad_token_id, *self._end_ids)
        return int(next((one for one in candidates if one is not None), 0))

    @property
    def _end_ids(self) -> tuple[int, ...]:
        end = self.model.generation_config.eos_token_id
        return tuple(end) if isinstance(end, list) else () if end is None else (end,)
