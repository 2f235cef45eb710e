"""A run as one JSON file: scores, split, settings, versions, revision, picture and answers.

`adafv_core.read_run` reads it back.
"""

from __future__ import annotations

import base64
from importlib.metadata import version
from typing import Any

import torch

from adafv_core import __version__
from adafv_core.saved_run import FORMAT, VERSION
from adafv_core.types import Answer, Selection
from app.serving.sessions import Run
from app.wire.images import picture_file
from app.wire.parse import TokenChoice
from app.wire.views import answer_view, compare, grid_view, ranked


def run_record(run: Run, choice: TokenChoice, selection: Selection, most_picture_bytes: int) -> dict[str, Any]:
    """Everything about a run as plain values. Score lists are float32, written so that they read back equal.

    scores are those the method ranked (its own temperature and text tokens); `adafv_core.mix(t2i, saliency,
    budget, floor)` on the lists gives `selection.kept` again, where no tokens were forced. answers: the pruned one
    only where it was made with this selection. most_picture_bytes: the largest picture file that opens again.
    """
    scores, made = ranked(run.scores, run.options), run.from_file
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": run.model,
        "revision": run.revision,
        "versions": dict(made.versions) if made else installed_versions(),
        "prompt": run.prompt,
        "method": run.method,
        "options": dict(run.options),
        "keep_ratio": choice.keep_ratio,
        "force_keep": list(choice.force_keep),
        "force_drop": list(choice.force_drop),
        "grid": grid_view(scores),
        "scores": {
            "n_visual": scores.size,
            "t2i": _floats(scores.t2i),
            "saliency": _floats(scores.saliency),
            "words": [
                {"text": text, "counted": counted, "t2i": _floats(row)}
                for text, counted, row in zip(scores.words, scores.counted.tolist(), scores.word_t2i, strict=True)
            ],
        },
        "selection": {
            "budget": selection.budget,
            "k_text": selection.k_text,
            "k_visual": selection.k_visual,
            "kept": selection.indices.tolist(),
            "why": selection.why.tolist(),
            "mixed": _floats(selection.mixed),
        },
        "answers": _answers(run, selection),
        "picture": _address(*picture_file(run.picture, most_picture_bytes)),
        **_most_new(run),
    }


def installed_versions() -> dict[str, str]:
    """Versions of what computes a run."""
    return {"adafv": __version__, **{name: version(name) for name in ("torch", "transformers", "gradio")}}


def _answers(run: Run, selection: Selection) -> dict[str, Any]:
    own = run.selection is not None and _same_tokens(run.selection, selection)
    if run.from_file is not None:
        kept = run.from_file.answers
        return dict(kept) if own else {**kept, "pruned": None, **compare(None, None)}
    pruned = run.pruned if own else None
    both_whole = pruned is not None and run.full is not None and pruned.finished and run.full.finished
    return {
        "pruned": _answer(pruned),
        "full": _answer(run.full),
        **(compare(pruned, run.full) if both_whole else compare(None, None)),
    }


def _same_tokens(one: Selection, other: Selection) -> bool:
    return one.budget == other.budget and torch.equal(one.indices.cpu(), other.indices.cpu())


def _answer(answer: Answer | None) -> dict[str, Any] | None:
    return answer_view(answer, "done" if answer.finished else "stopped") if answer else None


def _most_new(run: Run) -> dict[str, int]:
    return {} if run.max_new_tokens is None else {"max_new_tokens": run.max_new_tokens}


def _floats(values: torch.Tensor) -> list[float]:
    return [float(str(value)) for value in values.detach().cpu().float().numpy()]


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64," + base64.b64encode(data).decode("ascii")
