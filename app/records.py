"""A run as one JSON file: scores, split, settings, versions, revision, picture and answers.

`adafv_core.read_run` reads it back.
"""

from __future__ import annotations

import base64
import io
from importlib.metadata import version
from typing import Any

import torch
from PIL import Image

from adafv_core import __version__
from adafv_core.runs import FORMAT, VERSION
from adafv_core.types import Selection
from app.inputs import Choice
from app.views import answer_view, compare, grid_view, ranked
from app.visits import Run


def run_record(run: Run, choice: Choice, selection: Selection) -> dict[str, Any]:
    """Everything about a run as plain values. Score lists are float32, written so that they read back equal.

    scores are those the method ranked (its own temperature and text tokens); `adafv_core.mix(t2i, saliency,
    budget, floor)` on the lists gives `selection.kept` again, where no tokens were forced.
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
        "answers": dict(made.answers) if made else _answers(run),
        "picture": _picture(run.picture),
    }


def installed_versions() -> dict[str, str]:
    """Versions of what computes a run."""
    return {"adafv": __version__, **{name: version(name) for name in ("torch", "transformers", "gradio")}}


def _answers(run: Run) -> dict[str, Any]:
    return {
        "pruned": answer_view(run.pruned, "done") if run.pruned else None,
        "full": answer_view(run.full, "done") if run.full else None,
        **compare(run.pruned, run.full),
    }


def _floats(values: torch.Tensor) -> list[float]:
    return [float(str(value)) for value in values.detach().cpu().float().numpy()]


def _picture(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
