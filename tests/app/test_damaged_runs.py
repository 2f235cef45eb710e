"""Any one field of a saved run lost or of another kind: it is read, or refused in a sentence, by library and page."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from helpers.app_context import question, shared_context

import adafv_core
from adafv_core.errors import InputError
from app.saved_runs.save_and_open import OpenedRun, open_run, save_json
from app.serving.page_stream import page_stream
from app.serving.sessions import Session
from app.wire.parse import TokenChoice, read_page_state

LOST = object()
OTHERS = (
    LOST,
    None,
    True,
    1,
    0,
    -1,
    0.5,
    10**400,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "text",
    "\ud800",
    [],
    {},
    [[]],
    [None],
    {"text": []},
)
A_FIELD = 5


@cache
def record(method: str) -> dict[str, Any]:
    session = Session("pocket")
    list(page_stream(shared_context().service, session, question(method=method, choice=TokenChoice(0.4))))
    place = json.dumps({"keep_ratio": 0.4, "force_keep": [], "force_drop": []})
    saved: dict[str, Any] = json.loads(
        Path(save_json(shared_context(), session, read_page_state(place))).read_text(encoding="utf-8")
    )
    saved["scores"]["words"] = saved["scores"]["words"][-1:]
    return {**saved, "max_new_tokens": 4}


def places(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """Every field; of a list its first entry."""
    for name, one in value.items() if isinstance(value, dict) else enumerate(value[:1]):
        yield (*path, name)
        yield from places(one, *path, name) if isinstance(one, dict | list) else ()


def changed(whole: dict[str, Any], path: tuple[Any, ...], value: Any) -> str:
    damaged = copy.deepcopy(whole)
    target: Any = damaged
    for step in path[:-1]:
        target = target[step]
    if value is LOST:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return json.dumps(damaged)


def usable(opened: OpenedRun, session: Session) -> None:
    """What the page takes from an opened run is whole: numbers to write, texts to send, and it can be saved."""
    answers = json.loads(opened.answers)
    for card in filter(None, (answers["pruned"], answers["full"])):
        assert card["state"] in ("done", "stopped")
        assert all(isinstance(card[name], int | float) for name in ("n_kept", "ttft_s", "prefill_s", "tokens_per_s"))
    (opened.prompt + opened.note).encode()
    body = json.loads(opened.payload)
    place = json.dumps({name: body[name] for name in ("keep_ratio", "force_keep", "force_drop")})
    save_json(shared_context(), session, read_page_state(place))


@pytest.mark.parametrize("method", ["adafv", "divprune"])
def test_one_field_lost_or_of_another_kind(method: str, tmp_path: Path) -> None:
    whole, file = record(method), tmp_path / "run.json"
    wrong, accepted = [], 0
    for path in places(whole):
        for value in random.Random(repr(path)).sample(OTHERS, A_FIELD):
            text = changed(whole, path, value)
            session = Session("pocket")
            try:
                adafv_core.read_run(text)
                file.write_text(text, encoding="utf-8")
                usable(open_run(shared_context(), session, file), session)
                accepted += 1
            except InputError as refused:
                if not str(refused) or "\n" in str(refused) or len(str(refused)) > 400:
                    wrong.append((path, value, str(refused)[:400]))
            except Exception as error:
                wrong.append((path, value, f"{type(error).__name__}: {error}"))
    assert not wrong, "\n".join(map(str, wrong))
    assert accepted > 20
