"""T2I attention and saliency against their definitions, written out."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.made_scores import made_scores
from helpers.slow_versions import cosine

from adafv_core.errors import InputError, ScoreError, UnknownNameError
from adafv_core.scoring import (
    cls_saliency,
    received_saliency,
    rescored_t2i,
    t2i_attention,
    word_attention,
)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_word_attention_is_a_softmax_of_scaled_cosines() -> None:
    text, image = drawn(3, 5), drawn(7, 5, seed=1)
    found = word_attention(text, image, 20.0)
    for j in range(3):
        weights = [math.exp(20.0 * cosine(text[j].tolist(), image[i].tolist())) for i in range(7)]
        expected = [weight / sum(weights) for weight in weights]
        assert found[j].tolist() == pytest.approx(expected, rel=1e-4)


def test_t2i_is_the_maximum_over_counted_words() -> None:
    text, image = drawn(4, 5), drawn(9, 5, seed=1)
    attention = word_attention(text, image, 10.0)
    assert torch.equal(t2i_attention(text, image, 10.0), attention.max(dim=0).values)
    mask = torch.tensor([True, False, True, False])
    assert torch.equal(t2i_attention(text, image, 10.0, mask), attention[[0, 2]].max(dim=0).values)


def test_default_temperature_is_one_hundred() -> None:
    text, image = drawn(4, 16), drawn(9, 16, seed=1)
    assert torch.equal(t2i_attention(text, image), t2i_attention(text, image, temperature=100.0))


def test_lengths_of_vectors_do_not_matter() -> None:
    text, image = drawn(4, 16), drawn(9, 16, seed=1)
    found = t2i_attention(text * 3.0, image * 0.01, 10.0)
    torch.testing.assert_close(found, t2i_attention(text, image, 10.0))


def test_batch_equals_single() -> None:
    text, image = drawn(3, 4, 16), drawn(3, 9, 16, seed=1)
    mask = torch.tensor([[True] * 4, [True, False, False, False], [False, True, True, False]])
    together = t2i_attention(text, image, 100.0, mask)
    assert together.shape == (3, 9)
    for row in range(3):
        torch.testing.assert_close(together[row], t2i_attention(text[row], image[row], 100.0, mask[row]))


def test_permuting_visual_tokens_permutes_their_scores() -> None:
    text, image = drawn(4, 16), drawn(9, 16, seed=1)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(t2i_attention(text, image)[order], t2i_attention(text, image[order]))


def test_half_precision_is_computed_in_float32() -> None:
    text, image = drawn(4, 16).bfloat16(), drawn(9, 16, seed=1).bfloat16()
    found = t2i_attention(text, image)
    assert found.dtype == torch.float32
    assert torch.equal(found, t2i_attention(text.float(), image.float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(t2i_attention(text, image), found)


def test_a_zero_vector_has_no_preference() -> None:
    found = word_attention(torch.zeros(1, 4), drawn(5, 4))
    torch.testing.assert_close(found, torch.full((1, 5), 0.2))


@pytest.mark.parametrize(
    ("text", "image"),
    [
        (drawn(3, 4), drawn(5, 6)),
        (drawn(4), drawn(5, 4)),
        (drawn(2, 3, 4), drawn(5, 4)),
        (drawn(2, 3, 4), drawn(3, 5, 4)),
        (drawn(0, 4), drawn(5, 4)),
        (drawn(3, 4), drawn(0, 4)),
        (torch.ones(3, 4, dtype=torch.int64), drawn(5, 4)),
        (drawn(3, 4) / 0, drawn(5, 4)),
        (drawn(3, 4), torch.full((5, 4), float("nan"))),
    ],
)
def test_wrong_tokens_are_refused(text: torch.Tensor, image: torch.Tensor) -> None:
    with pytest.raises(ScoreError, match="must"):
        t2i_attention(text, image)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), 1e308, "100", True, None])
def test_wrong_temperatures_are_refused(temperature: object) -> None:
    with pytest.raises(InputError, match=r"temperature .* must be above 0 and at most 1,000,000"):
        t2i_attention(drawn(3, 4), drawn(5, 4), temperature)


def test_wrong_text_masks_are_refused() -> None:
    for mask in (torch.ones(4, dtype=torch.bool), torch.ones(3), torch.zeros(3, dtype=torch.bool)):
        with pytest.raises(ScoreError):
            t2i_attention(drawn(3, 4), drawn(5, 4), text_mask=mask)


def full_attention(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)


def test_cls_saliency_is_the_cls_row_of_the_whole_attention() -> None:
    query, key = drawn(3, 4, 10, 8), drawn(3, 4, 10, 8, seed=1)
    expected = full_attention(query, key)[:, :, 0, 1:].mean(dim=1)
    torch.testing.assert_close(cls_saliency(query[:, :, 0], key), expected)
    last = full_attention(query, key)[:, :, 9, :9].mean(dim=1)
    torch.testing.assert_close(cls_saliency(query[:, :, 9], key, cls_index=9), last)
    scaled = cls_saliency(query[:, :, 0] * 8**-0.5, key, scale=1.0)
    torch.testing.assert_close(scaled, expected)


@pytest.mark.parametrize("block", [1, 3, 10, 256])
def test_received_saliency_is_the_column_mean_of_the_whole_attention(block: int) -> None:
    query, key = drawn(2, 4, 10, 8), drawn(2, 4, 10, 8, seed=1)
    found = received_saliency(query, key, block=block)
    torch.testing.assert_close(found, full_attention(query, key).mean(dim=(1, 2)))
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2))


def test_wrong_vision_shapes_are_refused() -> None:
    with pytest.raises(ScoreError, match="got"):
        cls_saliency(drawn(2, 4, 10, 8), drawn(2, 4, 10, 8))
    with pytest.raises(ScoreError, match="got"):
        received_saliency(drawn(2, 4, 8), drawn(2, 4, 10, 8))


def test_rescoring_equals_scoring_anew() -> None:
    scores = made_scores(temperature=10.0)
    features = scores.visual.features
    assert rescored_t2i(scores, 10.0) is scores.t2i
    assert torch.equal(rescored_t2i(scores, 10.0, "all"), t2i_attention(scores.text_tokens, features, 10.0))
    question = t2i_attention(scores.text_tokens, features, 50.0, scores.counted)
    assert torch.equal(rescored_t2i(scores, 50.0), question)
    assert torch.equal(rescored_t2i(scores, 50.0, "all"), t2i_attention(scores.text_tokens, features, 50.0))
    assert not torch.equal(rescored_t2i(scores, 50.0, "all"), question)
    with pytest.raises(UnknownNameError, match="question, all"):
        rescored_t2i(scores, 50.0, "words")
