"""Answers and scores as plain values: for the page, for API callers and for files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adafv_core.engine.backend import Backend
from adafv_core.scoring import rescored
from adafv_core.types import Answer, Selection, TokenScores

CONVENTION = (
    "Measured on this server; the answer from all tokens once per question. "
    "Times exclude the image encoder if the image was already encoded; "
    "those of a pruned answer include scoring and selection. "
    "FLOPs count a multiply-add as two, for the LLM prefill with one LM-head position; KV cache after the prefill."
)


def answer_view(answer: Answer | None, state: str, error: str = "") -> dict[str, Any]:
    """An answer as far as it is known. state: waiting, running, done, stopped or error."""
    view: dict[str, Any] = {"state": state, "text": answer.text if answer else "", "error": error}
    if answer is not None:
        view.update(measured(answer))
    return view


def measured(answer: Answer) -> dict[str, Any]:
    """What an answer cost, as plain numbers."""
    names = (
        "n_visual",
        "n_kept",
        "n_newline",
        "n_text",
        "encode_s",
        "select_s",
        "prefill_s",
        "ttft_s",
        "decode_s",
        "tokens_per_s",
        "prefill_flops",
        "vision_flops",
        "kv_cache_bytes",
        "finished",
    )
    return {name: getattr(answer, name) for name in names}


def answers_text(
    pruned: dict[str, Any],
    full: dict[str, Any] | None,
    comparison: dict[str, Any] | None = None,
    *,
    method: str,
    asked: int = 0,
    withheld: str = "",
) -> str:
    """Both answers as the JSON text that the page shows.

    asked: number of the question, as the page counts them. withheld: why the comparison and the costs are not shown,
    if they are not.
    """
    body = {"pruned": pruned, "full": full, "method_title": method, "convention": CONVENTION, "asked": asked}
    compared = compare(None, None) if withheld or comparison is None else comparison
    return json.dumps({**body, "withheld": withheld, **compared}, allow_nan=False)


def compare(pruned: Answer | None, full: Answer | None) -> dict[str, Any]:
    """Whether both answers read the same, and how far the first new token's distribution moved (KL, nats); None unless
    both answers are finished.
    """
    if pruned is None or full is None or not (pruned.finished and full.finished):
        return {"same": None, "kl_nats": None}
    return {"same": normal(pruned.text) == normal(full.text), "kl_nats": divergence(full, pruned)}


def normal(text: str) -> str:
    """An answer without case, surrounding space and final full stops."""
    return " ".join(text.lower().split()).rstrip(".")


def divergence(full: Answer, pruned: Answer) -> float | None:
    """KL(full ‖ pruned) of the first new token's distribution, in nats; None if either is unknown."""
    if full.first_logprobs is None or pruned.first_logprobs is None:
        return None
    p, q = (answer.first_logprobs.double().cpu().numpy() for answer in (full, pruned))
    weight = np.exp(p)
    terms = np.where(weight > 0, weight * (p - q), 0.0)
    total = float(terms.sum())
    return total if np.isfinite(total) else None


def ranked(scores: TokenScores, options: Mapping[str, Any]) -> TokenScores:
    """The scores as a method with these options ranks by them."""
    return rescored(scores, options.get("temperature"), str(options.get("text_tokens", "question")))


def scores_view(scores: TokenScores, selection: Selection) -> dict[str, Any]:
    """Scores and selection of every visual token as lists of equal length, and the token grid.

    scores: those that the selection's method ranked by.
    """
    return {
        "n_visual": scores.size,
        "n_kept": selection.size,
        "k_text": selection.k_text,
        "k_visual": selection.k_visual,
        "budget": selection.budget,
        "method": selection.method,
        "t2i": scores.t2i.tolist(),
        "saliency": scores.saliency.tolist(),
        "mixed": selection.mixed.tolist(),
        "kept": selection.kept.tolist(),
        "why": selection.why.tolist(),
        "grid": grid_view(scores),
    }


def grid_view(scores: TokenScores) -> dict[str, Any]:
    """The token grid as plain values."""
    grid = scores.visual.grid
    return {
        "image_size": list(grid.image_size),
        "crops": [
            {
                "name": crop.name,
                "rows": crop.rows,
                "cols": crop.cols,
                "box": list(crop.box),
                "offset": crop.offset,
            }
            for crop in grid.crops
        ],
    }


def words_view(scores: TokenScores) -> list[dict[str, Any]]:
    """The prompt's words as plain values: whether each one counts, and its similarity to every visual token."""
    rows = zip(scores.words, scores.counted.tolist(), scores.word_t2i.tolist(), strict=True)
    return [{"text": text, "counted": counted, "t2i": row} for text, counted, row in rows]


def notice(
    text: str = "", level: str = "info", asked: int = 0, of: str = "", offer: Mapping[str, str] | None = None
) -> str:
    """The notice line as JSON text. level: info, warn or error. asked: number of the question that it is about, if any.
    of: the failed action; the page removes the line when that action ("saving") is tried again. offer: a model that one
    click loads, and the text of its button.
    """
    return json.dumps({"text": text, "level": level, "asked": asked, "of": of, "offer": offer})


def masthead(engine: Backend, fallback: str = "") -> str:
    """Which model answers, as JSON text. fallback: a sentence if it is not the one that was requested."""
    place = f"{engine.device} {str(engine.dtype).removeprefix('torch.')}"
    revision = engine.revision
    origin = "bundled with the program" if engine.name == "pocket" else "from a folder"
    detail = f"revision {revision}" if revision else origin
    title = f"{engine.name} @ {revision[:7]}" if revision else Path(engine.name).name
    return json.dumps({"name": engine.name, "model": f"{title} · {place}", "detail": detail, "fallback": fallback})
