"""The training recipe, scaled down: it learns, resumes, and writes what from_pretrained reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from adafv_core.pocket.training import pool, train
from adafv_core.pocket.training.attention import TRAINING, shared_prefix
from adafv_core.pocket.training.build import build_model
from adafv_core.pocket.training.optimizing import VISION_SHARE, rates


class Clock:
    """Advances by a second with every reading."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        self.now_s += 1.0
        return self.now_s


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[str]]:
    monkeypatch.setattr(pool, "CHUNK", 8)
    monkeypatch.setattr(train, "_LOG_EVERY", 2)
    monkeypatch.setattr(train, "time", Clock())
    line = f"--work {tmp_path / 'work'} --out {tmp_path / 'out'} --scenes 8 --workers 1 --images 2 --questions 3"
    return lambda minutes: [*line.split(), "--minutes", str(minutes)]


def test_training_learns_resumes_and_exports(options: Callable[[float], list[str]], tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        train.main(options(0.25))
        first = torch.load(tmp_path / "work" / "state.pt", weights_only=True)
        train.main(options(0.5))
    finally:
        torch.set_num_threads(threads)
    second = torch.load(tmp_path / "work" / "state.pt", weights_only=True)
    assert second["step"] > first["step"] > 4
    log = [json.loads(line) for line in (tmp_path / "work" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == sorted(line["step"] for line in log)
    assert log[-1]["kind"] + log[-1]["color"] < log[0]["kind"] + log[0]["color"]
    assert "answer" in log[-1] and "answer" not in log[0]
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    assert type(model).__name__ == "LlavaForConditionalGeneration" and model.dtype == torch.float32
    trained = second["weights"]["model.model.language_model.layers.0.mlp.up_proj.weight"]
    assert torch.equal(model.model.language_model.layers[0].mlp.up_proj.weight, trained)
    processor = AutoProcessor.from_pretrained(tmp_path / "out", backend="pil")
    assert processor.tokenizer.convert_tokens_to_ids("<image>") == model.config.image_token_id
    assert all(file.stat().st_size < 9_000_000 for file in (tmp_path / "out").iterdir())


def test_a_block_of_questions_computes_what_one_question_alone_does() -> None:
    model = build_model(seed=1).eval()
    language = model.model.language_model
    embeds = torch.randn(2, 10 + 3 * 4, 192, generator=torch.Generator().manual_seed(0))
    alone = [
        language(inputs_embeds=torch.cat([embeds[:, :10], embeds[:, 10 + 4 * q : 14 + 4 * q]], 1)).last_hidden_state[
            :, 10:
        ]
        for q in range(3)
    ]
    language.set_attn_implementation(TRAINING)
    positions = torch.cat([torch.arange(10), torch.arange(10, 14).repeat(3)])[None]
    rows = torch.tensor([[1, 2, 3], [0, 3, 1]])
    with shared_prefix(10, 3, rows, slice(2, 9), layers=(1,)) as (prefix_attention, block_attention):
        together = language(
            inputs_embeds=embeds, attention_mask=torch.zeros(1, 1, 1, 1), position_ids=positions, use_cache=False
        ).last_hidden_state
    torch.testing.assert_close(together[:, 10:], torch.cat(alone, 1), atol=1e-4, rtol=1e-4)
    assert block_attention[0].shape == (2, 6, 3, 4)
    language.set_attn_implementation("eager")
    single = torch.cat([embeds[:, :10], embeds[:, 14:18]], 1)
    eager = language(inputs_embeds=single, output_attentions=True).attentions[1]
    torch.testing.assert_close(prefix_attention[0][0, :, 1], eager[0, :, 10 + 2, 2:9], atol=1e-5, rtol=1e-4)


def test_rates_warm_up_once_and_fall() -> None:
    assert rates(0.0)[0] == 0 and rates(VISION_SHARE * 0.99)[1] == 0
    vision = [rates(p / 100)[0] for p in range(2, 101)]
    assert vision == sorted(vision, reverse=True) and 0 < vision[-1] < 0.02 * vision[0]
    assert 0 < rates(0.999)[1] < 0.02 * max(rates(p / 100)[1] for p in range(100))
