"""The interface that the page, the study and the timing use to run a model, wherever it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from adafv_core.checks import whole
from adafv_core.engine.drafts import Draft, check_drafts
from adafv_core.engine.gate import Stop
from adafv_core.engine.question import check_images, check_questions
from adafv_core.engine.request import Request, check_selections, request_of
from adafv_core.errors import InputError, StoppedError
from adafv_core.models.prompts import Turn
from adafv_core.types import Answer, Selection, TokenScores, VisualTokens


class Backend(ABC):
    """A loaded model that encodes, scores, selects and answers; `adafv_core.engine.Engine` is the local one.

    Calls may come from any thread; they take turns. Arguments are checked here and selection is one Request from here
    on; a new backend overrides the methods that begin with an underscore, and `clear_cache`.

    name: "pocket", a hub id, or a folder. model_class: name of the transformers class. revision: the commit its files
    came from, None for a local folder. weights: a short key of the checkpoint's weights, the same for every copy of it.
    device, dtype: where it runs, and the dtype of its weights. kept_pixels: the most pixels of an image that its
    processor hands to the encoder, None if unknown.
    """

    name: str
    model_class: str
    revision: str | None
    weights: str
    device: torch.device
    dtype: torch.dtype
    kept_pixels: int | None = None

    def encode(self, image: object, *, stop: Stop = None) -> VisualTokens:
        """Run the vision encoder and projector once on an image, or return the result of an earlier call.

        image: a PIL image, the path of a picture file, a uint8 array of shape (height, width, 3), with opacity
        (height, width, 4) or gray (height, width), 16-bit gray as uint16, a Picture from `images.read_picture`, or
        VisualTokens, which are returned as they are. Transparency is laid on white. stop: gives up waiting for other
        callers. Raises ImageError, InputError for VisualTokens of another model, StoppedError, or OutOfMemoryError.
        """
        return self.encode_many([image], stop=stop)[0]

    def encode_many(self, images: Iterable[object], together: bool = False, *, stop: Stop = None) -> list[VisualTokens]:
        """`encode` for several images; those not in the cache go through the encoder together.

        together: encode them as the images of one prompt. Most families do that as for one image; LLaVA-OneVision cuts
        an image into tiles only where it is the only one. Raises what `encode` raises, and ImageError for a single
        image.
        """
        return self._encode_many(check_images(images), together, stop)

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
        return self._score_many([visual_tokens], prompt, history, temperature, stop)[0]

    def score_many(
        self,
        images: Iterable[object],
        prompt: str,
        history: Sequence[Turn] = (),
        temperature: float = 100.0,
        *,
        stop: Stop = None,
    ) -> list[TokenScores]:
        """`score` for the images of one prompt, in its order: one TokenScores for each.

        images: pictures or VisualTokens (of `encode_many(…, together=True)`). Pass the whole list on to `select_many`,
        `answer` or `stream`. Raises what `score` raises, and ImageError for a single image.
        """
        return self._score_many(check_images(images), prompt, history, temperature, stop)

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
        other callers before it. Raises BudgetError, UnknownNameError, ScoreError, StoppedError, or InputError for
        scores of another model.
        """
        return self.select_many([scores], request, method, stop=stop, **fields)[0]

    def select_many(
        self,
        scores: Sequence[TokenScores],
        request: Request | float | None = None,
        method: str | None = None,
        *,
        stop: Stop = None,
        **fields: Any,
    ) -> list[Selection]:
        """`select` for the images of one prompt: one Selection for each, by the `share` of the request.

        scores: what `score_many` returned. Raises what `select` raises, and InputError for force_keep and force_drop,
        which name tokens of one image, and for share="all" with a method inside the LLM.
        """
        return self._select_many(list(scores), request_of(request, method, **fields), stop)

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
        then left out) and whose times count as part of this run; or a list of them, for a question about several
        images, which stand before it in the prompt. request: a Request, or a keep ratio. method, max_new_tokens,
        fields: those of a Request by keyword (keep_ratio, budget, share, selection, newline, positions) and the options
        of the method. With several images each has the budget, or share="all" gives one budget to all of them;
        `Answer.selections` tells what each keeps, and force_keep and force_drop are refused. stop: a callable or
        threading.Event checked after each token. history: earlier (question, answer) turns; tokens are selected anew
        from the full set for this question.

        The model runs in a thread of its own, from the first `next` on, and is not held up by a slow caller. Only the
        last snapshot has `finished` true, and not even that one if the run was stopped; a run stopped before it began
        yields nothing. Input is checked when the first snapshot is requested. Raises InputError of some kind, or
        OutOfMemoryError.
        """
        asked = request_of(request, method, max_new_tokens, **fields)
        yield from self._stream(image, prompt, asked, history, stop)

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
        return self._answer(image, prompt, asked, history, stop)

    def answer_batch(
        self,
        questions: Iterable[tuple[object, str]],
        request: Request | float | None = None,
        method: str | None = None,
        max_new_tokens: int | None = None,
        *,
        batch_size: int = 16,
        selections: Iterable[Selection | Sequence[Selection] | None] | None = None,
        drafts: Iterable[Sequence[int] | None] | None = None,
        stop: Stop = None,
        **fields: Any,
    ) -> list[Answer]:
        """Answer many (image, prompt) questions, `batch_size` at a time, padded on the left.

        Tokens kept and answers are those of `answer` for each question alone. Images may repeat (each is encoded once
        while it stays in the cache); in place of one image a list of several may stand. request, method,
        max_new_tokens, fields: as in `stream`. selections: one per question (a list of them, one per image, where there
        are several), or None to select for that one anew. drafts: one per question, the token ids of an answer (such
        as `token_ids` of the answer with all tokens), () for the answer itself, or None; the answers are the same, and
        `draft_logprob` says how likely the run finds the draft. Times in the answers are those of the whole batch a
        question was in. After `stop` the answers so far are returned, those of the running batch cut short. Raises
        InputError of some kind, also if a question is not such a pair, or OutOfMemoryError.
        """
        asked = request_of(request, method, max_new_tokens, **fields)
        if asked.selection is not None:
            raise InputError("answer_batch takes `selections`, one per question; got `selection`, a single one.")
        whole("batch_size", batch_size, 1)
        pairs = check_questions(questions)
        given, expected = check_selections(selections, len(pairs)), check_drafts(drafts, len(pairs))
        return self._answer_batch(pairs, asked, batch_size, given, expected, stop)

    @abstractmethod
    def clear_cache(self) -> None:
        """Forget all encoded images."""

    @abstractmethod
    def _encode_many(self, images: list[object], together: bool, stop: Stop) -> list[VisualTokens]: ...

    @abstractmethod
    def _score_many(
        self, images: list[object], prompt: str, history: Sequence[Turn], temperature: float, stop: Stop
    ) -> list[TokenScores]: ...

    @abstractmethod
    def _select_many(self, scores: list[TokenScores], request: Request, stop: Stop) -> list[Selection]: ...

    @abstractmethod
    def _stream(
        self, image: object, prompt: str | None, request: Request, history: Sequence[Turn], stop: Stop
    ) -> Iterator[Answer]: ...

    def _answer(
        self, image: object, prompt: str | None, request: Request, history: Sequence[Turn], stop: Stop
    ) -> Answer:
        answers = list(self._stream(image, prompt, request, history, stop))
        if not answers:
            raise StoppedError("The run was stopped before it began; ask again.")
        return answers[-1]

    @abstractmethod
    def _answer_batch(
        self,
        questions: list[tuple[object, str]],
        request: Request,
        batch_size: int,
        selections: list[tuple[Selection, ...]],
        drafts: list[Draft | None],
        stop: Stop,
    ) -> list[Answer]: ...
