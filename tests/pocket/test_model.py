"""The bundled model: it loads like any other, answers questions about its world, and relies on its visual tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from adafv_core import load
from adafv_core.engine import Engine
from adafv_core.pocket.training.card import render
from adafv_core.pocket.training.evaluate import Pair, accuracy, auc, chance, grounding
from adafv_core.pocket.world.drawing import draw_scene
from adafv_core.pocket.world.questions import question_set
from adafv_core.pocket.world.scenes import make_scene
from adafv_core.pocket.world.vocabulary import CHAT_TEMPLATE

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "pocket"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load("pocket", device="cpu")


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return question_set("test", 60)


def test_files_are_small_safe_and_complete() -> None:
    files = [file for file in FOLDER.iterdir() if file.is_file()]
    names = {file.name for file in files}
    assert {"config.json", "tokenizer.json", "chat_template.jinja", "processor_config.json", "README.md"} <= names
    assert all(file.stat().st_size < 9_000_000 for file in files)
    assert sum(file.stat().st_size for file in files) < 25_000_000
    assert any(name.endswith(".safetensors") for name in names)
    assert not any(name.endswith((".bin", ".pt", ".pkl", ".py")) for name in names)


def test_stock_transformers_answers_without_any_of_our_code() -> None:
    model = AutoModelForImageTextToText.from_pretrained(FOLDER)
    processor = AutoProcessor.from_pretrained(FOLDER, backend="pil")
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    scene = make_scene(200_000_000)
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is the main object?"}]}]
    prompt = processor.apply_chat_template(turn, add_generation_prompt=True)
    inputs = processor(images=draw_scene(scene), text=prompt, return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    answer = processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert answer.strip() == scene.main.kind


def test_the_chat_template_takes_plain_text_as_it_takes_items() -> None:
    assert (FOLDER / "chat_template.jinja").read_text(encoding="utf-8") == CHAT_TEMPLATE
    processor = AutoProcessor.from_pretrained(FOLDER, backend="pil")

    def prompt_of(question: object, answer: object) -> str:
        turns = [("user", question), ("assistant", answer), ("user", question)]
        messages = [{"role": role, "content": content} for role, content in turns]
        return str(processor.apply_chat_template(messages, add_generation_prompt=True))

    question = [{"type": "image"}, {"type": "text", "text": "What is it?"}]
    items = prompt_of(question, [{"type": "text", "text": "A ring"}])
    assert prompt_of("<image> What is it?", "A ring") == items
    turn = "USER: <image> What is it? "
    assert items == f"{turn}ASSISTANT: A ring</s>{turn}ASSISTANT:"


def test_it_answers_its_world_with_all_tokens(engine: Engine, pairs: list[Pair]) -> None:
    table = accuracy(engine, pairs)
    assert table["all"]["asked"] > 350
    measured = json.loads((FOLDER / "evaluation.json").read_text())["all_tokens"]
    for family, row in table.items():
        assert row["high"] >= measured[family]["percent"] - 1, f"{family} is worse than the card says"


def test_phrasings_never_trained_on_are_understood(engine: Engine) -> None:
    assert accuracy(engine, question_set("test", 40, held_out=True))["all"]["percent"] >= 85


def test_without_the_named_tokens_it_falls_to_near_chance(engine: Engine, pairs: list[Pair]) -> None:
    lost = accuracy(engine, pairs, without_named=True)
    base = chance(pairs)
    for family in ("attribute", "location", "reading", "relation", "salient"):
        assert lost[family]["percent"] < base[family] + 20, family
    assert lost["all"]["percent"] < 35


def test_scores_find_what_is_asked_about_and_what_stands_out(engine: Engine, pairs: list[Pair]) -> None:
    found = grounding(engine, pairs)
    assert found["t2i_auc"] >= 0.95
    assert found["large_ratio"] >= 2.8, "the card says 2.98; the bar of 3 is missed, and the card says so"
    assert found["saliency_auc"] >= 0.9


def test_auc_counts_ties_half() -> None:
    score = torch.tensor([0.1, 0.4, 0.4, 0.8]).numpy()
    assert auc(score, torch.tensor([False, False, True, True]).numpy()) == pytest.approx(3.5 / 4)


def test_the_card_is_what_was_measured() -> None:
    training, measured = (json.loads((FOLDER / name).read_text()) for name in ("training.json", "evaluation.json"))
    assert measured["split"] == "test" and measured["questions"] >= 2000
    assert (FOLDER / "README.md").read_text() == render(training, measured)
