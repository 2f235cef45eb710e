"""Encode once → score → select → generate: the one object that knows both methods and models.

    engine = load("pocket")
    visual = engine.encode(image)                         # once per image, cached by content
    scores = engine.score(visual, "What color is the ring?")
    selection = engine.select(scores, keep_ratio=0.1)
    answer = engine.answer(image, "What color is the ring?", keep_ratio=0.1)
    for snapshot in engine.stream(image, "What color is the ring?"):
        print(snapshot.text)
    answers = engine.answer_batch([(image, "What color is the ring?"), (other, "How many stars?")])
    both = engine.answer([image, other], "Which picture has more stars?", keep_ratio=0.1, share="all")
    talk = engine.conversation(image)
    talk.ask("What is in the picture?"), talk.ask("And what color is it?")

A model runs one call at a time; other callers wait, first come, first served. A running `stream` ends within a token
of its `stop` signal or of closing the iterator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import LogitsProcessorList, StoppingCriteriaList

from adafv_core.engine.backend import Backend
from adafv_core.engine.batch import planned, row_from_template
from adafv_core.engine.conversation import Conversation
from adafv_core.engine.drafts import Draft, ForceDraft, check_vocabulary, draft_logprobs
from adafv_core.engine.gate import Gate, Stop, StopSignal, gate_of, stop_signal
from adafv_core.engine.question import Question, question_of
from adafv_core.engine.request import Request, acting_method, check_fits
from adafv_core.engine.several_images import check_several, select_images
from adafv_core.engine.streaming import (
    FirstLogits,
    StopWhen,
    TextStream,
    Times,
    TokenStreamer,
    from_worker,
    make_answer,
    now_s,
    refuse_not_finite,
)
from adafv_core.errors import InputError, StoppedError
from adafv_core.images import read_picture
from adafv_core.loading.download import Report
from adafv_core.loading.load import LoadedModel, load_model
from adafv_core.memory import VisualCache, memory_guard
from adafv_core.methods.base import check_scored
from adafv_core.models.processors import kept_pixels
from adafv_core.models.prompts import Prompter, Turn
from adafv_core.scoring import score_tokens, unscored
from adafv_core.types import BESIDE_OTHERS, Answer, Row, Selection, TokenScores, VisualTokens

CACHE_BYTES = 1 << 30

Emit = Callable[[Answer], None]


def load(
    model: str | Path = "pocket",
    device: str | torch.device | None = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    attn_implementation: str | None = None,
    cache_bytes: int = CACHE_BYTES,
    progress: Report | None = None,
    gate: Gate | None = None,
    quantization: str | None = None,
) -> Engine:
    """Load a model and return an engine over it.

    model: "pocket" (the bundled model), a hub id, or a folder with config.json, safetensors and processor files.
    device: "auto" or None takes CUDA, else MPS, else the CPU. dtype: "auto", "float32", "float16", "bfloat16".
    revision: a branch, tag or commit of a hub id; by default the pinned one of a known model, else the newest.
    attn_implementation: as in transformers ("sdpa", "eager", "flash_attention_2", …), which chooses if it is None.
    cache_bytes: how much device memory encoded images may occupy. progress: called with a DownloadProgress
    (done_bytes, total_bytes) while files are downloaded, from another thread. gate: the gate of another engine, for
    models that have to take turns on one device. quantization: "8bit" or "4bit" for the linear layers of the LLM (needs
    bitsandbytes and accelerate); vision encoder, projector and embeddings stay, so that scores are exact. Raises
    ModelError of some kind (ModelNotFoundError, UnsupportedModelError, OutOfMemoryError) or InputError, each saying
    what would work.
    """
    return Engine(
        load_model(model, device, dtype, revision, attn_implementation, progress, quantization), cache_bytes, gate
    )


class Engine(Backend):
    """A `Backend` in this process: a loaded model with everything needed to ask it about images.

    model, processor, tokenizer: the stock objects. cache: encoded images. prompter: builds prompts from
    questions. gate: lets one call at a time onto the model; shared by all engines over the same model object.
    """

    def __init__(self, loaded: LoadedModel, cache_bytes: int = CACHE_BYTES, gate: Gate | None = None) -> None:
        self.adapter = loaded.adapter
        self.model = loaded.adapter.model
        self.processor = loaded.adapter.processor
        self.tokenizer = self.processor.tokenizer
        self.name = loaded.name
        self.model_class = type(self.model).__name__
        self.revision = loaded.revision
        self.device = loaded.device
        self.dtype = loaded.dtype
        self.weights = loaded.weights
        self.kept_pixels = kept_pixels(self.processor.image_processor)
        self.cache = VisualCache(cache_bytes)
        self.prompter = Prompter(self.processor, self.adapter.image_token_id)
        self.gate = gate_of(self.model, gate)

    def conversation(self, image: object) -> Conversation:
        """A conversation about an image or a list of them, encoded now. Raises ImageError, or OutOfMemoryError."""
        return Conversation(self, image)

    def clear_cache(self) -> None:
        self.cache.clear()

    def _encode_many(self, images: list[object], together: bool, stop: Stop) -> list[VisualTokens]:
        with self._turn(stop):
            encoded, _ = self._encode([images] if together else [[image] for image in images])
            return [visual for prompt in encoded for visual in prompt]

    def _score_many(
        self, images: list[object], prompt: str, history: Sequence[Turn], temperature: float, stop: Stop
    ) -> list[TokenScores]:
        tokenized = self.prompter(prompt, history, len(images))
        with self._turn(stop):
            (visuals,), encode_s = self._encode([images])
            question = Question(tuple(visuals), prompt, tuple(history), tokenized)
            first, *others = [self._score(one, question, temperature) for one in visuals]
            return [replace(first, encode_s=encode_s), *others]

    def _select_many(self, scores: list[TokenScores], request: Request, stop: Stop) -> list[Selection]:
        for one in scores:
            check_scored(one)
            self._check_own(one.visual)
        check_several(request, len(scores))
        if not request.chooser.inside_llm and request.flops_ratio is None:
            budgets = request.budgets_by_size([one.size for one in scores])
            return list(select_images(scores, request.share, budgets, request.select))
        question = question_of(self.prompter, scores, None)
        row = row_from_template(self.adapter, question.tokenized.ids, [(one.visual, None) for one in scores])
        pad_id, _ = self._special_ids()
        if not request.chooser.inside_llm:
            return list(select_images(scores, request.share, self._budgets(row, request), request.select))
        budgets_of = partial(self._budgets, request=request)
        plans = planned(self.adapter, [row], request, request.chooser, budgets_of, pad_token_id=pad_id)
        head = self.model.get_output_embeddings()
        with self._turn(stop), plans as plan, head.register_forward_hook(FirstLogits()):
            self.model.generate(**plan.arguments, max_new_tokens=1, do_sample=False, pad_token_id=pad_id)
            return list(plan.kept(0)[0])

    def _stream(
        self, image: object, prompt: str | None, request: Request, history: Sequence[Turn], stop: Stop
    ) -> Iterator[Answer]:
        question = question_of(self.prompter, image, prompt, history, request.selections)
        stop_signal(stop)
        closed = StopSignal()

        def work(emit: Emit) -> None:
            try:
                emit(self._run([question], request, closed, stop, emit=emit)[0])
            except StoppedError:
                return

        yield from from_worker(work, closed)

    def _answer(
        self, image: object, prompt: str | None, request: Request, history: Sequence[Turn], stop: Stop
    ) -> Answer:
        question = question_of(self.prompter, image, prompt, history, request.selections)
        return self._run([question], request, stop)[0]

    def _answer_batch(
        self,
        questions: list[tuple[object, str]],
        request: Request,
        batch_size: int,
        selections: list[tuple[Selection, ...]],
        drafts: list[Draft | None],
        stop: Stop,
    ) -> list[Answer]:
        check_vocabulary(drafts, int(self.adapter.text_config.vocab_size))
        stopped = stop_signal(stop)
        answers: list[Answer] = []
        for start in range(0, len(questions), batch_size):
            chunk = slice(start, start + batch_size)
            pairs = zip(questions[chunk], selections[chunk], strict=True)
            batch = [question_of(self.prompter, image, prompt, (), made) for (image, prompt), made in pairs]
            try:
                answers += self._run_with_drafts(batch, request, drafts[chunk], stop)
            except StoppedError:
                break
            if stopped():
                break
        return answers

    def _run_with_drafts(
        self, batch: list[Question], request: Request, drafts: Sequence[Draft | None], stop: Stop
    ) -> list[Answer]:
        """One batch of answers, each with the log-probability of its draft if it has one."""
        answers = self._run(batch, request, stop, drafts=drafts)
        others = [
            row
            for row, (draft, answer) in enumerate(zip(drafts, answers, strict=True))
            if draft is not None and answer.draft_logprob is None
        ]
        if others and not stop_signal(stop)():
            chosen = [replace(batch[row], selections=answers[row].selections) for row in others]
            given = [drafts[row] for row in others]
            longest = replace(request, max_new_tokens=max(len(draft or ()) for draft in given))
            for row, forced in zip(others, self._run(chosen, longest, stop, drafts=given, force=True), strict=True):
                answers[row] = replace(answers[row], draft_logprob=forced.draft_logprob)
        return answers

    @contextmanager
    def _turn(self, *stops: Stop) -> Iterator[None]:
        """Hold the model. Results are ordinary tensors without gradients, also under a caller's inference mode."""
        with self.gate.turn(*stops), memory_guard(), torch.inference_mode(False), torch.no_grad():
            yield

    def _run(
        self,
        questions: Sequence[Question],
        request: Request,
        *stops: Stop,
        emit: Emit | None = None,
        drafts: Sequence[Draft | None] = (),
        force: bool = False,
    ) -> list[Answer]:
        """Encode, select and generate for one batch.

        emit: is given a snapshot per new token of a batch of one. drafts: see `answer_batch`. force: whether every row
        has to answer its draft.
        """
        given = [one.selections for one in questions]
        method, (pad_id, ends) = acting_method(request, given), self._special_ids()
        with self._turn(*stops):
            times = Times(start_at_s=now_s(self.device))
            visuals, times.encode_s = self._encode([one.images for one in questions])
            encoded_at_s = now_s(self.device)
            rows = [self._selected_row(one, its, request) for one, its in zip(questions, visuals, strict=True)]
            times.generate_at_s = now_s(self.device)
            times.select_s = times.generate_at_s - encoded_at_s
            for scores in (one for question in questions for one in question.scores):
                times.add_earlier(scores.encode_s, scores.score_s if request.chooser.reads_t2i else 0.0)
            first = FirstLogits()
            budgets_of = partial(self._budgets, request=request)
            plans = planned(self.adapter, rows, request, method, budgets_of, pad_token_id=pad_id, given=given)
            forced = LogitsProcessorList([ForceDraft([draft or () for draft in drafts])] if force else [])
            head = self.model.get_output_embeddings()
            with plans as plan, head.register_forward_hook(first), draft_logprobs(self.model, drafts) as watched:
                text = TextStream(self.tokenizer)

                def on_token(token_id: int) -> None:
                    times.last_at_s = now_s(self.device)
                    shown = text.add(token_id)
                    if emit is not None:
                        emit(make_answer(plan, 0, times, first, text.ids, shown, finished=False))

                sequences = self.model.generate(
                    **plan.arguments,
                    do_sample=False,
                    num_beams=1,
                    max_new_tokens=request.max_new_tokens,
                    pad_token_id=pad_id,
                    logits_processor=forced,
                    stopping_criteria=StoppingCriteriaList(
                        [StopWhen(stop_signal(*stops))] if any(one is not None for one in stops) else []
                    ),
                    streamer=TokenStreamer(on_token) if emit is not None else None,
                )
                times.last_at_s = times.last_at_s or now_s(self.device)
                first.check()
                answers = []
                for row, new in enumerate(sequences[:, plan.length :].tolist()):
                    # An end token belongs to the answer; what follows it in a batch is padding.
                    ids = new[: next((at for at, one in enumerate(new) if one in ends), len(new)) + 1]
                    whole = str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()
                    finished = len(ids) >= request.max_new_tokens or (bool(ids) and ids[-1] in ends)
                    answer = make_answer(plan, row, times, first, ids, whole, finished)
                    if drafts:
                        draft = drafts[row]
                        same = ids if not force or draft is None else new[: len(draft)]
                        answer = replace(answer, draft_logprob=watched.of(row, same))
                    answers.append(answer)
                return answers

    def _encode(self, prompts: Sequence[Sequence[object]]) -> tuple[list[list[VisualTokens]], float]:
        """The encoded images of each prompt, and the seconds that took: 0 if all of them were encoded before."""
        began_s = now_s(self.device)
        rows: list[list[VisualTokens | str]] = []
        missing: dict[bool, dict[str, Any]] = {False: {}, True: {}}
        for images in prompts:
            together = self.adapter.TILED_ALONE and len(images) > 1
            rows.append([])
            for image in images:
                if isinstance(image, VisualTokens):
                    self._check_own(image)
                    self._check_tiling(image, together)
                    rows[-1].append(image)
                    continue
                picture = read_picture(image)
                key = picture.key + (BESIDE_OTHERS if together else "")
                cached = self.cache.get(key)
                if cached is None:
                    missing[together][key] = picture.image
                rows[-1].append(key if cached is None else cached)
        new: dict[str, VisualTokens] = {}
        for together, pictures in missing.items():
            shown = list(pictures.values())
            if together and len(shown) == 1:
                shown *= 2  # a list of one would be an image alone
            if shown:
                encoded = self.adapter.encode(self.adapter.pixels(shown, together), [one.size for one in shown])
                for tensor in (kind for one in encoded for kind in (one.features, one.saliency) if kind is not None):
                    refuse_not_finite(torch.isfinite(tensor).all(), "image features")
                for key, unnamed in zip(pictures, encoded, strict=False):
                    new[key] = replace(unnamed, image_key=key, model_key=self.weights)
                    self.cache.put(new[key])
        encode_s = now_s(self.device) - began_s if new else 0.0
        return [[new[one] if isinstance(one, str) else one for one in row] for row in rows], encode_s

    def _score(self, visual: VisualTokens, question: Question, temperature: float = 100.0) -> TokenScores:
        began_s = now_s(self.device)
        tokenized = question.tokenized
        text_tokens = self.adapter.embed(torch.tensor(tokenized.text_ids))
        words, counted = tokenized.words, tokenized.counted
        scores = score_tokens(visual, text_tokens, words, counted, question.prompt, temperature, question.history)
        return replace(scores, tokenized=tokenized, score_s=now_s(self.device) - began_s)

    def _selected_row(self, question: Question, visuals: Sequence[VisualTokens], request: Request) -> Row:
        """The prompt with its images; with their selections too, unless those are made inside the LLM."""
        check_several(request, len(visuals))
        given: Sequence[Selection | None] = question.selections or [None] * len(visuals)
        for selection, visual in zip(question.selections, visuals, strict=False):
            check_fits(selection, visual)
        row = row_from_template(self.adapter, question.tokenized.ids, list(zip(visuals, given, strict=True)))
        if question.selections:
            return row
        budgets = self._budgets(row, request)
        if request.chooser.inside_llm:
            return row
        scores = question.scores
        if not scores:
            read = request.chooser.reads_t2i
            scores = tuple(self._score(one, question) if read else unscored(one) for one in visuals)
        return row.selected(select_images(scores, request.share, budgets, request.select))

    def _budgets(self, row: Row, request: Request) -> tuple[int, ...]:
        return request.budgets([image.visual for image in row.images], row.n_text, self.adapter.llm_shape)

    def _check_own(self, visual: VisualTokens) -> None:
        """Raises InputError for visual tokens that another model encoded: this LLM cannot read them."""
        if visual.model_key not in ("", self.weights):
            raise InputError(
                f"These visual tokens were encoded by another model than {self.name}; encode the image with this one."
            )

    def _check_tiling(self, visual: VisualTokens, together: bool) -> None:
        """Raises InputError for visual tokens in tiles that a prompt with as many images does not have."""
        if self.adapter.TILED_ALONE and visual.image_key and visual.image_key.endswith(BESIDE_OTHERS) != together:
            raise InputError(
                "This model cuts an image into tiles only where it is the only one of its prompt: encode the images of "
                "one prompt by `encode_many(images, together=True)`, an image alone by `encode`."
            )

    def _special_ids(self) -> tuple[int, tuple[int, ...]]:
        """The id that pads prompts, and those that end an answer."""
        config = self.model.generation_config
        end = config.eos_token_id
        ends = tuple(end) if isinstance(end, list) else () if end is None else (end,)
        candidates = (self.tokenizer.pad_token_id, config.pad_token_id, *ends)
        return int(next((one for one in candidates if one is not None), 0)), ends
