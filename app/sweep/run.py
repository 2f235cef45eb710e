"""Runs methods × keep ratios on one image and question, yielding row by row so that no finished answer is lost."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from adafv_core.engine.gate import StopSignal
from adafv_core.errors import InputError
from adafv_core.methods import METHODS
from adafv_core.types import Answer
from app.serving.ask import AskRequest, Service
from app.serving.sessions import Session
from app.sweep.rows import SweepRow
from app.wire.errors import sentence
from app.wire.parse import TokenChoice, read_list, read_method, read_ratio
from app.wire.views import compare

MOST_ROWS = 200
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Sweep:
    """The state of a sweep. total: rows when complete. left_s: estimated seconds left; None before the first row."""

    prompt: str
    model: str
    rows: tuple[SweepRow, ...]
    total: int
    left_s: float | None
    stopped: bool = False


def read_sweep(methods: Any, keep_ratios: Any) -> list[tuple[str, float]]:
    """The checked (method, keep ratio) pairs of a sweep, without "full", which always comes first."""
    names = [read_method(name) for name in read_list(methods, "methods", "saliency and adafv")]
    shares = read_list(keep_ratios, "keep_ratios", "0.25 and 0.1")
    ratios = sorted({read_ratio(share) for share in shares}, reverse=True)
    cells = [(name, ratio) for name in dict.fromkeys(names) if name != "full" for ratio in ratios]
    if len(cells) > MOST_ROWS:
        raise InputError(
            f"A sweep takes at most {MOST_ROWS} answers, not {len(cells)}: choose fewer methods or ratios."
        )
    return cells


def run_sweep(
    service: Service,
    session: Session,
    request: AskRequest,
    cells: Sequence[tuple[str, float]],
    number: int = 0,
    client_gone: StopSignal | None = None,
) -> Iterator[Sweep]:
    """Answer with all tokens, then once per cell, yielding the state after each.

    cells: (method, keep ratio) pairs. number: the page's count of requests, for this one. client_gone: as in
    `JobControl.begin`. Ends after `longest_job_s` of the settings; finished answers are kept.
    """
    stop, model = session.sweeping.begin(number, client_gone), session.model
    started = time.perf_counter()
    rows: list[SweepRow] = []
    full: Answer | None = None
    total = len(cells) + 1
    yield Sweep(request.prompt, model, (), total, None)
    for method, ratio in [("full", 1.0), *cells]:
        cell = replace(request, method=method, choice=TokenChoice(ratio))
        try:
            answer = service.answer(service.score(session, cell, stop), cell, stop, method)
        except Exception as error:
            if stop.is_set():
                break
            rows.append(SweepRow(method, ratio, error=sentence(error)))
        else:
            if stop.is_set() and not answer.finished:
                break
            full = answer if method == "full" else full
            rows.append(_row(method, ratio, answer, full))
        each_s = (time.perf_counter() - started) / len(rows)
        yield Sweep(request.prompt, model, tuple(rows), total, each_s * (total - len(rows)))
        if stop.is_set() or time.perf_counter() - started > service.settings.longest_job_s:
            break
    yield Sweep(request.prompt, model, tuple(rows), total, 0.0, stopped=len(rows) < total)


def _row(method: str, ratio: float, answer: Answer, full: Answer | None) -> SweepRow:
    return SweepRow(
        method=method,
        keep_ratio=ratio,
        n_visual=answer.n_visual,
        n_kept=answer.n_kept,
        answer=answer.text,
        **compare(answer, full),
        ttft_s=answer.ttft_s,
        prefill_flops=answer.prefill_flops,
        kv_cache_bytes=answer.kv_cache_bytes,
    )


def sweep_csv(sweep: Sweep) -> str:
    """The rows as CSV, one line each; cells that a spreadsheet would run as a formula are quoted as text."""
    out = io.StringIO()
    names = list(SweepRow.__dataclass_fields__)
    writer = csv.writer(out)
    writer.writerow(names)
    for row in sweep.rows:
        writer.writerow([_plain_cell(getattr(row, name)) for name in names])
    return out.getvalue()


def sweep_json(sweep: Sweep) -> str:
    """The whole sweep as JSON."""
    return json.dumps(sweep_view(sweep), indent=1, allow_nan=False)


def sweep_view(sweep: Sweep) -> dict[str, Any]:
    """The sweep as plain values."""
    return {
        "prompt": sweep.prompt,
        "model": sweep.model,
        "complete": len(sweep.rows) == sweep.total,
        "titles": {row.method: METHODS[row.method].title for row in sweep.rows},
        "rows": [asdict(row) for row in sweep.rows],
    }


def progress_text(sweep: Sweep) -> str:
    """The progress line, as JSON text."""
    done, total = len(sweep.rows), sweep.total
    if sweep.stopped:
        text = f"Stopped after {done} of {total} answers; finished answers are kept."
    elif done == total:
        text = f"All {total} answers are in."
    else:
        left = "" if sweep.left_s is None else f" · about {max(1, round(sweep.left_s))} s left"
        text = f"{done} of {total} answers{left}"
    return json.dumps({"share": done / total, "text": text})


def _plain_cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return "'" + value
    return "" if value is None else value
