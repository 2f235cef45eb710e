"""Encode once → score → select → generate: the one object that knows both methods and models.

    engine = load("pocket")
    visual = engine.encode(image)                         # once an image, cached by content
    scores = engine.score(visual, "What color is the ring?")
    selection = engine.select(scores, keep_ratio=0.1)
    answer = engine.answer(image, "What color is the ring?", keep_ratio=0.1)
    for snapshot in engine.stream(image, "What color is the ring?"):
        print(snapshot.text)
    answers = engine.answer_batch([(image, "What color is the ring?"), (other, "How many stars?")])
    talk = engine.conversation(image)
    talk.ask("What is in the picture?"), talk.ask("And what color is it?")

One engine runs one job at a time; a second caller waits. A running `stream` ends within a token of its
`stop` signal or of closing the iterator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from transformers import StoppingCriteriaList

from adafv_core.engine.answer import Times
from adafv_core.engine.batch import Row
from adafv_core.engine.clock import now_s
from adafv_core.engine.conversation import Conversation
from adafv_core.engine.host import CACHE_BYTES, ModelHost
from adafv_core.engine.plan import Plan, planned
from adafv_core.engine.request import Wish, check_count, check_selections, wish_of
from adafv_core.engine.streaming import Stop, StopWhen, TextBuilder, first_logits, generate_tokens, stop_signal
from adafv_core.errors import InputError, ModelError
from adafv_core.loading.download import Report
from adafv_core.loading.load import load_model
from adafv_core.memory import memory_guard
from adafv_core.methods import get_method
from adafv_core.methods.base import check_scored
from adafv_core.models.checks import check_questions
from adafv_core.models.prompts import Prompt, Turn
from adafv_core.types import Answer, Selection, TokenScores, VisualTokens

_Ask = tuple[VisualTokens, Prompt, str, Sequence[Turn], Selection | None]


def load(
    model: str | Path = "pocket",
    device: str | torch.device | None = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    attn_implementation: str | None = None,
    cache_bytes: int = CACHE_BYTES,
    progress: Report | None = None,
) -> Engine:
    """Load a model and return an engine over it.

    model: "pocket" (the bundled model), a hub id, or a folder with config.json, safetensors and processor
    files. device: "auto" or None takes CUDA, else MPS, else the CPU. dtype: "auto", "float32", "float16",
    "bfloat16". revision: a branch, tag or commit of a hub id; without it the pinned one of a known model, else
    the newest. attn_implementation: as in transformers ("sdpa", "eager", "flash_attention_2", …), which chooses
    where it is None. cache_bytes: how much device memory encoded images may hold on to. progress: where files
    have to be downloaded, called with a DownloadProgress (done_bytes, total_bytes) as they come in, from another
    thread. Raises ModelError of some kind (ModelNotFoundError, UnsupportedModelError, OutOfMemoryError) or
    InputError, each saying what would work.
    """
    return Engine(load_model(model, device, dtype, revision, attn_implementation, progress), cache_bytes)


class Engine(ModelHost):
    """A loaded model with everything needed to ask it about images: `encode` and `score`, and what follows.

    name, revision, device, dtype: what was loaded and where it runs. model, processor, tokenizer: the stock
    objects.
    """

    def select(
        self,
        scores: TokenScores,
        keep_ratio: float | None = None,
        method: str = "adafv",
        budget: int | None = None,
        **options: Any,
    ) -> Selection:
        """Choose which visual tokens stay.

        keep_ratio: fraction kept, above 0 and at most 1, or budget: their number, 1..N; not both, and 0.1
        where neither is given. options: those of the method. A method inside the LLM runs one prefill to
        decide. Raises BudgetError, UnknownNameError, ScoreError.
        """
        wish = Wish(get_method(method, **options), keep_ratio, budget, "drop", None)
        check_scored(scores)
        if not wish.method.inside_llm:
            return self._select(scores, wish)
        prompt = self.prompter(scores.prompt, scores.history)
        row = self._row(prompt, scores.visual, None)
        with self._job(), memory_guard(), torch.inference_mode(), self._planned([row], wish) as plan:
            self.model.generate(**plan.arguments, max_new_tokens=1, do_sample=False, pad_token_id=self._pad_id)
            return plan.selections(0)[0]

    def stream(
        self,
        image: object,
        prompt: str,
        keep_ratio: float | None = None,
        method: str = "adafv",
        max_new_tokens: int = 64,
        budget: int | None = None,
        stop: Stop = None,
        history: Sequence[Turn] = (),
        selection: Selection | None = None,
        newline: str = "drop",
        positions: str | None = None,
        **options: Any,
    ) -> Iterator[Answer]:
        """Answer a question about an image, yielding a snapshot after every new token and a last one at the
        end.

        image: a picture as `encode` takes it, or its VisualTokens. keep_ratio, budget, method, options: as in
        `select`; selection: one made before, used instead. stop: a callable or threading.Event looked at after each
        token. history: earlier (question, answer) turns; tokens are selected anew from the full set for
        this question. newline: "drop" or "rows", for any-resolution models. positions: "contiguous" or
        "original" position ids (default: the method's). Only the last snapshot has `finished` true, and not
        even that one where the run was stopped. Input is checked when the first snapshot is asked for.
        Raises InputError of some kind, or OutOfMemoryError.
        """
        asked = stop_signal(stop)
        check_count("max_new_tokens", max_new_tokens)
        wish = wish_of(selection, method, options, keep_ratio, budget, newline, positions)
        tokenized = self.prompter(prompt, history)
        with self._job(asked) as started, memory_guard():
            if not started:
                return
            times = Times(start_s=now_s(self.device))
            visual = self._timed_encode([image], times)[0]
            row = self._chosen_rows([(visual, tokenized, prompt, history, selection)], wish, times)[0]
            with self._planned([row], wish, selection) as plan, first_logits(self.model) as first:
                builder = TextBuilder(self.tokenizer)
                tokens = generate_tokens(
                    self.model,
                    plan.arguments,
                    max_new_tokens=max_new_tokens,
                    asked=asked,
                    pad_token_id=self._pad_id,
                )
                try:
                    for token in tokens:
                        times.last_s = now_s(self.device)
                        text = builder.add(token)
                        yield self._answer(plan, 0, times, first, builder.ids, text, finished=False)
                finally:
                    tokens.close()
                finished = self._is_finished(builder.ids, max_new_tokens)
                yield self._answer(plan, 0, times, first, builder.ids, builder.finish(), finished)

    def answer(
        self,
        image: object,
        prompt: str,
        keep_ratio: float | None = None,
        method: str = "adafv",
        max_new_tokens: int = 64,
        budget: int | None = None,
        **options: Any,
    ) -> Answer:
        """The last snapshot of `stream`: the greedy answer, what was kept, and what it cost.

        Keeps a tenth by default. options: further arguments of `stream` and of the method. Raises what `stream`
        raises, and ModelError where a stop came before the run began.
        """
        last: Answer | None = None
        for snapshot in self.stream(image, prompt, keep_ratio, method, max_new_tokens, budget, **options):
            last = snapshot
        if last is None:
            raise ModelError("The run was stopped before it began; ask again.")
        return last

    def answer_batch(
        self,
        questions: Iterable[tuple[object, str]],
        keep_ratio: float | None = None,
        method: str = "adafv",
        max_new_tokens: int = 64,
        budget: int | None = None,
        batch_size: int = 16,
        stop: Stop = None,
        selections: Iterable[Selection | None] | None = None,
        newline: str = "drop",
        positions: str | None = None,
        **options: Any,
    ) -> list[Answer]:
        """Answer many (image, prompt) questions, `batch_size` at a time, padded on the left.

        Tokens kept and answers are those of `answer` for each question alone. Images may repeat (each is
        encoded once while it stays in the cache). Times in the answers are those of the whole batch a
        question was in. After `stop` the answers so far are returned, those of the running batch cut short.
        selections: one a question, or None. Raises InputError of some kind, also where a question is no such pair,
        or OutOfMemoryError.
        """
        asked = stop_signal(stop)
        check_count("max_new_tokens", max_new_tokens)
        check_count("batch_size", batch_size)
        pairs = check_questions(questions)
        given = check_selections(selections, len(pairs))
        wish = wish_of(
            next((one for one in given if one is not None), None),
            method,
            options,
            keep_ratio,
            budget,
            newline,
            positions,
        )
        answers: list[Answer] = []
        for start in range(0, len(pairs), batch_size):
            if asked():
                break
            chunk = slice(start, start + batch_size)
            answers += self._answer_chunk(pairs[chunk], given[chunk], wish, max_new_tokens, asked)
        return answers

    def conversation(self, image: object) -> Conversation:
        """A conversation about one image, which is encoded now. Raises ImageError, or OutOfMemoryError."""
        return Conversation(self, image)

    def _answer_chunk(
        self,
        questions: Sequence[tuple[object, str]],
        selections: Sequence[Selection | None],
        wish: Wish,
        max_new_tokens: int,
        asked: Callable[[], bool],
    ) -> list[Answer]:
        prompts = [self.prompter(prompt) for _, prompt in questions]
        with self._job(), memory_guard(), torch.inference_mode():
            times = Times(start_s=now_s(self.device))
            visuals = self._timed_encode([image for image, _ in questions], times)
            asks: list[_Ask] = [
                (visual, tokenized, prompt, (), selection)
                for visual, tokenized, (_, prompt), selection in zip(
                    visuals, prompts, questions, selections, strict=True
                )
            ]
            rows = self._chosen_rows(asks, wish, times)
            with self._planned(rows, wish, *selections) as plan, first_logits(self.model) as first:
                sequences = self.model.generate(
                    **plan.arguments,
                    do_sample=False,
                    num_beams=1,
                    max_new_tokens=max_new_tokens,
                    pad_token_id=self._pad_id,
                    stopping_criteria=StoppingCriteriaList([StopWhen(asked)]),
                )
                times.last_s = now_s(self.device)
                answers = []
                for number, ids in enumerate(sequences[:, plan.length :].tolist()):
                    ids = self._until_end(ids)
                    text = str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()
                    finished = self._is_finished(ids, max_new_tokens)
                    answers.append(self._answer(plan, number, times, first, ids, text, finished))
        return answers

    @torch.inference_mode()
    def _select(self, scores: TokenScores, wish: Wish) -> Selection:
        return wish.method.select(scores, wish.budget_of(scores.visual))

    def _chosen_rows(self, asks: Sequence[_Ask], wish: Wish, times: Times) -> list[Row]:
        rows = []
        for visual, tokenized, prompt, history, selection in asks:
            if selection is not None and selection.kept.shape[0] != visual.size:
                raise InputError(
                    f"The selection is over {selection.kept.shape[0]} tokens, the image has {visual.size}; "
                    "select anew for this image."
                )
            if selection is None and wish.method.inside_llm:
                wish.budget_of(visual)
            elif selection is None:
                selection = self._select(self._score(visual, tokenized, prompt, history, 100.0), wish)
            rows.append(self._row(tokenized, visual, selection))
        times.generate_s = now_s(self.device)
        times.select_s = times.generate_s - times.encoded_s
        return rows

    def _planned(self, rows: Sequence[Row], wish: Wish, *selections: Selection | None) -> AbstractContextManager[Plan]:
        return planned(
            self.adapter,
            rows,
            wish.method,
            wish.budget_of,
            pad_token_id=self._pad_id,
            newline=wish.newline,
            positions=wish.positions,
            given=selections,
        )
