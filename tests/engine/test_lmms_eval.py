"""Under an evaluation harness: the calls of lmms-eval's stock `llava_hf` model class, with nothing of it changed."""

from __future__ import annotations

from typing import Any

import torch
from helpers.models_shared import QUESTIONS, engine_of, folder_of, until_end
from helpers.tiny_models import picture
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

import adafv_core


class StockHarnessModel:
    """Loads, prompts and generates the way `lmms_eval/models/…/llava_hf.py` does; it knows nothing of pruning."""

    def __init__(self, pretrained: str) -> None:
        self.model = AutoModelForImageTextToText.from_pretrained(pretrained)
        self.processor = AutoProcessor.from_pretrained(pretrained)
        self.processor.tokenizer.padding_side = "left"

    def generate_until(self, contexts: list[str], visuals: list[Image.Image]) -> list[str]:
        texts = [
            self.processor.apply_chat_template(
                [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": context}]}],
                tokenize=False,
                add_generation_prompt=True,
            )
            for context in contexts
        ]
        inputs = self.processor(images=visuals, text=texts, return_tensors="pt", padding=True)
        inputs = inputs.to(self.model.device, self.model.dtype)
        cont: Any = self.model.generate(
            **inputs,
            do_sample=False,
            temperature=None,
            top_p=None,
            num_beams=1,
            max_new_tokens=6,
            use_cache=True,
            pad_token_id=self.processor.tokenizer.eos_token_id,
            eos_token_id=self.processor.tokenizer.eos_token_id,
        )
        cont = cont[:, inputs["input_ids"].shape[-1] :]
        texts = self.processor.batch_decode(cont, skip_special_tokens=True)
        return [str(text) for text in texts]


def test_the_harness_answers_what_the_engine_answers() -> None:
    harness, engine = StockHarnessModel(str(folder_of("llava_next_vicuna"))), engine_of("llava_next_vicuna")
    visuals = [picture(80, 60), picture(60, 200, 1)]
    with adafv_core.prune(harness.model, keep_ratio=0.25, method="adafv") as pruning:
        pruned = harness.generate_until(list(QUESTIONS[:2]), visuals)
    for row, (image, question) in enumerate(zip(visuals, QUESTIONS[:2], strict=True)):
        answer = engine.answer(image, question, 0.25, max_new_tokens=6)
        assert torch.equal(pruning.selections[row][0].kept, answer.selection.kept)
        assert pruned[row].strip() == answer.text
    whole = harness.generate_until(list(QUESTIONS[:2]), visuals)
    for text, (image, question) in zip(whole, zip(visuals, QUESTIONS[:2], strict=True), strict=True):
        assert text.strip() == engine.answer(image, question, 1.0, max_new_tokens=6).text
    assert until_end(engine, [1, 2, 3]) == (1, 2)
