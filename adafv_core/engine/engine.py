"""Encode once → score → select → generate: the one object that knows both methods and models.

    engine = load("pocket")
    visual = engine.encode(image)                         # once per image, cached by content
    scores = engine.score(visual, "What color is the ring?")
    selection = engine.select(scores, keep_ratio=0.1)
    answer = engine.answer(image, "What color is the ring?", keep_ratio=0.1)
    for snapshot in engine.stream(image, "What color is the ring?"):
        print(snapshot.text)
    answers = engine.answer_batch([(image, "What color is the ring?"), (other, "How many stars?")])
    talk = engine.conversation(image)
    talk.ask("What is in the picture?"), talk.ask("And what color is it?")

A model runs one call at a time; other callers wait, first come, first served. A running `stream` ends within a token
of its `stop` signal or of closing the iterator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import StoppingCriteriaList

from adafv_core.checks import whole
from adafv_core.engine.batch import planned, row_from_template
from adafv_core.engine.conversation import Conversation
from adafv_core.engine.gate import Gate, Stop, StopSignal, gate_of, stop_signal
from adafv_core.engine.request import (
    Request,
    acting_method,
    check_fits,
    check_images,
    check_questions,
    check_selections,
    request_of,
)
from adafv_core.engine.streaming import (
    CostShapes,
    StopWhen,
    TextStream,
    Times,
    TokenStreamer,
    first_logits,
    from_worker,
    make_answer,
    now_s,
)
from adafv_core.errors import InputError, StoppedError
from adafv_core.images import read_picture
from adafv_core.loading.download import Report
from adafv_core.loading.load import LoadedModel, load_model
from adafv_core.memory import VisualCache, memory_guard
from adafv_core.methods.base import check_scored
from adafv_core.models.prompts import Prompter, Turn
from adafv_core.scoring import score_tokens, unscored
from adafv_core.types import Answer, Prompt, Row, Selection, TokenScores, VisualTokens

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
) -> Engine:
    """Load a model and return an engine over it.

    model: "pocket" (the bundled model), a hub id, or a folder with config.json, safetensors and processor files.
    device: "auto" or None takes CUDA, else MPS, else the CPU. dtype: "auto", "float32", "float16", "bfloat16".
    revision: a branch, tag or commit of a hub id; by default the pinned one of a known model, else the newest.
    attn_implementation: as in transformers ("sdpa", "eager", "flash_attention_2", …), which chooses if it is None.
    cache_bytes: how much device memory encoded images may occupy. progress: called with a DownloadProgress
    (done_bytes, total_bytes) while files are downloaded, from another thread. gate: the gate of another engine, for
    models that have to take turns on one device. Raises ModelError of some kind (ModelNotFoundError,
    UnsupportedModelError, OutOfMemoryError) or InputError, each saying what would work.
    """
    return Engine(load_model(model, device, dtype, revision, attn_implementation, progress), cache_bytes, gate)


@dataclass(frozen=True)
class _Question:
    """One question of a run. image: a picture or VisualTokens; tokenized: `prompt` and `history` as token ids."""

    image: object
    prompt: str
    history: Sequence[Turn]
    tokenized: Prompt
    scores: TokenScores | None = None
    selection: Selection | None = None


class Engine:
    """A loaded model with everything needed to ask it about images.

    name, revision, device, dtype: what was loaded and where it runs. weights: a short key of the checkpoint's
    weights. model, processor, tokenizer: the stock objects. cache: encoded images. prompter: builds prompts from
    questions. gate: lets one call at a time onto the model; shared by all engines over the same model object.
    """

    def __init__(self, loaded: LoadedModel, cache_bytes: int = CACHE_BYTES, gate: Gate | None = None) -> None:
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
        self.gate = gate_of(self.model, gate)
        self._shapes = CostShapes(self.adapter)

    @property
    def model_class(self) -> str:
        """Name of the model's transformers class."""
        return type(self.model).__name__

    def encode(self, image: object, *, stop: Stop = None) -> VisualTokens:
        """Run the vision encoder and projector once on an image, or return the result of an earlier call.

        image: a PIL image, the path of a picture file, a uint8 array of shape (height, width, 3), with opacity
        (height, width, 4) or gray (height, width), 16-bit gray as uint16, a Picture from `images.read_picture`, or
        VisualTokens, which are returned as they are. Transparency is laid on white. stop: gives up waiting for other
        callers. Raises ImageError, InputError for VisualTokens of another model, StoppedError, or OutOfMemoryError.
        """
        return self.encode_many([image], stop=stop)[0]

    def encode_many(self, images: Iterable[object], *, stop: Stop = None) -> list[VisualTokens]:
        """`encode` for several images; those not in the cache go through the encoder together.

        Raises what `encode` raises, and ImageError for a single image.
        """
        several = check_images(images)
        with self._turn(stop):
            return self._encode(several)[0]

    def clear_cache(self) -> None:
        """Forget all encoded images."""
        self.cache.clear()

    def score(
        self,
        visual_tokens: object,
        prompt: str,
        history: Sequence[Turn] = (),
        temperature: float = 100.0,
        *,
        stop: Stop = None,
    ) -> TokenScores:
        """Score N visual tokens for a question, sections 1 and 2 of the method.

        visual_tokens: from `encode`, or a picture, which is encoded first. prompt: the user's own words, without any
        template. history: earlier (question, answer) turns about the same image; their words are in `words` but do
        not count. temperature: γ. stop: gives up waiting for other callers. Raises PromptError for a prompt that is
        empty or cannot be placed, ImageError for anything that is neither VisualTokens nor a picture, InputError for
        another wrong argument, StoppedError, or OutOfMemoryError.
        """
        tokenized = self.prompter(prompt, history)
        with self._turn(stop):
            (visual,), encode_s = self._encode([visual_tokens])
            question = _Question(visual, prompt, tuple(history), tokenized)
            return replace(self._score(visual, question, temperature), encode_s=encode_s)

    def select(
        self,
        scores: TokenScores,
        request: Request | float | None = None,
        method: str | None = None,
        *,
        stop: Stop = None,
        **fields: Any,
    ) -> Selection:
        """Choose which visual tokens stay.

        request: a Request, or a keep ratio. method, fields: those of a Request by keyword (keep_ratio, budget, …)
        and the options of the method. A method inside the LLM runs one prefill to decide; stop: gives up waiting for
        other callers before it. Raises BudgetError, UnknownNameError, ScoreError, or StoppedError.
        """
        asked = request_of(request, method, **fields)
        check_scored(scores)
        if not asked.chooser.inside_llm:
            return asked.select(scores)
        self._check_own(scores.visual)
        tokenized = scores.tokenized or self.prompter(scores.prompt, scores.history)
        row = row_from_template(self.adapter, tokenized.ids, [(scores.visual, None)])
        pad_id, _ = self._special_ids()
        plans = planned(
            self.adapter,
            [row],
            asked.chooser,
            asked.budget_of,
            pad_token_id=pad_id,
            newline=asked.newline,
            positions=asked.positions,
        )
        with self._turn(stop), plans as plan:
            self.model.generate(**plan.arguments, max_new_tokens=1, do_sample=False, pad_token_id=pad_id)
            (selection,), _ = plan.kept(0)
            return selection

    def stream(
        self,
        image: object,
        prompt: str | None = None,
        request: Request | float | None = None,
        method: str | None = None,
        max_new_tokens: int | None = None,
        *,
        stop: Stop = None,
        history: Sequence[Turn] = (),
        **fields: Any,
    ) -> Iterator[Answer]:
        """Answer a question about an image, yielding a snapshot after every new token and a last one at the end.

        image: a picture as `encode` takes it, its VisualTokens, or TokenScores, which hold the prompt as well (it is
        then left out) and whose times count as part of this run. request: a Request, or a keep ratio. method,
        max_new_tokens, fields: those of a Request by keyword (keep_ratio, budget, selection, newline, positions) and
        the options of the method. stop: a callable or threading.Event checked after each token. history: earlier
        (question, answer) turns; tokens are selected anew from the full set for this question.

        The model runs in a thread of its own, from the first `next` on, and is not held up by a slow caller. Only the
        last snapshot has `finished` true, and not even that one if the run was stopped; a run stopped before it began
        yields nothing. Input is checked when the first snapshot is requested. Raises InputError of some kind, or
        OutOfMemoryError.
        """
        asked = request_of(request, method, max_new_tokens, **fields)
        question = self._question(image, prompt, history, asked.selection)
        stop_signal(stop)
        closed = StopSignal()

        def work(emit: Emit) -> None:
            try:
                emit(self._run([question], asked, closed, stop, emit=emit)[0])
            except StoppedError:
                return

        yield from from_worker(work, closed)

    def answer(
        self,
        image: object,
        prompt: str | None = None,
        request: Request | float | None = None,
        method: str | None = None,
        max_new_tokens: int | None = None,
        *,
        stop: Stop = None,
        history: Sequence[Turn] = (),
        **fields: Any,
    ) -> Answer:
        """The greedy answer, what was kept, and what it cost: the last snapshot of `stream`, from the caller's thread.

        Keeps a tenth by default. All arguments are as in `stream`. Raises what `stream` raises, and StoppedError if
        the run was stopped before it began.
        """
        asked = request_of(request, method, max_new_tokens, **fields)
        return self._run([self._question(image, prompt, history, asked.selection)], asked, stop)[0]

    def answer_batch(
        self,
        questions: Iterable[tuple[object, str]],
        request: Request | float | None = None,
        method: str | None = None,
        max_new_tokens: int | None = None,
        *,
        batch_size: int = 16,
        selections: Iterable[Selection | None] | None = None,
        stop: Stop = None,
        **fields: Any,
    ) -> list[Answer]:
        """Answer many (image, prompt) questions, `batch_size` at a time, padded on the left.

        Tokens kept and answers are those of `answer` for each question alone. Images may repeat (each is encoded once
        while it stays in the cache). request, method, max_new_tokens, fields: as in `stream`. selections: one per
        question, or None to select for that one anew. Times in the answers are those of the whole batch a question
        was in. After `stop` the answers so far are returned, those of the running batch cut short. Raises InputError
        of some kind, also if a question is not such a pair, or OutOfMemoryError.
        """
        asked = request_of(request, method, max_new_tokens, **fields)
        if asked.selection is not None:
            raise InputError("answer_batch takes `selections`, one per question; got `selection`, a single one.")
        whole("batch_size", batch_size, 1)
        pairs = check_questions(questions)
        given = check_selections(selections, len(pairs))
        stopped = stop_signal(stop)
        answers: list[Answer] = []
        for start in range(0, len(pairs), batch_size):
            chunk = zip(pairs[start : start + batch_size], given[start : start + batch_size], strict=True)
            batch = [self._question(image, prompt, (), one) for (image, prompt), one in chunk]
            try:
                answers += self._run(batch, asked, stop)
            except StoppedError:
                break
            if stopped():
                break
        return answers

    def conversation(self, image: object) -> Conversation:
        """A conversation about one image, which is encoded now. Raises ImageError, or OutOfMemoryError."""
        return Conversation(self, image)

    @contextmanager
    def _turn(self, *stops: Stop) -> Iterator[None]:
        """Hold the model. Results are ordinary tensors without gradients, also under a caller's inference mode."""
        with self.gate.turn(*stops), memory_guard(), torch.inference_mode(False), torch.no_grad():
            yield

    def _question(
        self, image: object, prompt: str | None, history: Sequence[Turn], selection: Selection | None
    ) -> _Question:
        if not isinstance(image, TokenScores):
            prompt = "" if prompt is None else prompt
            return _Question(image, prompt, history, self.prompter(prompt, history), None, selection)
        if prompt not in (None, image.prompt) or (history and tuple(history) != image.history):
            raise InputError("These scores are of another question; leave prompt and history out, or score this one.")
        tokenized = image.tokenized or self.prompter(image.prompt, image.history)
        return _Question(image.visual, image.prompt, image.history, tokenized, image, selection)

    def _run(
        self, questions: Sequence[_Question], request: Request, *stops: Stop, emit: Emit | None = None
    ) -> list[Answer]:
        """Encode, select and generate for one batch. emit: is given a snapshot per new token of a batch of one."""
        given = [one.selection for one in questions]
        method, (pad_id, ends) = acting_method(request, given), self._special_ids()
        with self._turn(*stops):
            times = Times(start_at_s=now_s(self.device))
            visuals, times.encode_s = self._encode([one.image for one in questions])
            encoded_at_s = now_s(self.device)
            rows = [self._selected_row(one, visual, request) for one, visual in zip(questions, visuals, strict=True)]
            times.generate_at_s = now_s(self.device)
            times.select_s = times.generate_at_s - encoded_at_s
            for scores in (one.scores for one in questions if one.scores is not None):
                times.add_earlier(scores.encode_s, scores.score_s if request.chooser.reads_t2i else 0.0)
            plans = planned(
                self.adapter,
                rows,
                method,
                request.budget_of,
                pad_token_id=pad_id,
                newline=request.newline,
                positions=request.positions,
                given=given,
            )
            with plans as plan, first_logits(self.model) as first:
                text = TextStream(self.tokenizer)

                def on_token(token_id: int) -> None:
                    times.last_at_s = now_s(self.device)
                    shown = text.add(token_id)
                    if emit is not None:
                        emit(make_answer(self._shapes, plan, 0, times, first, text.ids, shown, finished=False))

                sequences = self.model.generate(
                    **plan.arguments,
                    do_sample=False,
                    num_beams=1,
                    max_new_tokens=request.max_new_tokens,
                    pad_token_id=pad_id,
                    stopping_criteria=StoppingCriteriaList([StopWhen(stop_signal(*stops))]),
                    streamer=TokenStreamer(on_token) if emit is not None else None,
                )
                times.last_at_s = times.last_at_s or now_s(self.device)
                answers = []
                for row, new in enumerate(sequences[:, plan.length :].tolist()):
                    # An end token belongs to the answer; what follows it in a batch is padding.
                    ids = new[: next((at for at, one in enumerate(new) if one in ends), len(new)) + 1]
                    whole = str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()
                    finished = len(ids) >= request.max_new_tokens or (bool(ids) and ids[-1] in ends)
                    answers.append(make_answer(self._shapes, plan, row, times, first, ids, whole, finished))
                return answers

    def _encode(self, images: Sequence[object]) -> tuple[list[VisualTokens], float]:
        """The encoded images, and the seconds that took: 0 if all of them were encoded before."""
        began_s = now_s(self.device)
        found: dict[int, VisualTokens] = {}
        missing: dict[str, tuple[Any, list[int]]] = {}
        for place, image in enumerate(images):
            if isinstance(image, VisualTokens):
                self._check_own(image)
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
            pixels, sizes = self.adapter.pixels(pictures), [picture.size for picture in pictures]
            encoded = self.adapter.encode(pixels, sizes, list(missing))
            for unnamed, (_, places) in zip(encoded, missing.values(), strict=True):
                visual = replace(unnamed, model_key=self.weights)
                self.cache.put(visual)
                found |= dict.fromkeys(places, visual)
        encode_s = now_s(self.device) - began_s if missing else 0.0
        return [found[place] for place in range(len(images))], encode_s

    def _score(self, visual: VisualTokens, question: _Question, temperature: float = 100.0) -> TokenScores:
        began_s = now_s(self.device)
        tokenized = question.tokenized
        text_tokens = self.adapter.embed(torch.tensor(tokenized.text_ids))
        words, counted = tokenized.words, tokenized.counted
        scores = score_tokens(visual, text_tokens, words, counted, question.prompt, temperature, question.history)
        return replace(scores, tokenized=tokenized, score_s=now_s(self.device) - began_s)

    def _selected_row(self, question: _Question, visual: VisualTokens, request: Request) -> Row:
        """The prompt with its image; with its selection too, unless that is made inside the LLM."""
        selection = question.selection
        if selection is not None:
            check_fits(selection, visual)
        elif request.chooser.inside_llm:
            request.budget_of(visual.saliency.shape[0])
        else:
            scores = question.scores
            if scores is None:
                scores = self._score(visual, question) if request.chooser.reads_t2i else unscored(visual)
            selection = request.select(scores)
        return row_from_template(self.adapter, question.tokenized.ids, [(visual, selection)])

    def _check_own(self, visual: VisualTokens) -> None:
        """Raises InputError for visual tokens that another model encoded: this LLM cannot read them."""
        if visual.model_key not in ("", self.weights):
            raise InputError(
                f"These visual tokens were encoded by another model than {self.name}; encode the image with this one."
            )

    def _special_ids(self) -> tuple[int, tuple[int, ...]]:
        """The id that pads prompts, and those that end an answer."""
        config = self.model.generation_config
        end = config.eos_token_id
        ends = tuple(end) if isinstance(end, list) else () if end is None else (end,)
        candidates = (self.tokenizer.pad_token_id, config.pad_token_id, *ends)
        return int(next((one for one in candidates if one is not None), 0)), ends
