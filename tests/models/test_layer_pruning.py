"""Several pruning layers in one pass against a slow, obvious version: every new token from the start, layer by layer.

The reference keeps no cache. It runs the LLM's layers by hand on the whole sequence with eager attention; where a stage
drops tokens it builds the shorter sequence anew, merged tokens behind what is left of their image.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of, folder_of, stock_inputs
from helpers.tiny_models import picture
from transformers import AutoModelForImageTextToText

import adafv_core
from adafv_core.engine import load
from adafv_core.errors import BudgetError
from adafv_core.methods.inside import Drop, InsideMethod
from adafv_core.types import Selection

STEPS = 4
FAMILIES = ("llava", "llava_next_vicuna", "llava_onevision")


class Reference:
    """Follows the drops of a selection and checks what ranked them against the whole attention of the layer before."""

    def __init__(self, family: str, selection: Selection, method: InsideMethod, positions: str) -> None:
        engine = engine_of(family)
        self.model = AutoModelForImageTextToText.from_pretrained(folder_of(family), attn_implementation="eager").eval()
        self.method, self.positions, self.drops = method, positions, selection.report["drops"]
        self.inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
        self.visual = engine.encode(picture(80, 60))
        ids = self.inputs["input_ids"][0]
        self.places = (ids == engine.adapter.image_token_id).nonzero()[:, 0]
        newline = torch.zeros(len(self.places), dtype=torch.bool)
        if self.visual.newline_after is not None:
            newline[self.visual.newline_after + 1 + torch.arange(self.visual.newline_after.numel())] = True
        self.tokens, self.newlines = self.places[~newline].tolist(), set(self.places[newline].tolist())
        text = range(int(self.places[-1]) + 1, len(ids))
        rate = method.raters(engine.adapter.embed(ids[text.start :]), self.visual.features)
        self.raters = (
            [len(ids) - 1] if rate is None else [at for at, one in zip(text, rate.tolist(), strict=True) if one]
        )

    @torch.inference_mode()
    def run(self) -> tuple[list[int], torch.Tensor]:
        """New tokens and the log-probabilities of the first."""
        new: list[int] = []
        first = None
        for _ in range(STEPS):
            row = torch.cat((self.inputs["input_ids"], torch.tensor([new], dtype=torch.long)), dim=1)
            logits = self.logits({**self.inputs, "input_ids": row})
            first = logits.log_softmax(-1) if first is None else first
            new.append(int(logits.argmax()))
            if new[-1] == self.model.generation_config.eos_token_id:
                break
        assert first is not None
        return new, first

    def logits(self, inputs: dict[str, Any]) -> torch.Tensor:
        llm, caught = self.model.model.language_model, []
        handle = llm.layers[0].register_forward_pre_hook(lambda module, args: caught.append(args[0]))
        mask = torch.ones_like(inputs["input_ids"])
        self.model(**{**inputs, "attention_mask": mask}, use_cache=False)
        handle.remove()
        hidden, left = caught[0], list(range(mask.shape[1]))
        alive, stages = list(self.tokens), dict(zip(self.method.layers_of(len(llm.layers)), self.drops, strict=True))
        attention = None
        for number, layer in enumerate(llm.layers):
            if number in stages:
                hidden, left, alive = self.drop(stages[number], hidden, left, alive, attention)
            at = torch.arange(len(left)) if self.positions == "contiguous" else torch.tensor(left)
            weights = []
            handle = layer.self_attn.register_forward_hook(lambda module, args, out, to=weights: to.append(out[1]))
            causal = torch.full((len(left), len(left)), torch.finfo(torch.float32).min).triu(1)
            rotary = llm.rotary_emb(hidden, position_ids=at[None])
            hidden = layer(hidden, attention_mask=causal[None, None], position_embeddings=rotary, use_cache=False)
            handle.remove()
            attention = weights[0][0]
        return self.model.lm_head(llm.norm(hidden))[0, -1]

    def drop(self, drop: Drop, hidden: Any, left: list[int], alive: list[int], attention: Any) -> Any:
        raters, columns = [left.index(one) for one in self.raters], [left.index(one) for one in alive]
        ranked = attention[:, raters][..., columns].mean(dim=(0, 1))
        torch.testing.assert_close(drop.ranking, ranked, atol=1e-5, rtol=1e-4)
        kept, merged = [alive[one] for one in drop.kept.tolist()], [alive[int(one[0])] for one in drop.groups]
        if len(kept) == len(alive):
            return hidden, left, alive
        gone = set(self.tokens) - set(kept) | self.newlines
        states = {at: hidden[0, place] for place, at in enumerate(left)}
        order = [at for at in left if at not in gone and at <= self.places[-1]] + merged
        order += [at for at in left if at > self.places[-1]]
        for at, group in zip(merged, drop.groups, strict=True):
            states[at] = torch.stack([hidden[0, columns[one]] for one in group.tolist()]).mean(dim=0)
        return torch.stack([states[at] for at in order])[None], order, kept + merged


CASES = [
    ("pyramiddrop", {}, None),
    ("pyramiddrop", {"mean_over": "all"}, "original"),
    ("sparsevlm", {}, None),
    ("sparsevlm", {"recycling": False}, "original"),
    ("sparsevlm", {}, "original"),
    ("fastv", {"layer": 2}, "contiguous"),
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "options", "positions"), CASES)
def test_equal_to_building_every_sequence_anew(
    family: str, name: str, options: dict[str, Any], positions: str | None
) -> None:
    """Prefill and decoding with a cache of several lengths, single, in a padded batch, and through `prune`."""
    engine, image = engine_of(family), picture(80, 60)
    method = adafv_core.get_method(name, **options)
    assert isinstance(method, InsideMethod)
    asked: dict[str, Any] = {"method": name, "positions": positions, "max_new_tokens": STEPS, **options}
    budget = engine.encode(image).size // 2
    alone = engine.answer(image, QUESTIONS[0], budget=budget, **asked)
    new, first = Reference(family, alone.selection, method, positions or method.positions).run()
    batch = engine.answer_batch([(picture(60, 200, 3), QUESTIONS[3]), (image, QUESTIONS[0])], 0.5, **asked)
    for answer in (alone, batch[1]):
        assert torch.equal(answer.selection.kept, alone.selection.kept)
        assert torch.allclose(answer.first_logprobs, first, atol=2e-4)
        assert list(answer.token_ids) == new
    inputs = stock_inputs(engine, [image], [QUESTIONS[0]])
    with adafv_core.prune(
        engine.model, budget=budget, method=name, processor=engine.processor, positions=positions, **options
    ):
        output = engine.model.generate(**inputs, max_new_tokens=STEPS, do_sample=False)
    assert output[0, inputs["input_ids"].shape[1] :].tolist() == new


@pytest.mark.parametrize("name", ["fastv", "sparsevlm", "pyramiddrop"])
@pytest.mark.parametrize("positions", ["contiguous", "original"])
def test_keeping_all_is_stock(name: str, positions: str) -> None:
    engine = engine_of("llava_next_vicuna")
    whole = engine.answer(picture(80, 60), QUESTIONS[0], 1.0, max_new_tokens=6)
    inside = engine.answer(picture(80, 60), QUESTIONS[0], 1.0, method=name, positions=positions, max_new_tokens=6)
    assert inside.token_ids == whole.token_ids and inside.n_newline == whole.n_newline
    assert inside.prefill_flops == whole.prefill_flops and inside.kv_cache_bytes == whole.kv_cache_bytes


@pytest.mark.parametrize("name", ["sparsevlm", "pyramiddrop"])
def test_selecting_ahead_equals_selecting_on_the_way(name: str) -> None:
    engine, image = engine_of("llava_next_mistral"), picture(80, 60)
    ahead = engine.select(engine.score(engine.encode(image), QUESTIONS[0]), budget=12, method=name)
    answer = engine.answer(image, QUESTIONS[0], budget=12, method=name, max_new_tokens=4)
    assert torch.equal(ahead.kept, answer.selection.kept)
    again = engine.answer(image, QUESTIONS[0], selection=ahead, max_new_tokens=4)
    assert again.token_ids == answer.token_ids and again.prefill_flops == answer.prefill_flops


def test_attention_is_computed_for_the_tokens_that_rate_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from adafv_core.engine import layer_pruning

    shapes, stock = [], layer_pruning.attention_rows

    def watched(*arguments: Any) -> torch.Tensor:
        shapes.append(stock(*arguments).shape)
        return stock(*arguments)

    monkeypatch.setattr(layer_pruning, "attention_rows", watched)
    engine = load(folder_of("llava"), device="cpu")
    engine.answer(picture(80, 60), QUESTIONS[0], 0.5, method="pyramiddrop", max_new_tokens=2)
    assert len(shapes) == 3 and all(shape[2] == 1 for shape in shapes)
    shapes.clear()
    answer = engine.answer(picture(80, 60), QUESTIONS[0], 0.5, method="sparsevlm", max_new_tokens=2)
    assert len(shapes) == 3 and all(1 <= shape[2] <= answer.n_text for shape in shapes)


def test_published_budgets_of_sparsevlm() -> None:
    """Mean outputs 192, 128 and 64 of 576 in 32 layers; they process 206.5, 145.4 and 82.3."""
    method = adafv_core.get_method("sparsevlm")
    assert isinstance(method, InsideMethod) and method.layers_of(32) == (3, 7, 16)
    for budget, processed in ((192, 206.5), (128, 145.4), (64, 82.3)):
        seen = method.layer_tokens(576, budget, 32)
        assert abs(sum(seen) / 32 - processed) < 0.05
        assert abs((sum(seen[1:]) + seen[-1]) / 32 - budget) < 1.5


def test_pyramiddrop_halves_as_published() -> None:
    method = adafv_core.get_method("pyramiddrop", mean_over="all")
    assert isinstance(method, InsideMethod)
    assert [(one.layer, one.keep) for one in method.stages(576, 270, 32)] == [(8, 288), (16, 144), (24, 72)]
    with pytest.raises(BudgetError, match="cannot be reached"):
        method.stages(576, 100, 32)
