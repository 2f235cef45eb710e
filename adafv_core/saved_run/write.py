"""Writes a SavedRun as the text of its file."""

from __future__ import annotations

import base64

import msgspec
from torch import Tensor

from adafv_core.saved_run.format import (
    VERSION,
    AnswersRecord,
    CropRecord,
    GridRecord,
    ImageRecord,
    RunRecord,
    ScoresRecord,
    SelectionRecord,
    WordRecord,
)
from adafv_core.saved_run.read import check_size
from adafv_core.saved_run.run import SavedRun, picture_type
from adafv_core.types import Selection, TokenScores, VisualTokens


def write_run(run: SavedRun) -> str:
    """The text of a file that `read_run` reads back as an equal run, without features and text embeddings.

    If the method is adafv and no tokens were forced, `adafv_core.mix(t2i, saliency, budget, floor)` on its score lists
    reproduces the selection. Raises InputError for a run too large to be read back.
    """
    positions = {} if run.selection.positions is None else {"positions": run.selection.positions}
    record = RunRecord(
        format="adafv-run",
        version=VERSION,
        model=run.model,
        revision=run.revision,
        versions=dict(run.versions),
        prompt=run.prompt,
        method=run.method,
        options={**run.options, **positions},
        keep_ratio=float(run.keep_ratio),
        force_keep=list(run.force_keep),
        force_drop=list(run.force_drop),
        grid=_grid(run.scores.visual),
        scores=_scores(run.scores),
        selection=_selection(run.selection),
        answers=msgspec.convert(run.answers, AnswersRecord),
        picture=_picture(run.picture),
        max_new_tokens=run.max_new_tokens,
        more_images=[
            ImageRecord(_grid(one.scores.visual), _scores(one.scores), _selection(one.selection), _picture(one.picture))
            for one in run.more
        ],
        share="all" if run.share == "all" else "image",
    )
    data = msgspec.json.encode(record)
    check_size(data)
    return data.decode()


def _picture(data: bytes) -> str:
    return f"data:image/{picture_type(data)};base64,{base64.b64encode(data).decode('ascii')}"


def _grid(visual: VisualTokens) -> GridRecord:
    crops = []
    for crop in visual.grid.crops:
        left, top, right, bottom = map(float, crop.box)  # ints would not be written as they are read
        crops.append(CropRecord(crop.name, crop.rows, crop.cols, (left, top, right, bottom), crop.offset))
    encoder_crop = None if visual.encoder_crop is None else visual.encoder_crop.tolist()
    return GridRecord(visual.grid.image_size, crops, encoder_crop)


def _scores(scores: TokenScores) -> ScoresRecord:
    rows = zip(scores.words, scores.counted.tolist(), scores.word_t2i, strict=True)
    return ScoresRecord(
        n_visual=scores.size,
        t2i=_floats(scores.t2i),
        saliency=_floats(scores.saliency),
        words=[WordRecord(text, counted, _floats(row)) for text, counted, row in rows],
        temperature=scores.temperature,
        counting="all" if scores.counting == "all" else "question",
        saliency_source=scores.visual.saliency_source,
        image_key=scores.visual.image_key,
        model_key=scores.visual.model_key,
    )


def _selection(selection: Selection) -> SelectionRecord:
    return SelectionRecord(
        budget=selection.budget,
        k_text=selection.k_text,
        k_visual=selection.k_visual,
        kept=selection.indices.tolist(),
        why=selection.why.tolist(),
        mixed=_floats(selection.mixed),
    )


def _floats(values: Tensor) -> list[float]:
    """Float32 values as the shortest decimals that parse back to the same value."""
    return [float(str(value)) for value in values.detach().cpu().float().numpy()]
