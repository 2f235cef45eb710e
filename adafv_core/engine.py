"""Encode once → score → select → generate: the one object that knows both methods and models.

    engine = load("pocket")
    visual = engine.encode(image)                         # once an image, cached by content
    scores = engine.score(visual, "What colour is the ring?")
    selection = engine.select(scores, keep_ratio=0.1)
    answer = engine.answer(image, "What colour is the ring?", keep_ratio=0.1)
    for snapshot in engine.stream(image, "What colour is the ring?"):
        print(snapshot.text)

One engine runs one job at a time; a second caller waits. A running `stream` is ended within a token by its `stop`
signal or by closing the iterator.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from adafv_core.checks import budget_from_keep_ratio, check_budget
from adafv_core.errors import BudgetError, InputError, ScoreError
from adafv_core.methods import get_method
from adafv_core.models.answering import Times, make_answer
from adafv_core.models.clock import now_s
from adafv_core.models.generation import (
    Stop,
    TextBuilder,
    first_logits,
    generate_tokens,
    memory_guard,
    stop_signal,
)
from adafv_core.models.inputs import PlacedImage, Row, build_batch
from adafv_core.models.loading import LoadedModel, load_model
from adafv_core.models.pictures import VisualCache, read_picture
from adafv_core.models.prompts import Prompt, Prompter, Turn
from adafv_core.scoring import most_attended, word_attention
from adafv_core.types import Answer, Selection, TokenScores, VisualTokens

DEFAULT_KEEP_RATIO = 0.1
CACHE_BYTES = 1 << 30


def load(
    model: str | Path = "pocket",
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    attn_implementation: str | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> Engine:
    """Load a model and return an engine over it.

    model: "pocket" (the bundled model), a hub id, or a folder with config.json, safetensors and processor files.
    device: "auto" takes CUDA, else MPS, else the CPU. dtype: "auto", "float32", "float16", "bfloat16".
    cache_bytes: how much device memory encoded images may hold on to. Raises ModelNotFoundError,
    UnsupportedModelError or InputError, each saying what would work.
    """
    return Engine(load_model(model, device, dtype, revision, attn_implementation), cache_bytes)


class Engine:
    """A loaded model with everything needed to ask it about images.

    name, revision, device, dtype: what was loaded and where it runs.
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
        self.cache = VisualCache(cache_bytes)
        self._prompter = Prompter(self.processor, self.adapter.image_token_id)
        self._busy = threading.Lock()

    def encode(self, image: object) -> VisualTokens:
        """Run the vision encoder and projector once on one image, or return what an earlier call found.

        image: a PIL image, an (height, width, 3) uint8 array, or VisualTokens, returned as they are. Raises ImageError.
        """
        return self.encode_many([image])[0]

    def encode_many(self, images: Sequence[object]) -> list[VisualTokens]:
        """`encode` for several images; those not in the cache go through the encoder together."""
        with self._job():
            return self._encode(images)

    def score(
        self, visual: VisualTokens, prompt: str, history: Sequence[Turn] = (), temperature: float = 100.0
    ) -> TokenScores:
        """Score N visual tokens for a question, sections 1 and 2 of the method.

        prompt: the user's own words, without any template. history: earlier (question, answer) turns about the same
        image; their words are in `words` but do not count. Raises PromptError for an empty prompt.
        """
        return self._score(visual, self._prompter(prompt, history), prompt, temperature)

    def select(
        self,
        scores: TokenScores,
        keep_ratio: float | None = None,
        budget: int | None = None,
        method: str = "adafv",
        **options: Any,
    ) -> Selection:
        """Choose which visual tokens stay.

        keep_ratio: fraction kept, above 0 and at most 1, or budget: their number, 1..N; not both, and 0.1 where
        neither is given. options: those of the method. Raises BudgetError, UnknownNameError, ScoreError.
        """
        return get_method(method, **options).select(scores, resolve_budget(scores.size, keep_ratio, budget))

    def stream(
        self,
        image: object,
        prompt: str,
        keep_ratio: float | None = None,
        budget: int | None = None,
        method: str = "adafv",
        max_new_tokens: int = 64,
        stop: Stop = None,
        history: Sequence[Turn] = (),
        selection: Selection | None = None,
        newline: str = "drop",
        positions: str | None = None,
        **options: Any,
    ) -> Iterator[Answer]:
        """Answer a question about an image, yielding a snapshot after every new token and a last one at the end.

        image: a picture or its VisualTokens. keep_ratio, budget, method, options: as in `select`; selection: one made
        before, used instead. stop: a callable or threading.Event looked at after each token. history: earlier
        (question, answer) turns; tokens are selected anew from the full set for this question. newline: "drop" or
        "rows", for any-resolution models. positions: "contiguous" or "original" position ids (default: the method's).
        Only the last snapshot has `finished` true, and not even that one where the run was stopped. Input is checked
        when the first snapshot is asked for. Raises InputError of some kind, or OutOfMemoryError.
        """
        asked = stop_signal(stop)
        check_length(max_new_tokens)
        with self._job(), memory_guard():
            times = Times(start_s=now_s(self.device))
            prepared = self._prepare(image, prompt, keep_ratio, budget, method, history, selection, options, times)
            visual, tokenised, chosen = prepared
            row = self._row(tokenised, visual, chosen)
            batch = build_batch(
                [row], pad_token_id=self._pad_id, newline=newline, positions=positions or wanted_positions(chosen)
            )
            n_text = row.ids.numel() - visual.stock_features.shape[0]
            builder = TextBuilder(self.tokenizer)
            finished = False
            times.generate_s = now_s(self.device)
            tokens = generate_tokens(
                self.model,
                batch.arguments,
                max_new_tokens=max_new_tokens,
                asked=asked,
                pad_token_id=self._pad_id,
            )
            with first_logits(self.model) as first:

                def snapshot(text: str) -> Answer:
                    return make_answer(
                        self.adapter,
                        visual,
                        chosen,
                        times,
                        text=text,
                        token_ids=builder.ids,
                        n_newline=batch.n_newline[0],
                        n_text=n_text,
                        finished=finished,
                        first_logprobs=first.logprobs[0] if first.logprobs is not None else None,
                    )

                try:
                    for token in tokens:
                        times.last_s = now_s(self.device)
                        times.first_s = times.first_s or times.last_s
                        yield snapshot(builder.add(token))
                finally:
                    tokens.close()
                ended = bool(builder.ids) and builder.ids[-1] in self._end_ids
                finished = ended or len(builder.ids) >= max_new_tokens
                yield snapshot(builder.finish())

    def answer(
        self,
        image: object,
        prompt: str,
        keep_ratio: float | None = None,
        budget: int | None = None,
        method: str = "adafv",
        max_new_tokens: int = 64,
        stop: Stop = None,
        history: Sequence[Turn] = (),
        selection: Selection | None = None,
        newline: str = "drop",
        positions: str | None = None,
        **options: Any,
    ) -> Answer:
        """The last snapshot of `stream`: greedy answer, what was kept, and what it cost. Keeps a tenth by default."""
        last: Answer | None = None
        for last in self.stream(
            image,
            prompt,
            keep_ratio,
            budget,
            method,
            max_new_tokens,
            stop,
            history,
            selection,
            newline,
            positions,
            **options,
        ):
            pass
        assert last is not None
        return last

    @contextmanager
    def _job(self) -> Iterator[None]:
        """One job at a time, without gradients."""
        with self._busy:
            yield

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

    @torch.inference_mode()
    def _score(self, visual: VisualTokens, tokenised: Prompt, prompt: str, temperature: float) -> TokenScores:
        if not isinstance(visual, VisualTokens):
            raise ScoreError(f"Expected VisualTokens from `encode`, got {type(visual).__name__}.")
        text_tokens = self.adapter.embed(torch.tensor(tokenised.text_ids))
        return score_tokens(visual, text_tokens, tokenised.words, tokenised.counted, prompt, temperature)

    def _prepare(
        self,
        image: object,
        prompt: str,
        keep_ratio: float | None,
        budget: int | None,
        method: str,
        history: Sequence[Turn],
        selection: Selection | None,
        options: dict[str, Any],
        times: Times,
    ) -> tuple[VisualTokens, Prompt, Selection]:
        tokenised = self._prompter(prompt, history)
        chooser = get_method(method, **options)
        started = now_s(self.device)
        known = isinstance(image, VisualTokens) or self.cache.get(read_picture(image).key) is not None
        visual = self._encode([image])[0]
        encoded = now_s(self.device)
        if selection is None:
            scores = self._score(visual, tokenised, prompt, 100.0)
            with torch.inference_mode():
                selection = chooser.select(scores, resolve_budget(visual.size, keep_ratio, budget))
        elif selection.kept.shape[0] != visual.size:
            raise InputError(
                f"The selection is over {selection.kept.shape[0]} tokens, the image has {visual.size}; "
                "select anew for this image."
            )
        times.encode_s = 0.0 if known else encoded - started
        times.select_s = now_s(self.device) - encoded
        return visual, tokenised, selection

    def _row(self, tokenised: Prompt, visual: VisualTokens, selection: Selection) -> Row:
        before, after = tokenised.ids[: tokenised.image_at], tokenised.text_ids
        placeholders = [self.adapter.image_token_id] * visual.stock_features.shape[0]
        ids = torch.tensor([*before, *placeholders, *after], device=self.adapter.device)
        return Row(ids, (PlacedImage(tokenised.image_at, visual, selection),))

    @property
    def _pad_id(self) -> int:
        candidates = (self.tokenizer.pad_token_id, self.model.generation_config.pad_token_id, *self._end_ids)
        return int(next((one for one in candidates if one is not None), 0))

    @property
    def _end_ids(self) -> tuple[int, ...]:
        end = self.model.generation_config.eos_token_id
        return tuple(end) if isinstance(end, list) else () if end is None else (end,)


def score_tokens(
    visual: VisualTokens,
    text_tokens: torch.Tensor,
    words: Sequence[str],
    counted: Sequence[bool],
    prompt: str,
    temperature: float = 100.0,
) -> TokenScores:
    """T2I attention and saliency of one image for text tokens (T, D), of which the counted ones make t2i."""
    mask = torch.tensor(list(counted), dtype=torch.bool, device=visual.features.device)
    word_t2i = word_attention(text_tokens.to(visual.features.device), visual.features, temperature)
    return TokenScores(
        t2i=most_attended(word_t2i, mask),
        saliency=visual.saliency,
        words=tuple(words),
        word_t2i=word_t2i,
        counted=mask,
        text_tokens=text_tokens,
        visual=visual,
        prompt=prompt,
        temperature=temperature,
    )


def resolve_budget(size: int, keep_ratio: float | None, budget: int | None) -> int:
    """K from whichever of the two was given (a tenth, if neither). Raises BudgetError for both or out of range."""
    if keep_ratio is not None and budget is not None:
        raise BudgetError(f"Give keep_ratio or budget, not both; got {keep_ratio!r} and {budget!r}.")
    if budget is not None:
        return check_budget(budget, size)
    return budget_from_keep_ratio(DEFAULT_KEEP_RATIO if keep_ratio is None else keep_ratio, size)


def wanted_positions(selection: Selection) -> str:
    """The position ids the method asked for."""
    return str(selection.options.get("positions", "contiguous"))


def check_length(max_new_tokens: int) -> None:
    """InputError unless it is a whole number of at least 1."""
    if isinstance(max_new_tokens, bool) or not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise InputError(f"max_new_tokens must be a whole number of at least 1; got {max_new_tokens!r}.")
