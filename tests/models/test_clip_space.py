"""CDPruner in CLIP's space, on a tiny random CLIP model saved to and loaded from real files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import slow_versions as slow
from helpers.made_scores import made_scores
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from adafv_core import get_method
from adafv_core.errors import InputError, ModelError
from adafv_core.loading.clip_space import LoadedCLIP, load_clip_space

WIDTH = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    letters = "abcdefghijklmnopqrstuvwxyz?"
    pieces = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[])
    text = CLIPTextConfig(
        vocab_size=len(pieces),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=12,
        eos_token_id=len(pieces) - 1,
        bos_token_id=len(pieces) - 2,
        pad_token_id=len(pieces) - 1,
    )
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)
    place = tmp_path_factory.mktemp("clip")
    CLIPModel(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def clip(folder: Path) -> LoadedCLIP:
    return load_clip_space(folder)


def test_a_short_question_is_one_segment_as_stock_reads_it(clip: LoadedCLIP) -> None:
    features = torch.randn(5, WIDTH)
    inputs = clip.tokenizer("a ring?", return_tensors="pt")
    with torch.no_grad():
        text = clip.model.get_text_features(**inputs).pooler_output[0]
        image = clip.model.visual_projection(clip.model.vision_model.post_layernorm(features))
    expected = torch.nn.functional.cosine_similarity(image, text[None], dim=-1)
    assert torch.allclose(clip.cosines(features, "a ring?")[0], expected, atol=1e-6)


def test_a_long_question_is_cut_into_segments(clip: LoadedCLIP) -> None:
    features = torch.randn(5, WIDTH)
    cosines = clip.cosines(features, "abcdefghij klm")
    assert cosines.shape == (2, 5)
    assert torch.allclose(cosines[0], clip.cosines(features, "abcdefghij")[0], atol=1e-6)
    assert torch.allclose(cosines[1], clip.cosines(features, "klm")[0], atol=1e-6)


def test_relevance_is_the_negative_mean_cosine(clip: LoadedCLIP) -> None:
    scores = made_scores(width=WIDTH)
    relevance = -clip.cosines(scores.visual.vision_features, scores.prompt).mean(dim=0)
    expected = slow.most_volume(scores.visual.features.tolist(), slow.min_max(relevance.tolist()), 5)
    assert get_method("cdpruner", space="clip", clip=clip).order(scores, 5).tolist() == expected


def test_features_of_another_tower_are_refused(clip: LoadedCLIP) -> None:
    with pytest.raises(InputError, match="8 dimensions, the image's have 6"):
        clip.cosines(torch.randn(5, 6), "a?")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        load_clip_space(tmp_path)
