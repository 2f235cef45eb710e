"""Several images in one prompt: a budget for each, or one for all, under which their tokens are ranked together.

Either way every image gets a selection of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from adafv_core.engine.request import Request
from adafv_core.errors import InputError
from adafv_core.scoring import score_tokens, unscored
from adafv_core.types import Selection, TokenGrid, TokenScores, VisualTokens


def check_several(request: Request, images: int) -> None:
    """Raise InputError for what is not defined for a prompt with several images."""
    if images == 1:
        return
    forced = [name for name in ("force_keep", "force_drop") if request.options.get(name) is not None]
    if forced:
        raise InputError(
            f"{forced[0]} names visual tokens of one image; the prompt has {images}: leave it out, or ask about one "
            "image."
        )
    if request.share == "all" and request.chooser.inside_llm:
        raise InputError(
            f'{request.method} selects inside the LLM, from each image alone: use share="image", or another method.'
        )


def select_images(
    scores: Sequence[TokenScores],
    share: str,
    budgets: Sequence[int],
    select: Callable[[TokenScores, int], Selection],
) -> tuple[Selection, ...]:
    """A selection for each image of one prompt.

    share: as in a Request. budgets: those of `Request.budgets`. select: for the scores of one image, or of all
    (`joined_scores`), and a budget.
    """
    if share == "image" or len(scores) == 1:
        return tuple(select(one, budget) for one, budget in zip(scores, budgets, strict=True))
    return tuple(dealt(select(joined_scores(scores), budgets[0]), [one.visual for one in scores]))


def joined_scores(scores: Sequence[TokenScores]) -> TokenScores:
    """The scores of several images for one prompt as those of `joined`: each word's attention is a softmax over the
    tokens of all images. Raises InputError where the scores do not hold what that takes, as those of a saved run.
    """
    first, visual = scores[0], joined([one.visual for one in scores])
    if not first.words:
        return unscored(visual)
    text_tokens, _ = first.embeddings("One budget for all images")
    counted = first.counted.tolist()
    together = score_tokens(visual, text_tokens, first.words, counted, first.prompt, first.temperature, first.history)
    return replace(together, counting=first.counting, tokenized=first.tokenized)


def dealt_scores(scores: TokenScores, visuals: Sequence[VisualTokens]) -> tuple[TokenScores, ...]:
    """Scores over `joined(visuals)` as those of each image: what a budget shared by all of them ranks it by."""
    sizes = [visual.size for visual in visuals]
    t2i, saliency, words = (torch.split(part, sizes, -1) for part in (scores.t2i, scores.saliency, scores.word_t2i))
    return tuple(
        replace(scores, t2i=t2i[image], saliency=saliency[image], word_t2i=words[image], visual=visual)
        for image, visual in enumerate(visuals)
    )


def rejoined_scores(scores: Sequence[TokenScores]) -> TokenScores:
    """The scores over the tokens of all images, from what `dealt_scores` gave each; they need no features."""
    first = scores[0]
    t2i, saliency = (torch.cat([getattr(one, name) for one in scores]) for name in ("t2i", "saliency"))
    visual = replace(joined([one.visual for one in scores]), saliency=saliency)
    words = torch.cat([one.word_t2i for one in scores], dim=1)
    return replace(first, t2i=t2i, saliency=saliency, word_t2i=words, visual=visual)


def rejoined(selections: Sequence[Selection], budget: int, visual: VisualTokens) -> Selection:
    """The selection over the tokens of all images, from what `dealt` gave each.

    budget: the one shared by them. visual: their tokens together, of `joined`.
    """
    kept, mixed, why = (torch.cat([getattr(one, name) for one in selections]) for name in ("kept", "mixed", "why"))
    return replace(
        selections[0],
        indices=kept.nonzero()[:, 0],
        kept=kept,
        mixed=mixed,
        why=why,
        budget=budget,
        features=None,
        ranking=None,
        threshold=None,
        image_key=visual.image_key,
    )


def joined(visuals: Sequence[VisualTokens]) -> VisualTokens:
    """The tokens of several images side by side, in order, for scoring and selecting over all of them.

    Saliency is put on one footing: each image's is scaled to its share of all tokens (as much on average per token in
    every image), since its softmax runs over that image alone. Crops carry the number of their image in their name,
    from 1. Newline tokens are left out. Raises InputError for no images, and for images of different models.
    """
    if not visuals:
        raise InputError("Expected at least one image, got none.")
    if len({visual.model_key for visual in visuals}) > 1:
        raise InputError("The images were encoded by different models; encode all of them with the one that is asked.")
    crops, encoder_crops, tokens, first_crop = [], [], 0, 0
    for number, visual in enumerate(visuals, 1):
        for crop in visual.grid.crops:
            crops.append(replace(crop, name=f"image {number}: {crop.name}", offset=crop.offset + tokens))
        own = visual.encoder_crop if visual.encoder_crop is not None else torch.zeros(visual.size, dtype=torch.long)
        encoder_crops.append(own + first_crop)
        first_crop += int(own.max()) + 1
        tokens += visual.size
    features = _together(visuals, "features")
    saliency = [visual.saliency / visual.saliency.mean().clamp(min=1e-12) / tokens for visual in visuals]
    return VisualTokens(
        features=features,
        saliency=torch.cat(saliency),
        grid=TokenGrid(visuals[0].grid.image_size, tuple(crops)),
        cls_attention=None,
        vision_features=_together(visuals, "vision_features"),
        vision_keys=_together(visuals, "vision_keys"),
        encoder_crop=torch.cat(encoder_crops),
        saliency_source=visuals[0].saliency_source,
        image_key=_image_key(visuals),
        model_key=visuals[0].model_key,
    )


def dealt(selection: Selection, visuals: Sequence[VisualTokens]) -> list[Selection]:
    """A selection over `joined(visuals)` as one selection per image; an image may keep none of its tokens.

    budget is what the image keeps; k_text, k_visual, threshold and report are those of all images together. Raises
    InputError where the selection is over another number of tokens, other images, or those of another model.
    """
    sizes = [visual.size for visual in visuals]
    if selection.kept.shape[0] != sum(sizes):
        raise InputError(f"The selection is over {selection.kept.shape[0]} tokens, the images have {sum(sizes)}.")
    if selection.image_key != _image_key(visuals) or {selection.model_key} != {one.model_key for one in visuals}:
        raise InputError("The selection was made on other images or in another order; select anew for these.")
    kept, mixed, why = (torch.split(plane, sizes) for plane in (selection.kept, selection.mixed, selection.why))
    ranking: Sequence[Tensor | None] = [None] * len(sizes)
    if selection.ranking is not None:
        ranking = torch.split(selection.ranking, sizes)
    counts = [int(one.sum()) for one in kept]
    features: Sequence[Tensor | None] = [None] * len(sizes)
    if selection.features is not None:
        features = torch.split(selection.features, counts)
    return [
        replace(
            selection,
            indices=kept[image].nonzero()[:, 0],
            kept=kept[image],
            mixed=mixed[image],
            why=why[image],
            budget=counts[image],
            features=features[image],
            ranking=ranking[image],
            image_key=visual.image_key,
        )
        for image, visual in enumerate(visuals)
    ]


def _image_key(visuals: Sequence[VisualTokens]) -> str:
    """The key of several images together; empty where one has none."""
    keys = [visual.image_key for visual in visuals]
    return "+".join(keys) if all(keys) else ""


def _together(visuals: Sequence[VisualTokens], name: str) -> Tensor | None:
    found = [getattr(visual, name) for visual in visuals]
    return torch.cat(found) if all(one is not None for one in found) else None
