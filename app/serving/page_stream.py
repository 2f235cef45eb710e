"""A question's values as the page receives them: payload, answers and notice as JSON texts, one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

from adafv_core.engine.gate import StopSignal
from adafv_core.errors import InputError, StoppedError
from adafv_core.methods import METHODS
from app.serving.ask import AnswerProgress, AskRequest, Service
from app.serving.models import offer_sentence, offered
from app.serving.sessions import Run, Session
from app.wire.errors import sentence
from app.wire.parse import AskSettings, TokenChoice
from app.wire.payload import image_view, payload, payload_body
from app.wire.views import answer_view, answers_text, compare, notice

FOREIGN = (
    "The pocket model knows drawn scenes only: colored shapes and numbered cards. On any other picture its maps and "
    "answers mean little. Choose a real model under More › Model to ask about photographs."
)
SEVERAL = (
    "The pocket model was trained on questions about one picture. With several, the maps and budgets are those of the "
    "method, but about half of its answers are wrong: choose a real model under More › Model."
)
WITHHELD = (
    "Verdict, KL and costs are withheld: on a picture that the pocket model cannot read, two answers that agree do not "
    "show that the kept tokens were enough."
)
_STOPPED = answer_view(None, "stopped")
_WAITING = answer_view(None, "waiting")


class PageUpdate(NamedTuple):
    """New texts of the maps, the answers and the notice line; None leaves what the page shows."""

    payload: str | None
    answers: str
    notice: str | None


def page_stream(
    service: Service,
    session: Session,
    request: AskRequest,
    number: int = 0,
    client_gone: StopSignal | None = None,
) -> Iterator[PageUpdate]:
    """Ask, and yield what the page shows. The maps come before the first token.

    number: of this question, as the page counts them; every text carries it back. The notice is set together with the
    maps; after that the line belongs to whatever else happens on the page. client_gone: as in `JobControl.begin`.
    """
    stop = session.asking.begin(number, client_gone)
    settings = request.settings
    withheld = WITHHELD if _is_foreign(service, session, request) else ""
    texts = partial(answers_text, method=METHODS[request.method].title, asked=number, withheld=withheld)
    try:
        run = service.score(session, request, stop)
        if session.asking.is_superseded(number):
            raise StoppedError("A newer question is on its way.")
        request = replace(request, choice=request.choice.about(run.subject))
        run.key = _content_key(session.model, request)
        problem = _select(service, run, request.choice, stop)
        maps = page_payload(service, run, request.choice, stop) if run.key != session.shown_key else None
    except StoppedError:
        yield PageUpdate(None, texts(_STOPPED, _STOPPED if settings.with_full else None), None)
        return
    except Exception as error:
        yield PageUpdate(None, texts(answer_view(None, "error", sentence(error)), None), notice())
        return
    if session.run is not None and session.run.key == run.key:
        run.strip = session.run.strip
    session.run, session.shown_key = run, run.key
    full_key = (session.model, *request.picture_keys, request.prompt, settings.max_new_tokens)
    run.full = session.full.get(full_key) if settings.with_full else None
    pruned = answer_view(None, "error", problem) if problem else _WAITING
    full = answer_view(run.full, "done") if run.full else _WAITING if settings.with_full else None
    yield PageUpdate(maps, texts(pruned, full), _warning(service, session, request))

    for progress in [] if problem else service.stream(run, request, stop, run.method):
        run.pruned, pruned = progress.answer, _view(progress)
        yield PageUpdate(None, texts(pruned, full), None)
    if full is _WAITING and not stop.is_set():
        for progress in service.stream(run, request, stop, "full"):
            run.full, full = progress.answer, _view(progress)
            yield PageUpdate(None, texts(pruned, full), None)
        if run.full is not None and full["state"] == "done":
            session.full[full_key] = run.full
    elif full is _WAITING:
        full = _STOPPED
    yield PageUpdate(None, texts(pruned, full, compare(run.pruned, run.full)), None)


def page_payload(service: Service, run: Run, choice: TokenChoice, stop: StopSignal | None = None) -> str:
    """The browser's payload for this run; the page adopts the keep ratio and the marks of an opened run."""
    common: dict[str, Any] = {"method": run.method, "options": run.options, "keep_ratio": choice.keep_ratio}
    own = run.only_selections
    selectors = [] if own else service.selectors(run, choice.keep_ratio, stop)
    first, *others = [
        {"scores": unit, "picture": picture, "select": select, "only": only}
        for unit, picture, select, only in zip_longest(run.units, run.pictures, selectors, own)
        if unit is not None
    ]
    if run.together is None:
        images = [payload_body(**one, **common, key=run.key) for one in others]
    else:
        images = [image_view(one, picture) for one, picture in zip(run.all_scores, run.pictures, strict=True)]
    return payload(
        **first,
        **common,
        key=run.key,
        subject=run.subject,
        forced=(choice.force_keep, choice.force_drop) if run.from_file else None,
        view=_view_of(service, run),
        share=run.share,
        images=images,
    )


def _view_of(service: Service, run: Run) -> dict[str, Any]:
    """What asks for this view again: index of the scene (None for another picture), those of further pictures with
    commas between them (None if one is another picture), question, method and settings.
    """
    scene, *more = [service.scene_of(one.visual.picture_key) for one in run.all_scores]
    return {
        "scene": scene,
        "more_scenes": None if None in more else ",".join(map(str, more)),
        "share": run.share if more else AskSettings.share,
        "prompt": run.prompt,
        "method": run.method,
        **run.options,
        "positions": run.positions or AskSettings.positions,
        "max_new_tokens": run.max_new_tokens,
    }


def _warning(service: Service, session: Session, request: AskRequest) -> str:
    """The notice line about pictures that the pocket model cannot read, or about several of them; with the offer of one
    that can where others may be loaded.
    """
    foreign = _is_foreign(service, session, request)
    if not foreign and not (session.model == "pocket" and request.more):
        return notice()
    text, known = FOREIGN if foreign else SEVERAL, offered(service.pool)
    if known is None or not service.settings.model_menu:
        return notice(text)
    button = f"{'Ask' if known.model_id in service.pool.loaded() else 'Load'} {known.title}"
    return notice(f"{text} {offer_sentence(service.pool)}", offer={"model": known.model_id, "button": button})


def _is_foreign(service: Service, session: Session, request: AskRequest) -> bool:
    """Whether the pocket model is asked about a picture that is no scene drawn here."""
    return session.model == "pocket" and any(service.scene_of(key) is None for key in request.picture_keys)


def _select(service: Service, run: Run, choice: TokenChoice, stop: StopSignal) -> str:
    """Select for the run. Returns the sentence that says why no selection is possible; the full answer still is."""
    try:
        run.selections = service.select(run, choice, stop)
    except InputError as error:
        return str(error)
    return ""


def _view(progress: AnswerProgress) -> dict[str, Any]:
    return answer_view(progress.answer, progress.state, progress.error)


def _content_key(model: str, request: AskRequest) -> str:
    options = sorted(request.settings.options_for(request.method).items())
    settings = (request.settings.positions, request.settings.share if request.more else "")
    text = repr((model, request.picture_keys, request.prompt, request.method, options, settings))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
